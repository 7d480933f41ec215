"""Measures speed: one script per claim, each with a floor measured in the same call. Not part of the tests."""
