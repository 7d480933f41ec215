import os
import sys

sys.exit(int(os.environ.get("EXIT", "0")))
