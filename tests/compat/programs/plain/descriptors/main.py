"""A script has its three descriptors and no others."""

import os

print([number for number in range(200) if os.path.exists(f"/proc/self/fd/{number}")])
print(os.readlink("/proc/self/fd/0"))
