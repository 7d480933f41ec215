"""Starts what follows from the end of a run: downstream runs and restarts."""
