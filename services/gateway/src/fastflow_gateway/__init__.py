"""The HTTP server: API, webhooks, dashboard."""

__version__ = "0.1.0"
