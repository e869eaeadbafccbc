"""What the environment of the function says: the table, and who may call."""

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
    """Empty: the caller is not checked here, as Cloud Run does it."""
    oidc_service_account: str
    oidc_certs_url: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables.

        :raises Misconfigured: naming the one that is missing, or cannot be meant.
        """
        table = environ.get("BIGQUERY_TABLE", "")
        if not re.fullmatch(r"[a-z][a-z0-9.:-]+\.\w+\.\w+", table):
            raise Misconfigured(
                f"BIGQUERY_TABLE is {table!r:.80}.",
                advice="It should look like my-project.windrow_landing.x_posts_pushed; README.md explains each.",
            )
        audience, account = environ.get("OIDC_AUDIENCE", ""), environ.get("OIDC_SERVICE_ACCOUNT", "")
        if bool(audience) != bool(account):
            raise Misconfigured(
                "Of OIDC_AUDIENCE and OIDC_SERVICE_ACCOUNT one is set without the other.",
                advice="Set both, to let only this account call, or none.",
            )
        return cls(
            table=table,
            bigquery_url=(environ.get("BIGQUERY_URL") or BIGQUERY_URL).rstrip("/"),
            anonymous=environ.get("BIGQUERY_ANONYMOUS") == "1",
            oidc_audience=audience,
            oidc_service_account=account,
            oidc_certs_url=environ.get("OIDC_CERTS_URL") or GOOGLE_CERTS_URL,
        )
