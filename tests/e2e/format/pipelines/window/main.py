import os

print(os.environ["FASTFLOW_SCHEDULED_FOR"])
