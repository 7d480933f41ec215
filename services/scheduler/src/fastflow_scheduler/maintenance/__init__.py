"""What keeps runs moving: lost hints, lost runners, old runs."""
