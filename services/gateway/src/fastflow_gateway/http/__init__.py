"""Requests, routes, middleware and framing. Nothing here knows about pipelines."""
