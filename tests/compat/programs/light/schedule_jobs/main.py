"""The package ``schedule``: a loop of jobs, one of which cancels itself."""

import time

import schedule

ran = []


def often():
    ran.append("often")


def once():
    ran.append("once")
    return schedule.CancelJob


schedule.every(0.05).seconds.do(often)
schedule.every(0.01).seconds.do(once)
while ran.count("often") < 3:
    schedule.run_pending()
    time.sleep(0.01)
print(ran.count("often"), ran.count("once"), len(schedule.get_jobs()))
