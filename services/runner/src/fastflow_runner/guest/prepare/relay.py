"""A server on this sandbox's own loopback that adds logins to requests, so that whoever asks need not know them. I/O.

A build runs foreign code, and so does what it installs. The logins of indexes and of the HTTP proxy are only in the
memory of this process, which no other process of its user may read. Each is used for its own host, by GET and HEAD, and
redirects are not followed: uv follows them itself, without a login. So foreign code can read what the index shows
(it could not be built otherwise), but never learns a login.

Standard library only.
"""

import base64
import http.client
import http.server
import re
import select
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections import namedtuple
from contextlib import suppress
from urllib.parse import quote, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from email.message import Message
    from typing import Any

PAGE_BYTES_MAX = 128 * 1024**2
"""Of an index' page, in which addresses are replaced."""
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 64 * 1024
_PASSED_ON = ("Accept", "Range", "If-None-Match", "If-Modified-Since", "If-Range", "Cache-Control", "User-Agent")
_NOT_RETURNED = ("connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "location")
_PAGES = ("text/html", "application/vnd.pypi.simple")

Login = namedtuple("Login", "address username password")
"""A login, and the address that it is for, with all below it."""


class Relay:
    """Answers until its process ends."""

    def __init__(self, indexes: "Sequence[Login]", proxies: "Sequence[Login]", base: "Mapping[str, str]") -> None:
        """
        Args:
            indexes: Their logins, the most particular address first.
            proxies: Those of HTTP proxies.
            base: Variables that lead to packages; they hold no login.
        """
        self.indexes = indexes
        self.origins = list(dict.fromkeys(_origin(login.address) for login in indexes))
        self.proxies = {login.address.rstrip("/"): login for login in proxies if login.address.startswith("http")}
        self._base = base
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        proxies_in_use = urllib.request.ProxyHandler(self._upstreams())
        tls = urllib.request.HTTPSHandler(context=self._tls())
        self.opener = urllib.request.build_opener(_NoRedirect, proxies_in_use, tls)
        threading.Thread(target=self._server.serve_forever, name="relay", daemon=True).start()

    def here(self, text: str) -> str:
        """Return *text* with the addresses of indexes that need a login replaced by those of this server."""
        for number, origin in enumerate(self.origins):
            pattern = re.escape(origin) + r"(?=[/?#\s\"'<>]|$)"
            text = re.sub(pattern, f"{self.address}/{number}", text, flags=re.IGNORECASE)
        return text

    def environment(self, base: "Mapping[str, str]") -> "dict[str, str]":
        """Return variables that lead here, where a login is needed."""
        env = {name: self.here(value) if name.startswith("UV_") else value for name, value in base.items()}
        for name, value in base.items():
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy") and value.rstrip("/") in self.proxies:
                env[name] = self.address
        for name in ("NO_PROXY", "no_proxy"):
            env[name] = ",".join(filter(None, (base.get(name, ""), "127.0.0.1")))
        return env

    def there(self, path: str) -> "tuple[str, str] | None":
        """Return the address that a path of this server stands for, and its ``Authorization``."""
        found = re.fullmatch(r"/(\d{1,4})(/.*|\?.*)?", path)
        if found is None or int(found[1]) >= len(self.origins):
            return None
        address = self.origins[int(found[1])] + (found[2] or "/")
        for login in self.indexes:
            below = login.address.rstrip("/")
            if address == below or address.startswith((f"{below}/", f"{below}?")):
                return address, _basic(login)
        return address, ""

    def proxy(self, scheme: str) -> "Login | None":
        """Return the HTTP proxy with a login for *scheme*."""
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
            if value := self._base.get(name):
                return self.proxies.get(value.rstrip("/"))
        return None

    def _upstreams(self) -> "dict[str, str]":
        upstreams = {}
        for scheme in ("http", "https"):
            for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
                if value := self._base.get(name):
                    upstreams[scheme] = _with_login(value, self.proxies.get(value.rstrip("/")))
                    break
        return upstreams

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        hosts = {host.partition(":")[0] for host in self._base.get("UV_INSECURE_HOST", "").split()}
        if self.origins and {urlsplit(origin).hostname for origin in self.origins} <= hosts:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: "Any") -> None:
        return None


