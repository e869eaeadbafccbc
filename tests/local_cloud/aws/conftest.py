from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_cloud.settings import AWS_KEY, AWS_REGION, Settings
from tests.local_cloud.aws.athena import Athena
from tests.shared_cloud import SharedCloud

Client = Callable[[str], Any]


def clients(settings: Settings) -> Client:
    """Make clients as a user would, each pointed at its emulator."""

    def client(service: str) -> Any:
        front = settings.athena_url if service in {"athena", "glue"} else settings.aws_url
        return boto3.client(
            service,
            endpoint_url=front,
            region_name=AWS_REGION,
            aws_access_key_id=AWS_KEY,
            aws_secret_access_key=AWS_KEY,
            config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
        )

    return client


@pytest.fixture(scope="session")
def aws(shared: SharedCloud) -> Settings:
    """The AWS side of the local cloud, for tests that leave it running."""
    return shared.need("aws", "athena")


@pytest.fixture(scope="session")
def client(aws: Settings) -> Client:
    return clients(aws)


@pytest.fixture
def athena(client: Client) -> Iterator[Athena]:
    """Athena with a bucket and a database of this test alone."""
    with Athena.fresh(client) as athena:
        yield athena
