"""What a folder of a pipeline holds: its files, its bundle, its script or notebook."""
