"""Client certificates for TLS."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509


def check(certificate: str, key: str | None, password: str | None) -> None:
    """Check that a client certificate can be used now.

    :param certificate: path of the PEM file; it may also have the key and the chain.
    :param key: path of the PEM file of the private key.
    :raises ValueError: a file is missing or invalid, the key does not fit, or the certificate is not valid now.
    """
    try:
        first = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
        # without a callback OpenSSL would ask for the password at the terminal
        ssl.create_default_context().load_cert_chain(certificate, key, lambda: password or "")
    except OSError as error:  # also what OpenSSL reports
        raise ValueError(f"it cannot be loaded, or does not fit the key ({error})") from None
    except ValueError:
        raise ValueError(f"{certificate} is not a certificate in PEM format") from None
    for word, moment, wrong in (
        ("expired on", first.not_valid_after_utc, first.not_valid_after_utc < datetime.now(UTC)),
        ("is only valid from", first.not_valid_before_utc, first.not_valid_before_utc > datetime.now(UTC)),
    ):
        if wrong:
            raise ValueError(f"the certificate {certificate} {word} {moment:%Y-%m-%d}")
