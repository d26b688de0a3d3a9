"""Which certificates of others are trusted: those that this system trusts."""

from __future__ import annotations

import os
import ssl

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep them. OpenSSL knows where its own system does; in one file (packaging/) that
is the system where it was built."""


def context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        for bundle in filter(os.path.isfile, BUNDLES):
            made.load_verify_locations(bundle)
            break
    return made
