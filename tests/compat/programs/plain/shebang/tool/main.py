#!/usr/bin/env python3
import sys

print("tool", sys.argv[1:], sys.version_info[0])
