"""The network between a task and an API: proxy, certificates, and the advice for a connection that failed.

The settings come from the environment, as for curl and requests, and from the Airflow connection, which has
precedence.

=====================================  =================================================================
variable                               meaning
=====================================  =================================================================
HTTPS_PROXY, HTTP_PROXY, ALL_PROXY     URL of the proxy; ``http://user:password@host:3128`` with a login
NO_PROXY                               hosts and domains that are called directly
REQUESTS_CA_BUNDLE                     PEM file, or folder, of the certificate authorities to trust
SSL_CERT_FILE, SSL_CERT_DIR            the same, as read by OpenSSL
=====================================  =================================================================
"""

import logging
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import blot, know

log = logging.getLogger(__name__)

_DNS_S = 60
"""How long an address is used before its name is resolved again; after a failed connection it is resolved at once."""


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach an API.

    :param proxy: URL of the proxy for all calls; empty for the proxy of the environment.
    :param ca_bundle: PEM file or folder of the certificate authorities to trust; empty for those of the environment.
    :param verify_tls: False accepts any certificate.
    :param certificate: the client certificate: path of the PEM file, path of its key, password of the key.
    """

    proxy: str = field(default="", repr=False)
    ca_bundle: str = ""
    verify_tls: bool = True
    certificate: tuple[str, str | None, str | None] | None = field(default=None, repr=False)

    def connector(self, limit: int, tls: ssl.SSLContext | bool, *, reuse: bool = True) -> aiohttp.TCPConnector:
        """Make a connector for ``limit`` connections. With ``reuse=False`` each call gets a new connection.

        :param tls: what `tls` returned.
        """
        return aiohttp.TCPConnector(limit=limit, ttl_dns_cache=_DNS_S, ssl=tls, force_close=not reuse)

    def route(self, url: URL, name: str) -> dict[str, Any]:
        """Return the arguments ``proxy`` and ``proxy_headers`` of aiohttp for an origin; empty without a proxy.

        :param name: id of the Airflow connection, for messages.
        :raises ConnectionUnusable: the proxy is not a URL of an HTTP proxy.
        """
        proxy, source = self.proxy, f"field 'proxy' in the extra of the Airflow connection '{name}'"
        if not proxy:
            found = {} if proxy_bypass(url.host or "") else getproxies()
            proxy = found.get(url.scheme) or found.get("all", "")
            source = f"the environment ({url.scheme.upper()}_PROXY or ALL_PROXY)"
        if not proxy:
            return {}
        try:
            target = URL(proxy if "://" in proxy else f"http://{proxy}")
            known = target.scheme in {"http", "https"} and target.host
        except ValueError:
            known = False
        if not known:
            raise ConnectionUnusable(
                f"The proxy for '{name}', from {source}, is not a valid URL of an HTTP proxy.",
                advice="Set a URL like http://proxy.example.com:3128. SOCKS is not supported.",
            )
        if target.user is None:
            return {"proxy": target}
        know(target.password)
        login = aiohttp.encode_basic_auth(target.user, target.password or "")
        return {"proxy": target.with_user(None), "proxy_headers": {"Proxy-Authorization": login}}

    def warn(self, name: str) -> None:
        """Log that certificates are not verified, if so."""
        if not self.verify_tls:
            log.warning(
                "TLS certificates of the API %r are NOT verified, because 'verify_tls' is false in its Airflow "
                "connection: anyone on the network can read its credentials and change its answers.",
                name,
            )

    def tls(self) -> ssl.SSLContext | bool:
        """Return the settings for TLS; True for the defaults.

        :raises ConnectionUnusable: the certificate authorities to trust cannot be read.
        """
        context = self._trust()
        if self.certificate is None:
            return context or True
        context = context or ssl.create_default_context()
        context.load_cert_chain(*self.certificate)
        return context

    def _trust(self) -> ssl.SSLContext | None:
        """Return the settings for the certificates of servers; None for the defaults."""
        if not self.verify_tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        for source, path in (
            ("field 'ca_bundle' of the Airflow connection", self.ca_bundle),
            ("environment variable REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE", "")),
            ("environment variable SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE", "")),
        ):
            if path:
                return _trusting(path, source)
        return None


def _trusting(path: str, source: str) -> ssl.SSLContext:
    """Make a context that trusts the certificate authorities of a file or folder only.

    :raises ConnectionUnusable: it cannot be read.
    """
    try:
        is_folder = Path(path).is_dir()
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
    except OSError as error:  # ssl.SSLError is one
        raise ConnectionUnusable(
            f"The certificate authorities in {path!r} ({source}) cannot be read: {blot(str(error))}",
            advice="Set it to a readable PEM file, or remove the setting to use the certificates of the system.",
        ) from None


def describe(error: Exception) -> str:
    """Describe a connection error; some of these errors have no message."""
    return blot(f"{type(error).__name__}: {error}") if str(error) else type(error).__name__


def proxy_login_required(route: dict[str, Any], name: str) -> ConnectionUnusable:
    """Make the error for a proxy that answered 407. A retry would get the same."""
    given = "rejected the login in its URL" if "proxy_headers" in route else "requires a login"
    return ConnectionUnusable(
        f"The proxy {route.get('proxy', '')} between Airflow and the API '{name}' {given} (HTTP 407).",
        advice="Set the proxy with its login in HTTPS_PROXY and HTTP_PROXY, or in 'proxy' in the extra of the Airflow "
        f"connection '{name}': http://user:password@host:port. Escape special characters: %40 is @.",
    )


def advice(error: Exception, route: dict[str, Any], name: str) -> str:
    """Return what to do about a connection error; empty if the error has no special cause.

    :param route: what `Network.route` returned for the call.
    """
    proxy = route.get("proxy")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return (
            f"The proxy {proxy} cannot be reached. Check HTTPS_PROXY and HTTP_PROXY, or 'proxy' in the extra of the "
            f"Airflow connection '{name}'; add the host to NO_PROXY if it must be called directly."
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return (
            f"The proxy {proxy} refused the connection (HTTP {error.status}). Ask its administrator to allow this "
            "host, or add the host to NO_PROXY if it must be called directly."
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return (
            "The certificate of the server is not trusted. If a proxy of your company signs certificates, set "
            "REQUESTS_CA_BUNDLE to the PEM file of its certificate authority, or 'ca_bundle' in the extra of the "
            f"Airflow connection '{name}'. If it has expired, its owner must renew it."
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return (
            "The TLS handshake failed. Check schema and port of the Airflow connection "
            f"'{name}': the port may not speak TLS."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return (
            f"The host name cannot be resolved. Check the host of the Airflow connection '{name}'. If this network "
            "requires a proxy, set HTTPS_PROXY."
        )
    return ""
