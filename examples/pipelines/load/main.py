"""The second of a chain. The run's page shows which run of `extract` started it."""

import os

by = os.environ.get("FASTFLOW_TRIGGERED_BY", "hand")
print("extract is done; loading" if by == "downstream" else f"Started by {by}; loading what was extracted last")
print("Loaded.")
