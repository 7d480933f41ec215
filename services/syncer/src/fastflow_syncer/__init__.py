"""Brings pipelines from a folder or a git repository onto the bus."""
