"""Zones with their own rules, and the local zone of the script's choice."""

import os
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

moment = datetime(2024, 3, 31, 0, 30, tzinfo=UTC)
for name in ("Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"):
    print(name, moment.astimezone(ZoneInfo(name)), (moment + timedelta(hours=1)).astimezone(ZoneInfo(name)))
try:
    ZoneInfo("Mars/Olympus")
except ZoneInfoNotFoundError as error:
    print(error)
os.environ["TZ"] = "America/New_York"
time.tzset()
print(time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(1_720_000_000)), time.tzname)
print(datetime.fromtimestamp(1_700_000_000).isoformat())
