"""Many starts or cancels that are asked for at once: their records, and where they are stored."""
