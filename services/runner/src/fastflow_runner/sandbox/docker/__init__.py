"""Sandboxes that are containers of a Docker daemon, and what they need there: image, networks, firewall."""
