"""What a script is told: its arguments, its name, and where it is."""

import os
import sys
from pathlib import Path

print(sys.argv)
print(__name__, Path(__file__).name, Path.cwd() == Path(__file__).parent)
print(sys.stdin.read() == "", sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty())
print(sys.stdout.encoding, sys.stderr.encoding, sys.getfilesystemencoding())
print(sys.path[0] == str(Path.cwd()), sys.flags.dev_mode, sys.flags.optimize, sys.flags.safe_path)
print(sorted(path.name for path in Path.cwd().iterdir()))
print("warning: äöü €", file=sys.stderr)
print(os.environ["PATH"] != "", "HOME" in os.environ)
