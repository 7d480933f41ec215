"""A large download in parts, written to a file, and its digest."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

DATA = bytes(range(256)) * 20_000


class Download(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Download)
threading.Thread(target=server.serve_forever, daemon=True).start()
with requests.get(f"http://127.0.0.1:{server.server_port}/data.bin", stream=True, proxies={"http": ""}) as answer:
    with open("data.bin", "wb") as file:
        for part in answer.iter_content(65536):
            file.write(part)
print(answer.headers["Content-Length"], hashlib.sha256(open("data.bin", "rb").read()).hexdigest())
server.shutdown()
