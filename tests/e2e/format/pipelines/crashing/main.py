import os

print(os.environ["WHO"])
raise SystemExit(5)
