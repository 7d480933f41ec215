"""A simulated world: schedulers and runners of our own code, with everything around them in memory."""
