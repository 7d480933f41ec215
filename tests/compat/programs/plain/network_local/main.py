"""TCP, UDP and a web server on the loopback interface, a name that resolves, and a port without a server."""

import http.server
import socket
import threading
import urllib.error
import urllib.request


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/" else 404)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://localhost:{server.server_port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print(opener.open(url + "/").read())
    try:
        opener.open(url + "/missing")
    except urllib.error.HTTPError as error:
        print(error.code, error.reason)
    server.shutdown()
left, right = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
right.bind(("127.0.0.1", 0))
left.sendto(b"datagram", right.getsockname())
print(right.recv(100), socket.gethostbyname("localhost"))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
try:
    socket.create_connection(("127.0.0.1", port), timeout=5)
except ConnectionRefusedError as error:
    print(error.strerror)
