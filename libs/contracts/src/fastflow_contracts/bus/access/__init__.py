"""How a client finds the bus and proves who it is: address, key, certificates."""
