"""The HTTP door: API, webhooks, dashboard."""
