"""Settings of hypothesis for the unit tests: the same examples in every run, and no database of failures."""

import pytest
from hypothesis import settings

settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=40)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _certificates_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust what a test says, and not what this machine's environment does. Other tests may install packages."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
