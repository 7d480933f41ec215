"""Computes when slots of schedules are due, and starts their runs."""
