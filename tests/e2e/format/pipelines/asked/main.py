import os

print(*(f"{name}={os.environ.get(name)}" for name in ("day", "rows", "mode", "limits")), sep="\n")