def _handler(relay: Relay) -> "type[http.server.BaseHTTPRequestHandler]":
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _TIMEOUT_S

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.close_connection = True
            if re.match("https?://", self.path, re.IGNORECASE):
                self._forward()
            elif target := relay.there(self.path):
                self._ask(*target)
            else:
                self.send_error(404)

        def do_CONNECT(self) -> None:
            """Open a tunnel through the proxy that needs a login."""
            self.close_connection = True
            proxy = relay.proxy("https")
            if proxy is None or not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", self.path):
                self.send_error(502)
                return
            try:
                upstream = _connect(proxy)
                upstream.sendall(
                    f"CONNECT {self.path} HTTP/1.1\r\nHost: {self.path}\r\n"
                    f"Proxy-Authorization: {_basic(proxy)}\r\n\r\n".encode()
                )
                _pump(self.connection, upstream)
            except OSError:
                self.send_error(502)

        def _forward(self) -> None:
            """Pass a request without TLS on to the proxy that needs a login."""
            proxy = relay.proxy("http")
            if proxy is None:
                self.send_error(502)
                return
            headers = {name: value for name in (*_PASSED_ON, "Authorization") if (value := self.headers.get(name))}
            headers["Proxy-Authorization"] = _basic(proxy)
            headers["Host"] = urlsplit(self.path).netloc
            try:
                connection = http.client.HTTPConnection("proxy", timeout=_TIMEOUT_S)
                connection.sock = _connect(proxy)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                self._answer(answer.status, answer.headers, answer, is_page=False)
            except (OSError, http.client.HTTPException, ValueError):
                self.send_error(502)

        def _ask(self, address: str, authorization: str) -> None:
            headers = {name: value for name in _PASSED_ON if (value := self.headers.get(name))}
            if authorization:
                headers["Authorization"] = authorization
            try:
                request = urllib.request.Request(address, headers=headers, method=self.command)  # noqa: S310 - of an index
                with relay.opener.open(request, timeout=_TIMEOUT_S) as answer:
                    is_page = answer.headers.get("Content-Type", "").lower().startswith(_PAGES)
                    self._answer(answer.status, answer.headers, answer, is_page=is_page)
            except urllib.error.HTTPError as refusal:
                with refusal:
                    self._answer(refusal.code, refusal.headers, refusal, is_page=False)
            except (OSError, http.client.HTTPException, ValueError):
                with suppress(OSError):
                    self.send_error(502)

        def _answer(self, status: int, headers: "Message", body: "Any", *, is_page: bool) -> None:
            page = None
            if is_page and self.command == "GET":
                page = body.read(PAGE_BYTES_MAX + 1)
                if len(page) > PAGE_BYTES_MAX:
                    self.send_error(502)
                    return
                page = relay.here(page.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in _NOT_RETURNED:
                    self.send_header(name, value)
            if location := headers.get("Location"):
                self.send_header("Location", relay.here(location))
            length = str(len(page)) if page is not None else headers.get("Content-Length")
            if length:
                self.send_header("Content-Length", length)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            if page is not None:
                self.wfile.write(page)
                return
            while chunk := body.read(_CHUNK_BYTES):
                self.wfile.write(chunk)

    return Handler


def _connect(proxy: Login) -> socket.socket:
    split = urlsplit(proxy.address)
    assert split.hostname is not None
    port = split.port or (443 if split.scheme == "https" else 80)
    connection = socket.create_connection((split.hostname, port), timeout=_TIMEOUT_S)
    if split.scheme == "https":
        return ssl.create_default_context().wrap_socket(connection, server_hostname=split.hostname)
    return connection


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""
    ways = {one: other, other: one}
    with other:
        while True:
            readable, _, _ = select.select(list(ways), [], [], _TIMEOUT_S)
            if not readable:
                return
            for each in readable:
                data = each.recv(_CHUNK_BYTES)
                if not data:
                    return
                ways[each].sendall(data)


def _origin(address: str) -> str:
    split = urlsplit(address)
    return f"{split.scheme}://{split.netloc}"


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def _with_login(address: str, login: "Login | None") -> str:
    if login is None:
        return address
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{quote(login.username, safe='')}:{quote(login.password, safe='')}@{rest}"
