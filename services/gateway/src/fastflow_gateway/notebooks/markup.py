"""Turns untrusted text into safe markup: markdown without scripts, source code with a class for each token. Pure.

Markdown may contain HTML, as in notebooks; everything but plain formatting is removed. Pictures come from the text
itself, never from another site.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

CLASS_PREFIX: Final = "hl-"
PICTURES: Final = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")

_PICTURE: Final = re.compile(rf"data:({'|'.join(map(re.escape, PICTURES))});base64,[A-Za-z0-9+/=\s]*")
_markdown: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_formatter: Final = HtmlFormatter(nowrap=True, classprefix=CLASS_PREFIX)


def markdown(text: str, attachments: Mapping[str, Mapping[str, Any]] | None = None) -> Markup:
    """Render markdown as HTML.

    Args:
        text: The markdown.
        attachments: The pictures that it names: by name, then by media type, base64.
    """
    tokens = _markdown.parse(text)
    for token in tokens:
        for child in token.children or ():
            source = child.attrGet("src")
            if child.type == "image" and isinstance(source, str) and source.startswith("attachment:"):
                child.attrSet("src", _attached(source.removeprefix("attachment:"), attachments or {}))
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    return Markup(  # noqa: S704 - cleaned here
        nh3.clean(html, url_schemes={"http", "https", "mailto", "data"}, attribute_filter=_checked)
    )


def source(text: str, language: str) -> Markup:
    """Render source code with a class for each kind of token; in an unknown *language*, as plain text."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False, ensurenl=False)
    shown = highlight(text, lexer, _formatter)
    # The formatter ends every line.
    return Markup(shown if text.endswith("\n") else shown.removesuffix("\n"))  # noqa: S704 - and escapes


def _checked(tag: str, attribute: str, value: str) -> str | None:
    if attribute == "src":
        return value if _PICTURE.fullmatch(value) else None
    if attribute == "href" and value.strip().lower().startswith("data:"):
        return None
    return value


def _attached(name: str, attachments: Mapping[str, Mapping[str, Any]]) -> str:
    for mime, data in attachments.get(name, {}).items():
        if mime in PICTURES:
            return f"data:{mime};base64,{''.join(data) if isinstance(data, list) else data}"
    return ""
