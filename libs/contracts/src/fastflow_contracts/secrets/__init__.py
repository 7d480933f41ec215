"""Encrypted values: tokens, and the envelope that binds a value to its place."""
