"""What the supervisor takes past the standard library's packages does what they do."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.guest import supervisor
from fastflow_runner.guest.supervisor.lean import dumps, loads, sha256, suppress

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_json_is_written_and_read_as_by_its_package(value: object) -> None:
    """Every value, as text and as bytes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert dumps(value) == text
    assert loads(text) == loads(json.dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["", "{", "[1,", "nul", '{"a":1}x', "{'a':1}", '"\n"', "\xff", b"\xff", b"", "{1:2}"])
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    """The supervisor then ignores the frame."""
    with pytest.raises(ValueError, match=r".*"):
        loads(text)


def test_a_value_without_a_form_is_refused() -> None:
    """As its package does."""
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_a_hash_is_the_same() -> None:
    """In one piece or several."""
    found = sha256()
    found.update(b"a")
    found.update(b"b")
    assert found.hexdigest() == hashlib.sha256(b"ab").hexdigest()


def test_only_the_named_exceptions_are_suppressed() -> None:
    """Others go on."""
    with suppress(OSError, KeyError):
        raise FileNotFoundError
    with pytest.raises(ValueError, match="other"), suppress(OSError):
        raise ValueError("other")


def test_the_supervisor_imports_no_large_package() -> None:
    """Each of these takes longer than all code of ours, at the start of every sandbox."""
    folder = Path(supervisor.__file__).parent
    code = f"import sys; sys.path.append({str(folder.parent)!r}); import supervisor.supervisor; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    large = {"json", "re", "enum", "tarfile", "hashlib", "contextlib", "collections", "signal", "typing", "ctypes"}
    assert large & set(found.stdout.split()) == set()
