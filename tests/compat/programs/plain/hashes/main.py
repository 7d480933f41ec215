"""Digests, signatures and random numbers with a seed."""

import base64
import hashlib
import hmac
import random
import uuid

data = "grün".encode()
for name in ("md5", "sha1", "sha256", "sha3_256", "blake2b"):
    print(name, hashlib.new(name, data).hexdigest()[:16])
print(hmac.new(b"key", data, "sha256").hexdigest())
print(base64.b64encode(hashlib.pbkdf2_hmac("sha256", data, b"salt", 1000)).decode())
random.seed(7)
print([random.randint(1, 6) for _ in range(10)], random.random(), random.gauss(0, 1))
print(uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/"))
print(hash((1, 2.5)), hash(10**30))
