"""Turns triggers into runs: what may start, and how a run is created."""
