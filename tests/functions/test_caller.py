"""Certificates of the issuer, in the process of the test: how long they are kept while the issuer fails."""

import asyncio
import importlib.util
import logging
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from tests.functions.harness import ACCOUNT, AUDIENCE, ROOT, Issuer

HOUR_S = 3600.0


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("caller", ROOT / "include/functions/shared/caller.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "caller", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clock(caller: ModuleType, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monotonic clock of the function; a test moves it on."""
    fake = SimpleNamespace(now=time.monotonic(), time=time.time)
    fake.monotonic = lambda: fake.now
    monkeypatch.setattr(caller, "time", fake)
    return fake


@pytest.fixture
def broken(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """The issuer, which a test may let fail."""
    monkeypatch.setattr(issuer, "works", True)
    return issuer


def test_keys_stay_valid_for_a_day_while_their_issuer_fails(
    caller: ModuleType, clock: SimpleNamespace, broken: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    callers = caller.Callers(AUDIENCE, ACCOUNT, broken.url)

    def check(**changes: object) -> None:
        asyncio.run(callers.check(f"Bearer {broken.token(jti=str(time.time_ns()), **changes)}"))

    check()
    broken.works = False
    for hours, warnings in ((0.9, 0), (0.2, 1), (0.001, 1), (0.1, 2), (22, 3)):
        clock.now += hours * HOUR_S
        check()
        told = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert len(told) == warnings, hours
    assert f"{broken.url} answered 500" in told[-1].getMessage()
    assert "23 h" in told[-1].getMessage()
    with pytest.raises(caller.CallerRefused):
        check(aud="https://elsewhere.example.com")
    clock.now += HOUR_S
    with pytest.raises(caller.CertificatesUnavailable):
        check()
    broken.works = True
    check()


def test_invalid_tokens_do_not_make_a_failing_issuer_busy(
    caller: ModuleType, clock: SimpleNamespace, broken: Issuer
) -> None:
    callers = caller.Callers(AUDIENCE, ACCOUNT, broken.url)
    asyncio.run(callers.check(f"Bearer {broken.token()}"))
    broken.works, fetches = False, broken.fetches
    clock.now += 2 * HOUR_S
    for _ in range(5):
        with pytest.raises(caller.CallerRefused):
            asyncio.run(callers.check("Bearer a.b.c"))
    assert broken.fetches == fetches + 1
