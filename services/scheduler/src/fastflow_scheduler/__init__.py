"""Decides when and whether a run starts."""
