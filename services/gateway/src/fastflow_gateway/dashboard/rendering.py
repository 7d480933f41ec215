"""Renders templates and serves static files. I/O only at the start.

Templates and static files are read when the application is made; a request only renders. Each page's own module
collects the data.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
from aiohttp import web

from fastflow_api.formatting import ago, bytes_text, countdown, duration, exact, file_name, iso, short, slot
from fastflow_contracts.clock import now
from fastflow_contracts.names import NAME_PATTERN
from fastflow_gateway.dashboard.view import graph_words, words
from fastflow_gateway.dashboard.view import models as views
from fastflow_gateway.dashboard.view.run_strip import strip
from fastflow_gateway.http.browsers import SESSION
from fastflow_gateway.http.compression import VARY, accepted_by, gzipped
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.views import pauses
from fastflow_gateway.views.waiting import without_time

HERE: Final = Path(__file__).parent
HEADERS: Final = {"Referrer-Policy": "same-origin"}
"""In addition to the headers of every answer. Without a referrer browsers send forms with ``Origin: null``, and the
check of the origin would be impossible."""
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """One file of ``static/``, as it is sent."""

    content_type: str
    plain: Coded
    gzip: Coded | None
    """None: it would be no smaller."""


class Coded(NamedTuple):
    """A body in one coding, with its ETag."""

    body: bytes
    tag: str


class Renderer:
    """All templates and static files of the dashboard."""

    def __init__(self) -> None:
        self._templates = _environment()
        self._static = {path.name: _static_file(path) for path in sorted((HERE / "static").iterdir())}

    def page(self, request: web.Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
        """Render *template* with *context* and the data of every page.

        Args:
            request: The request.
            template: The file name of the template.
            status: The HTTP status.
            context: Variables of the template. *address*: where the page can be loaded again, if that is not the
                address of the request.
        """
        session = request.get(SESSION)
        common = {
            "signed_in": session is not None,
            "csrf_token": session.csrf_token() if session else "",
            "status_code": status,
            "here": "",
            "live": None,
            "address": None,
            "flash": None,
            "skip_count": request.app[MODEL].skips.open,
            "pauses": pauses.pauses(request.app[MODEL].pauses.now),
        }
        text = self._templates.get_template(template).render(common | context)
        body = text.encode(errors="replace")  # what a header says need not be text
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=HEADERS)

    def static(self, request: web.Request, name: str) -> web.Response | None:
        """A file of ``static/``, or None. Browsers ask each time and mostly get a 304."""
        if (file := self._static.get(name)) is None:
            return None
        sent = (accepted_by(request).gzip and file.gzip) or file.plain
        headers = {"Cache-Control": "no-cache", "ETag": f'"{sent.tag}"', "Vary": VARY}
        # Weak ones too: a proxy that compresses, or unpacks, makes them of ours.
        if any(known.value in (sent.tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if sent is file.gzip:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=sent.body, content_type=file.content_type, charset="utf-8", headers=headers)


RENDERER = web.AppKey("RENDERER", Renderer)


def _environment() -> jinja2.Environment:
    """Make the environment: everything is escaped, and an unknown name is an error, never blank."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["version"] = version("fastflow-gateway")
    made.globals["style"] = (HERE / "static" / "style.css").read_text()
    made.tests["safe_name"] = lambda name: re.fullmatch(NAME_PATTERN, name) is not None
    made.filters |= {
        "bytes_text": bytes_text,
        "ago": lambda at: ago(at, now()),
        "bytes": bytes_text,
        "cycle_words": graph_words.cycle_words,
        "commit": words.commit,
        "countdown": lambda at: countdown(at, now()),
        "duration": duration,
        "error_advice": lambda run: words.error_advice(run.error_type, run.kind),
        "error_title": lambda run: words.error_title(run.error_type, run.exit_code, run.limits, run.kind),
        "exact": exact,
        "file_name": file_name,
        "diagnostic_rows": views.diagnostic_rows,
        "graph_words": graph_words.description,
        "iso": iso,
        "link_source": graph_words.source,
        "link_when": graph_words.when,
        "plain": words.plain,
        "count": lambda number: f"{number:,}",
        "sentence": lambda text: text[:1].upper() + text[1:],
        "schedule_words": words.schedule_words,
        "search_words": views.search_words,
        "short": short,
        "shown": words.shown,
        "slot": lambda at: slot(at, now()),
        "status_word": words.status_word,
        "strip": strip,
        "success_rate": views.success_rate,
        "main_line": words.main_line,
        "trigger_word": words.trigger_word,
        "trigger_words": words.trigger_words,
        "until": lambda start, end: words.seconds_between(start, end or now()),
        "why_not": views.why_not,
        "without_time": without_time,
    }
    return made


def _static_file(path: Path) -> StaticFile:
    body = path.read_bytes()
    tag, packed = hashlib.sha256(body).hexdigest()[:32], gzipped(body, level=9)
    return StaticFile(
        content_type=_TYPES[path.suffix],
        plain=Coded(body, tag),
        gzip=Coded(packed, f"{tag}-gzip") if len(packed) < len(body) else None,
    )
