"""The home folder can be written, and what earlier runs left there."""

from pathlib import Path

settings = Path.home() / ".config" / "shop" / "settings.ini"
settings.parent.mkdir(parents=True, exist_ok=True)
settings.write_text("[shop]\n")
print(settings.read_text(), end="")
print((Path.home() / ".cache" / "earlier.txt").exists())
