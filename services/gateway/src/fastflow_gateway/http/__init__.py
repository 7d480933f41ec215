"""Requests, routes, middleware and framing. It knows no pipeline."""
