"""What the schedulers will do in the next days: a simulation with their own rules. Pure."""
