import os
import sys

attempt = int(os.environ["FASTFLOW_ATTEMPT"])
print("attempt", attempt)
sys.exit(0 if attempt == 4 else 4)
