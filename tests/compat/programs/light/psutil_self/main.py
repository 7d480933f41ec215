"""What a script sees of itself and of the machine."""

import os
import subprocess
import sys

import psutil

me = psutil.Process()
print(me.pid == os.getpid(), me.status() == "running", me.memory_info().rss > 1_000_000)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print([each.pid == child.pid for each in me.children()], psutil.pid_exists(child.pid))
child.kill()
child.wait()
print(psutil.cpu_count() >= 1, psutil.virtual_memory().total > 0, psutil.disk_usage(".").total > 0)
