"""Markup from untrusted text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.notebooks import markup

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)></svg>",
    "[x](javascript:alert(1))",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "<iframe src='https://example.org'></iframe>",
    "<style>body{display:none}</style>",
    '<p style="position:fixed" class="top" id="run">x</p>',
    "<form action='/runs/1/cancel'><button>x</button></form>",
    "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_has_no_scripts_styles_forms_or_frames(attack: str) -> None:
    """Nothing remains that acts or that looks like a part of the page."""
    shown = markup.markdown(f"# Title\n\n{attack}\n\ntext *{attack}*").lower()
    assert "<h1>title</h1>" in shown
    for word in ("<script", "onerror=", "onload=", "<iframe", "<style", "style=", "<form", "<button", "<svg", "id="):
        assert word not in shown.replace("&lt;", "\0")
    assert 'href="javascript' not in shown
    assert 'href="data' not in shown


def test_markdown_keeps_its_usual_elements() -> None:
    """Headings, lists, tables, code, harmless HTML."""
    shown = markup.markdown(
        "# A\n\n- b\n\n| c | d |\n|---|---|\n| 1 | 2 |\n\n`e` <sub>f</sub> [g](https://example.org)"
    )
    for part in (
        "<h1>A</h1>",
        "<li>b</li>",
        "<td>1</td>",
        "<code>e</code>",
        "<sub>f</sub>",
        'href="https://example.org"',
    ):
        assert part in shown


def test_pictures_come_from_the_notebook_itself() -> None:
    """Attachments and data URLs are shown; nothing is loaded from elsewhere."""
    shown = markup.markdown("![a](attachment:a.png) ![b](https://example.org/b.png)", {"a.png": {"image/png": PIXEL}})
    assert f'src="data:image/png;base64,{PIXEL}"' in shown
    assert "example.org" not in shown
    assert 'alt="b"' in shown


def test_source_is_escaped_and_its_words_have_classes() -> None:
    """Classes, because pages allow no inline styles. An unknown language is plain text."""
    assert markup.source("def f(): return '<b>'", "python").startswith('<span class="hl-k">def</span>')
    assert "<b>" not in markup.source("x = '<b>'", "python")
    assert markup.source("<b>", "no such language") == "&lt;b&gt;"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff")))
def test_any_source_is_shown_whole(text: str) -> None:
    """No line and no blank at either end is lost."""
    shown = markup.source(text, "python")
    assert html.unescape(re.sub("<[^>]+>", "", shown)) == text


@given(st.text())
def test_any_text_can_be_rendered(text: str) -> None:
    """Nothing makes the renderer fail."""
    assert "<script" not in markup.markdown(text)
