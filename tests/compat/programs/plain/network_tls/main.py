"""A TLS context trusts the certificates of the system."""

import ssl

context = ssl.create_default_context()
print(context.verify_mode.name, context.check_hostname, len(context.get_ca_certs()) > 50)
print(ssl.OPENSSL_VERSION_INFO >= (1, 1), ssl.HAS_TLSv1_3)
