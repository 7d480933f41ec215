"""Messages on any subject start runs: ``triggers`` of the format. What they start, ``starting`` starts."""
