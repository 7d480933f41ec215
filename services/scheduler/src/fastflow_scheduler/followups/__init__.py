"""What the end of a run starts: retries, chains, restarts."""
