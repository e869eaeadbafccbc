"""Credentials that do not change: HTTP Basic, and an API key in a header or in a query parameter."""

import base64
from collections.abc import Mapping
from dataclasses import replace

from windrow.http.auth import Attempt, StaticAuth


class Basic(StaticAuth):
    """HTTP Basic, RFC 7617, in UTF-8.

    :raises ValueError: the login has a colon, or one of both has a control character.
    """

    def __init__(self, login: str, password: str = "") -> None:
        if ":" in login or not (login + password).isprintable():
            raise ValueError("login must not have a colon; login and password must not have control characters")
        encoded = base64.b64encode(f"{login}:{password}".encode()).decode()
        super().__init__({"Authorization": f"Basic {encoded}"}, "login or password", [password, encoded])


class HeaderKey(StaticAuth):
    """An API key in a header.

    :param prefix: a word before the key, like ``Token``; empty for none.
    """

    def __init__(self, header: str, key: str, prefix: str = "") -> None:
        super().__init__({header: f"{prefix} {key}" if prefix else key}, f"API key in the header {header!r}", [key])


class QueryKey(StaticAuth):
    """An API key in a query parameter.

    It is added when a call is sent, so no query has it. It replaces a parameter of the same name.
    """

    def __init__(self, param: str, key: str) -> None:
        super().__init__({param: key}, f"API key in the query parameter {param!r}", [key])
        self.query_params = (param,)

    def sign(self, signature: Mapping[str, str], attempt: Attempt) -> Attempt:
        """Add the parameter."""
        return replace(attempt, url=attempt.url.update_query(signature))
