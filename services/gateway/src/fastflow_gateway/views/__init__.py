"""Turns records of the bus into the shapes of the API. Pure."""
