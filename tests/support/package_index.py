"""A package index over HTTP that may ask for a login and notes who comes with which."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import threading
from pathlib import Path
from typing import NamedTuple


class Asked(NamedTuple):
    """One request."""

    path: str
    login: str
    """``user:password``, or ""."""


class PackageIndex:
    """Serves the archives of a directory at ``/simple/`` and ``/files/``."""

    def __init__(self, directory: Path, *, login: str = "") -> None:
        """*login*: ``user:password`` that all must have; empty: none."""
        self.directory = directory
        self.login = login
        self.asked: list[Asked] = []
        self.elsewhere = ""
        """If set, the address to which requests for files are redirected."""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def logins(self) -> set[str]:
        """All logins that anyone has sent."""
        return {each.login for each in self.asked} - {""}

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


def _handler(index: PackageIndex) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            kind, _, text = (self.headers.get("Authorization") or "").partition(" ")
            login = base64.b64decode(text).decode() if kind == "Basic" else ""
            index.asked.append(Asked(self.path, login))
            if index.login and login != index.login:
                self.answer(401, b"", ("WWW-Authenticate", 'Basic realm="packages"'))
            elif self.path.startswith("/simple/"):
                wanted = self.path.strip("/").split("/")[-1]
                names = [path.name for path in sorted(index.directory.iterdir()) if path.name.startswith(f"{wanted}-")]
                # Absolute addresses, as many indexes have them.
                origin = f"http://{self.headers['Host']}"
                hashes = [hashlib.sha256((index.directory / name).read_bytes()).hexdigest() for name in names]
                links = "".join(
                    f'<a href="{origin}/files/{html.escape(name)}#sha256={digest}">{name}</a>'
                    for name, digest in zip(names, hashes, strict=True)
                )
                page = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
                self.answer(200 if names else 404, page, ("Content-Type", "text/html"))
            elif index.elsewhere:
                self.answer(302, b"", ("Location", f"{index.elsewhere}{self.path}"))
            elif (path := index.directory / self.path.rsplit("/", 1)[-1]).is_file():
                self.answer(200, path.read_bytes(), ("Content-Type", "application/octet-stream"))
            else:
                self.answer(404, b"")

        def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler
