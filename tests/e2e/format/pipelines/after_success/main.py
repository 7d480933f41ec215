import os

print(os.environ["HOW"], "after", os.environ["FASTFLOW_TRIGGERED_BY"])
