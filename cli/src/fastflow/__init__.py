"""The fastflow command, and the whole system in one process."""
