"""The next times of cron expressions, across a change of the clock."""

from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from dateutil import parser, relativedelta, rrule

start = datetime(2024, 3, 30, 12, tzinfo=ZoneInfo("Europe/Berlin"))
times = croniter("30 2 * * *", start)
print([times.get_next(datetime).isoformat() for _ in range(3)])
print(parser.parse("3 Jan 2024 14:05 +0200"), start + relativedelta.relativedelta(months=1, day=31))
print([day.date().isoformat() for day in rrule.rrule(rrule.MONTHLY, count=3, dtstart=datetime(2024, 1, 31))])
print(croniter.is_valid("61 * * * *"))
