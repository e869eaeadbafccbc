"""Settings of the function, from environment variables: the table, and the allowed caller."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from caller import GOOGLE_CERTS_URL

from windrow.model.errors import Misconfigured

BIGQUERY_URL = "https://bigquery.googleapis.com"


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings. README.md explains each variable."""

    table: str
    """``project.dataset.table``"""
    bigquery_url: str
    anonymous: bool
    oidc_audience: str
    """Empty: the function does not check the caller, because Cloud Run does."""
    oidc_service_account: str
    oidc_certs_url: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables.

        :raises Misconfigured: a variable is missing or invalid.
        """
        table = environ.get("BIGQUERY_TABLE", "")
        if not re.fullmatch(r"[a-z][a-z0-9.:-]+\.\w+\.\w+", table):
            raise Misconfigured(
                f"BIGQUERY_TABLE is not the name of a table: {table!r:.80}.",
                advice="Use a name like my-project.windrow_landing.x_posts_pushed; README.md explains each variable.",
            )
        audience, account = environ.get("OIDC_AUDIENCE", ""), environ.get("OIDC_SERVICE_ACCOUNT", "")
        if bool(audience) != bool(account):
            raise Misconfigured(
                "Only one of OIDC_AUDIENCE and OIDC_SERVICE_ACCOUNT is set.",
                advice="Set both, so that only this account may call the function, or none.",
            )
        return cls(
            table=table,
            bigquery_url=(environ.get("BIGQUERY_URL") or BIGQUERY_URL).rstrip("/"),
            anonymous=environ.get("BIGQUERY_ANONYMOUS") == "1",
            oidc_audience=audience,
            oidc_service_account=account,
            oidc_certs_url=environ.get("OIDC_CERTS_URL") or GOOGLE_CERTS_URL,
        )
