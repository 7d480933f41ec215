"""Attempts, from the claim of a run to its recorded end."""
