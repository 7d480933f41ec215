"""The state of the bus, kept in memory, and the queries of the API and the dashboard."""
