"""GET and POST against its own server; a 404 becomes an exception."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests


class Echo(BaseHTTPRequestHandler):
    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self._answer(404 if self.path == "/missing" else 200, {"path": self.path})

    def do_POST(self):
        self._answer(201, {"got": json.loads(self.rfile.read(int(self.headers["Content-Length"])))})

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
with requests.Session() as session:
    print(session.get(f"{base}/items", params={"q": "grün", "page": 2}).json())
    print(session.post(f"{base}/items", json={"name": "a", "n": 1}).status_code)
    try:
        session.get(f"{base}/missing").raise_for_status()
    except requests.HTTPError as error:
        print(type(error).__name__, error.response.status_code)
server.shutdown()
