"""Records of the bus turned into the shapes of the API. Pure."""
