"""Slots: when they are due, and the runs they start."""
