"""Live streams: logs, samples and changes, for any number of followers."""
