"""Takes work, keeps its attempts under way, and recovers what was left behind."""
