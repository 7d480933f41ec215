"""Every night at 3 on a schedule: which day it is about says the slot, not the clock, so a late run is about the same day."""

import os
from datetime import UTC, datetime, timedelta

slot = os.environ.get("FASTFLOW_SCHEDULED_FOR")  # empty or missing on a start by hand
night = datetime.fromisoformat(slot) if slot else datetime.now(UTC)
print(f"Report of {night - timedelta(days=1):%Y-%m-%d}, made {'on schedule' if slot else 'by hand'}")
