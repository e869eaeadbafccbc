"""Who the tasks come from: ID tokens signed as Google signs them, with a key of this server's own."""

import datetime
import hashlib
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from local_cloud import folder

ISSUER = "https://accounts.google.com"
LIFETIME_SECONDS = 3600
REUSE_SECONDS = 300
"""How long a token is sent again for the same account and audience: a signature takes half a millisecond."""


def load_key(path: Path) -> rsa.RSAPrivateKey:
    """Return the key kept in `path` (PEM, 0600), making it when there is none."""
    if not path.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        folder.write_private(path, _pem(made))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} does not hold an RSA key. Delete it: a new one is made.")
    return key


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class Identity:
    """Signs ID tokens for any service account, and has the certificate that proves them."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = hashlib.sha256(public).hexdigest()[:40]
        self._signer = crypt.RSASigner.from_string(_pem(key), self._key_id)
        self._tokens: dict[tuple[str, str], tuple[int, str]] = {}

    def token(self, service_account: str, audience: str) -> str:
        """Return an ID token (a JWT, RS256) of a service account for an audience."""
        now = int(time.time())
        signed_at, token = self._tokens.get((service_account, audience), (0, ""))
        if not 0 <= now - signed_at < REUSE_SECONDS:
            token = self._sign(service_account, audience, now)
            # those too old to be sent again are dropped here, so that they do not pile up
            self._tokens = {key: kept for key, kept in self._tokens.items() if now - kept[0] < REUSE_SECONDS}
            self._tokens[service_account, audience] = now, token
        return token

    def _sign(self, service_account: str, audience: str, now: int) -> str:
        # Google's accounts have a number of 21 digits; this one is always the same for the same account
        number = str(10**20 + int(hashlib.sha256(service_account.encode()).hexdigest(), 16) % 10**20)
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": number,
            "sub": number,
            "email": service_account,
            "email_verified": True,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        return bytes(jwt.encode(self._signer, claims)).decode()

    def certificates(self) -> dict[str, str]:
        """Return the certificates by key id, as https://www.googleapis.com/oauth2/v1/certs has them."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Windrow local cloud")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509
            .CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
        return {self._key_id: certificate.public_bytes(serialization.Encoding.PEM).decode()}
