"""Notebooks: sources, cells, and the executed notebook."""
