"""dlt the way its documentation shows it: a parallelized transformer, its `requests` with retries, its OAuth class.

What it has no part for is written here: the refresh token grant, one refresh at a time for all threads, and a margin
before a token's end. Its retries send a call again with the token it had, and a 401 ends the run.
"""

import threading
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials
from requests import PreparedRequest

from benchmarks.contenders.dlt_pipeline import destination
from benchmarks.youtube.job import DATASET, PATH, TIMEOUT_S, TOKEN_PATH, Job, Report, name, params

_MARGIN_S = 15
"""So long before its end a token is replaced: longer than the retries of a call that was signed with it."""


class RefreshToken(OAuth2ClientCredentials):
    """The refresh token grant, for many threads."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._turn = threading.Lock()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a call; one thread refreshes, the others wait for it."""
        with self._turn:
            return super().__call__(request)

    def build_access_token_request(self) -> dict[str, Any]:
        """Write the form of the grant."""
        return {"data": self.access_token_request_data}

    def parse_expiration_in_seconds(self, response_json: Any) -> int:
        """Say when to refresh."""
        return super().parse_expiration_in_seconds(response_json) - _MARGIN_S


def run(job: Job) -> None:
    """Extract, normalize and load with as many threads as connections. What a killed run left is in its folder."""
    dlt.config["extract.workers"] = dlt.config["extract.max_parallel_items"] = job.connections
    mongodb = destination(job.mongo_url, job.database, DATASET)
    dlt.pipeline("youtube", destination=mongodb, pipelines_dir=job.folder).run(_reports(job))


def _reports(job: Job) -> Any:
    """Make the resource: one call a report, each in a thread."""
    auth = RefreshToken(access_token_url=job.api_url + TOKEN_PATH, access_token_request_data=job.grant)
    client = requests.Client(request_timeout=TIMEOUT_S, max_connections=job.connections)

    @dlt.resource
    def asked() -> Iterator[Report]:
        yield from job.reports()

    @dlt.transformer(data_from=asked, name=DATASET, parallelized=True)
    def answered(report: Report) -> dict[str, Any]:
        answer = client.get(job.api_url + PATH, params=params(report), auth=auth)
        return {"_id": name(report), **answer.json()}

    return answered
