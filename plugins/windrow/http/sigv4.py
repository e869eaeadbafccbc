"""AWS Signature Version 4. botocore computes the signature."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from multidict import CIMultiDict
from yarl import URL

from windrow.http.auth import Attempt, Exchange, StaticAuth
from windrow.model.errors import CredentialsRejected
from windrow.model.query import Query
from windrow.model.redact import know

logging.getLogger("botocore.auth").setLevel(logging.INFO)  # its DEBUG lines have the session token


class Credentials(Protocol):
    """Credentials of botocore. Those of a role are refreshed in time."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the keys to use now. May make calls."""


class SigV4(StaticAuth):
    """Signs method, URL, body and headers of each attempt with an AWS access key.

    :param service: name of the service in the signature, like ``execute-api``.
    """

    def __init__(self, credentials: Credentials, service: str, region: str) -> None:
        super().__init__({}, "AWS access key")
        self._credentials = credentials
        self._service = service
        self._region = region
        self._keys: ReadOnlyCredentials

    async def signature(self, post: Exchange, query: Query | None = None, prefer: str = "") -> Mapping[str, str]:
        """Return the id of the access key to use.

        :raises CredentialsRejected: AWS gave no keys for the role.
        """
        try:
            self._keys = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except BotoCoreError as error:
            raise CredentialsRejected(
                f"botocore got no AWS credentials: {error}", advice="Check the AWS connection and its role."
            ) from error
        know(self._keys.secret_key, self._keys.token)
        return {"access_key": self._keys.access_key}

    def sign(self, signature: Mapping[str, str], attempt: Attempt) -> Attempt:
        """Add the signature. The query is encoded as AWS does, so that both sides sign the same text."""
        pairs = (f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in attempt.url.query.items())
        query = "&".join(pairs)
        url = URL(str(attempt.url.with_query(None)) + (f"?{query}" if query else ""), encoded=True)
        request = AWSRequest(attempt.method, str(url), headers=dict(attempt.headers), data=attempt.body)
        signer = S3SigV4Auth if self._service == "s3" else SigV4Auth
        signer(self._keys, self._service, self._region).add_auth(request)
        return replace(attempt, url=url, headers=CIMultiDict(request.headers.items()))
