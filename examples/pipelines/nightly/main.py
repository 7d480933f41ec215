"""Runs every night at 3. The slot, not the clock, gives the day of the report, so a late run reports the same day."""

import os
from datetime import UTC, datetime, timedelta

slot = os.environ.get("FASTFLOW_SCHEDULED_FOR")  # empty or missing when started by hand
night = datetime.fromisoformat(slot) if slot else datetime.now(UTC)
print(f"Report of {night - timedelta(days=1):%Y-%m-%d}, made {'on schedule' if slot else 'by hand'}")
