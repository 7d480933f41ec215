"""The distribution works alone, without our other packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = (
    "import sys\n"
    "class Block:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.split('.')[0] in ('fastflow', 'fastflow_contracts', 'fastflow_gateway', 'nats', 'click'):\n"
    "            raise ImportError(name)\n"
    "sys.meta_path.insert(0, Block())\n"
)


@pytest.mark.parametrize("code", ["import fastflow_api.client, fastflow_api.shapes, fastflow_api.formatting"])
def test_the_api_package_needs_no_other_package_of_ours(code: str) -> None:
    """It does not need what the services need either."""
    done = subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_importing_shapes_loads_no_http_client() -> None:
    """A program that only reads responses starts at once."""
    code = "import sys; from fastflow_api import shapes, NotFound; print('h11' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
