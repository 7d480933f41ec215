"""TLS to the bus: certificate files into a TLS context. It only reads files.

An address with ``tls://`` or a configured authority requires TLS; a server without it is then refused before any
secret is sent. Without either, the server decides, and the system's authorities are trusted.
"""

from __future__ import annotations

import ssl
from typing import Final

import msgspec

from fastflow_contracts.errors import FastFlowError


class BadTls(FastFlowError):
    """A certificate or key cannot be used."""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of PEM files; empty: the system's authorities, and no certificate of our own."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    """Empty: it is in *certificate*'s file."""

    def is_demanded(self, url: str) -> bool:
        """Whether the server at *url* (several separated by commas) must speak TLS."""
        return bool(self.ca) or any(each.strip().startswith("tls://") for each in url.split(","))

    def context(self) -> ssl.SSLContext:
        """Build the TLS context. Raises ``BadTls``."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:  # an SSLError is one
            raise BadTls(f"the authority in {self.ca} cannot be used: {_reason(error)}; it is a PEM file.") from None
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key or None)
            except OSError as error:
                files = " and ".join(filter(None, (self.certificate, self.key)))
                raise BadTls(f"the certificate in {files} cannot be used: {_reason(error)}.") from None
        # On by default since Python 3.13: it refuses authorities that people made themselves and every other client
        # of NATS takes (no key identifier in the certificate).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


PLAIN: Final = Tls()


def complaint(error: BaseException) -> str:
    """Explain a TLS error and say what to do; empty for any other error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; FASTFLOW_NATS_CA names the trusted authority"
    if isinstance(error, ssl.SSLError):
        if "CERTIFICATE_REQUIRED" in (error.reason or ""):
            return "it requires a client certificate: FASTFLOW_NATS_CERTIFICATE"
        return f"TLS failed: {_reason(error)}"
    return ""


def is_mistrust(error: BaseException) -> bool:
    """Return whether one side does not trust the other's certificate, which no repeat changes."""
    return isinstance(error, ssl.SSLCertVerificationError) or (
        isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in (error.reason or "")
    )


def _reason(error: OSError) -> str:
    return error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or str(error)
