"""The distribution stands alone: what a program gets that installs nothing else of ours."""

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
def test_it_needs_nothing_else_of_ours(code: str) -> None:
    """Nor what the services need."""
    done = subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_shapes_alone_load_no_http_client() -> None:
    """A program that only reads answers starts at once."""
    code = "import sys; from fastflow_api import shapes, NotFound; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
