"""What is known of the bus, kept in memory, and the questions that the API and the dashboard ask."""
