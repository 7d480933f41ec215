"""Notebooks: their sources, their cells, and the executed notebook."""
