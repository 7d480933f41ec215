"""Children write to the same streams, also after the script closed its own."""

import subprocess
import sys

subprocess.run(["sh", "-c", "echo out; echo err >&2; printf 'no end'"], check=True)
sys.stdout.flush()
subprocess.run([sys.executable, "-c", "print('\\nfrom Python')"], check=True)
