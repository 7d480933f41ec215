"""A step that ends the script with an error of HTTP, as ``raise_for_status`` does."""

import sys

import requests

answer = requests.Response()
answer.status_code, answer.reason, answer.url = 503, "Service Unavailable", "http://shop/api"
try:
    answer.raise_for_status()
except requests.HTTPError as error:
    print(error, file=sys.stderr)
    sys.exit(11)
