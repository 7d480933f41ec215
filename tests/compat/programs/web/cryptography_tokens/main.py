"""Keys, signatures and tokens by the package cryptography."""

from cryptography.exceptions import InvalidSignature
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
signature = key.sign(b"message")
print(signature.hex()[:32])
try:
    key.public_key().verify(signature, b"another")
except InvalidSignature:
    print("invalid signature")
print(AESGCM(bytes(16)).encrypt(bytes(12), "grün".encode(), None).hex())
box = Fernet(Fernet.generate_key())
print(box.decrypt(box.encrypt(b"secret")))
try:
    Fernet(Fernet.generate_key()).decrypt(box.encrypt(b"x"))
except InvalidToken:
    print("invalid token")
