"""What the HTTP API says, and a typed client that asks it."""
