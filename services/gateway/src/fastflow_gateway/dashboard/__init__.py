"""The dashboard: HTML pages for people."""
