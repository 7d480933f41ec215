"""A progress bar of rich, and a traceback drawn by it."""

from rich.console import Console
from rich.progress import track

for _ in track(range(3), description="working", console=Console(force_terminal=False)):
    pass
console = Console(stderr=True, width=80)
try:
    [][1]
except IndexError as error:
    console.print(f"[bold]{type(error).__name__}[/bold]: {error}")
