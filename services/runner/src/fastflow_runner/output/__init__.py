"""Carries a script's output to the bus."""
