"""What a page shows, computed without a request. Pure."""
