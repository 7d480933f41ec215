"""Keeps runs moving: repeats lost hints, expires runs of lost runners, removes old runs."""
