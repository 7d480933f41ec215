import os

print("after", os.environ["FASTFLOW_PARENT_PIPELINE"])
