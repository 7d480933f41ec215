"""From a trigger to a run: what may start, and how it is created."""
