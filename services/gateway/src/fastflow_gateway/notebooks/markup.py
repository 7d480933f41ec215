"""Text of strangers as markup that is safe: markdown without scripts, source code with classes for its words. Pure.

Markdown may hold HTML, as it does in notebooks; what is not plain formatting is removed from it. Pictures come from
the text itself, never from elsewhere.
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
    """*text* as HTML. *attachments*: pictures that it names, by name and media type, as base64."""
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
    """*text* with a class for each kind of word; of a language that is not known as it is."""
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
