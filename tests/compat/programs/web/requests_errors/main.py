"""What requests says about a port without a server, and about an invalid address."""

import socket

import requests

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
session = requests.Session()
session.trust_env = False
for url in (f"http://127.0.0.1:{port}/", "http://[broken", "nothing://x"):
    try:
        session.get(url, timeout=5)
    except requests.RequestException as error:
        print(type(error).__name__)
