"""boto3 against its own object store in this process."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

objects = {}


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        objects[self.path] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200)

    def do_GET(self):
        missing = b"<Error><Code>NoSuchKey</Code><Message>there is no such key</Message></Error>"
        self._answer(*((200, objects[self.path]) if self.path in objects else (404, missing)))

    def _answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
s3 = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="eu-central-1",
    aws_access_key_id="key",
    aws_secret_access_key="secret",
    config=Config(
        s3={"addressing_style": "path"}, request_checksum_calculation="when_required", retries={"max_attempts": 1}
    ),
)
s3.put_object(Bucket="shop", Key="rows.csv", Body="a,ü\n".encode())
print(s3.get_object(Bucket="shop", Key="rows.csv")["Body"].read().decode(), end="")
try:
    s3.get_object(Bucket="shop", Key="none")
except ClientError as error:
    print(error.response["Error"]["Code"], error)
server.shutdown()
