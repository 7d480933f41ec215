"""Start the cell runner.

The folder becomes a package under its own name, so that its modules never shadow the environment's ``plan`` or
``kernel``.
"""

import importlib.util
import os
import sys

PACKAGE = "fastflow_cells"


def main() -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return int(importlib.import_module(f"{PACKAGE}.execute").main())


if __name__ == "__main__":
    sys.exit(main())
