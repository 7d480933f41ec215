"""What is installed, with its versions and files."""

import importlib.metadata
import importlib.util

for name in ("click", "rich", "PyYAML"):
    print(name, importlib.metadata.version(name), len(importlib.metadata.files(name)) > 3)
print(importlib.util.find_spec("fastflow_runner"))
print([point.name for point in importlib.metadata.entry_points(group="console_scripts") if point.name == "typer"])
