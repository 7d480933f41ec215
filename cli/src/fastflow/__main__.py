"""``python -m fastflow``."""

from fastflow.cli import main

main()
