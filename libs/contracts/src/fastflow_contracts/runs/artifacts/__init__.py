"""The files that a run leaves: which they are, and where they are stored."""
