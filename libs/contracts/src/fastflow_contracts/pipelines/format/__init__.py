"""What pipeline.json says: its fields, their values, and the problems of a file."""
