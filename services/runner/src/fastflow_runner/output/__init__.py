"""What a script says, on its way to the bus."""
