import sys

print(f"{sys.version_info.major}.{sys.version_info.minor}")
