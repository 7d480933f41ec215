"""What gateways agree on about the sessions of browsers."""
