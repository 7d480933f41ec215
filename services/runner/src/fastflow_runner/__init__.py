"""Runs one attempt of a run in one sandbox."""
