"""Interpreters with packages: prepared once, shared, collected."""
