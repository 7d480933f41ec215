"""Parameters of a pipeline: their JSON Schema, its checks and defaults, and what a start makes of them."""
