"""Followers: logs, metrics and changes as they come."""
