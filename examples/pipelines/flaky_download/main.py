"""Pretends to fetch something from a busy server: shows retries with growing pauses."""

import os
import random
import sys

attempt = int(os.environ.get("FASTFLOW_ATTEMPT", "1"))
fail_rate = float(os.environ.get("FAIL_RATE", "0.6"))

print(f"Attempt {attempt}: asking the server")
if random.random() < fail_rate:
    sys.exit("503 Service Unavailable: the server is busy, try again later")
print("200 OK: 4 files, 12.3 MB")
