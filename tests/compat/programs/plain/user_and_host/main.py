"""Who and where a script is."""

import getpass
import os
import pwd

print(os.path.isabs(os.path.expanduser("~")), bool(getpass.getuser()))
print(bool(pwd.getpwuid(os.getuid()).pw_name), os.cpu_count() >= 1, os.uname().sysname)
