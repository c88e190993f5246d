"""TLS from a certificate and a key in files, with errors that say which file and what is wrong with it."""

from __future__ import annotations

import ssl
from pathlib import Path


class BadCertificate(ValueError):
    """The configured certificate or key can't be used."""


def server_context(certificate: Path, private_key: Path | None = None) -> ssl.SSLContext:
    """What a server with this certificate (with its chain) uses; raises BadCertificate.

    Without ``private_key`` the certificate's file holds the key as well.
    """
    key = private_key or certificate
    for what, path in (("certificate", certificate), ("private key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise BadCertificate(f"the {what} {path} can't be read: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")  # never ask at the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate(f"the key {key} doesn't belong to the certificate {certificate}") from None
        raise BadCertificate(
            f"the certificate {certificate} with the key {key} can't be used ({error.reason or error}): "
            "both must be PEM files, the key without a password"
        ) from None
    return context
