"""An HTTP proxy that asks for a login."""

from __future__ import annotations

import base64
import http.server
import select
import socket
import threading
import urllib.error
import urllib.request


class LoginProxy:
    """Passes requests and tunnels on, and refuses those without its login."""

    def __init__(self, login: str) -> None:
        self.expected = "Basic " + base64.b64encode(login.encode()).decode()
        self.passed: list[str] = []
        self.refused = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()


def _handler(proxy: LoginProxy) -> type[http.server.BaseHTTPRequestHandler]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.headers.get("Proxy-Authorization") != proxy.expected:
                proxy.refused += 1
                self.send_error(407)
                return
            proxy.passed.append(self.path)
            names = ("Authorization", "Accept", "Range")
            headers = {name: value for name in names if (value := self.headers.get(name))}
            try:
                with opener.open(urllib.request.Request(self.path, headers=headers, method=self.command)) as answer:
                    self.answer(answer.status, dict(answer.headers), answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    self.answer(error.code, dict(error.headers), error.read())

        def do_CONNECT(self) -> None:
            self.close_connection = True
            if self.headers.get("Proxy-Authorization") != proxy.expected:
                proxy.refused += 1
                self.send_error(407)
                return
            proxy.passed.append(self.path)
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response_only(200)
                self.end_headers()
                ways = {self.connection: upstream, upstream: self.connection}
                while True:
                    for each in select.select(list(ways), [], [])[0]:
                        if not (data := each.recv(65536)):
                            return
                        ways[each].sendall(data)

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name in ("Content-Type", "WWW-Authenticate"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
            self.end_headers()
            self.wfile.write(body)

    return Handler
