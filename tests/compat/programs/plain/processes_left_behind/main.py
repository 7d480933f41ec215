"""A child that outlives the script, and a zombie that is not collected: the script's end counts."""

import os
import subprocess

subprocess.Popen(["sleep", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
if os.fork() == 0:
    os._exit(0)
print("over", flush=True)
os._exit(0)
