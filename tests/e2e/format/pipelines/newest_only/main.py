import os
import time

print(os.environ["CUSTOMER"])
time.sleep(float(os.environ.get("SECONDS", "0")))
