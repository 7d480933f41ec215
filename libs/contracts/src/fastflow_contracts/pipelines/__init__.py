"""What a pipeline is: its folder, its pipeline.json, its bundle, its record on the bus."""
