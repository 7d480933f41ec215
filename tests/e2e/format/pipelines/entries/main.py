import os
import sys
import time

print(os.environ["FASTFLOW_RUN_CONFIG_ID"], os.environ["WHERE"], os.environ["KEPT"])
time.sleep(float(os.environ.get("SLEEP_S", "0")))
sys.exit(int(os.environ.get("EXIT", "0")))
