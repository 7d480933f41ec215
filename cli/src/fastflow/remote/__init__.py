"""How a command reaches an installation over HTTP: its address, its token, and names to look up there."""
