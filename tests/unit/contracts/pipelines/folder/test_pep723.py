"""The metadata in a script's comment, by PEP 723."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.pep723 import BLOCK_CHARACTERS_MAX, BadInline, Inline, read_inline

SIX = b"# /// script\n# dependencies = ['six']\n# ///\n"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        (SIX, 1),
        (SIX.rstrip(), 1),
        (b"\xef\xbb\xbf" + SIX, 1),
        (SIX.replace(b"\n", b"\r\n"), 1),
        (b"#!/usr/bin/env python\n# \xff\n\n" + SIX + b"import six\n", 4),
        (b"# /// script\n# dependencies = [\n#   'six', # so\n#\n# ]\n# ///\n", 1),
        (SIX + b"\n# /// script\n", 1),
        (b"# /// other\n# x = 1\n# ///\n\n" + SIX, 5),
    ],
)
def test_a_block_is_found_as_uv_finds_it(script: bytes, line: int) -> None:
    """Wherever it is, with any line ends."""
    assert read_inline(script) == Inline(dependencies=("six",), line=line)


@pytest.mark.parametrize("script", [b"", b"import six\n", b"#/// script\n# x\n# ///", b"x = 1 # /// script\n", b"\0"])
def test_a_script_without_a_block_has_no_metadata(script: bytes) -> None:
    """A comment that only resembles a block is a comment."""
    assert read_inline(script) == Inline()


def test_an_empty_block_is_accepted() -> None:
    """uv accepts it too."""
    assert read_inline(b"# /// script\n# ///\n") == Inline(line=1)


def test_all_of_a_block_is_read() -> None:
    """The required interpreter, and the settings of tools; unknown keys do no harm."""
    text = b"# /// script\n# requires-python = '>=3.12'\n# else = 1979-05-27\n# [tool.uv]\n# x = 1\n# ///"
    assert read_inline(text) == Inline(requires_python=">=3.12", tool={"uv": {"x": 1}}, line=1)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("# dependencies = [", "it is not TOML: "),
        ("# x = " + "[" * 9_000, "it is not TOML: "),
        ("# x = " + "1" * 9_000, "it is not TOML: "),
        ("# x = '" + "x" * BLOCK_CHARACTERS_MAX + "'", "longer than"),
        ("# dependencies = 'six'", "Expected `array`, got `str` - at `$.dependencies`"),
        ("# dependencies = [1]", "Expected `str`, got `int`"),
        ("# requires-python = 3.12", "$.requires-python"),
        ("# tool = 1", "$.tool"),
        ("# dependencies = ['-r more.txt']", "'-r more.txt' does not name a package"),
        ("# dependencies = ['./here']", "'./here' does not name a package"),
        ('# dependencies = ["six\\n-e ."]', "does not name a package"),
        ("# dependencies = ['']", "'' does not name a package"),
        ("dependencies = ['six']", "it has no end"),
        ("# ///\n\n# /// script", "there is another one"),
    ],
)
def test_a_block_that_uv_refuses_is_refused(block: str, why: str) -> None:
    """With a reason, and the line where it begins."""
    with pytest.raises(BadInline) as refusal:
        read_inline(f"\n# /// script\n{block}\n# ///\n".encode())
    assert why in str(refusal.value)
    assert refusal.value.line == 2


LINES = st.sampled_from(["# /// script", "# ///", "#", "# x = 1", "# [[", "# dependencies = ['a']", "x", "\r"])


@given(st.lists(LINES))
def test_any_script_is_read_or_refused(lines: list[str]) -> None:
    """Nothing crashes the reader."""
    with suppress(BadInline):
        read_inline("\n".join(lines).encode())
