"""Consents whose refresh token changes at each use: none is lost, whoever uses them and whatever is killed."""

import multiprocessing
import os
import signal
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import connection
from urllib.parse import parse_qsl

import pytest
from cryptography.fernet import Fernet
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.faults.consent_process import CONSENT, call, compete, flow, once, together
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.http.consent import Claim
from windrow.model.errors import CredentialsRejected, StagingUnavailable
from windrow.store.consents import CONSENTS
from windrow.store.staging import Staging

KEY = Fernet.generate_key()


class Killed(BaseException):
    """The process ends here, as far as the store and the endpoint see."""


@dataclass
class Owner:
    """A token endpoint that ends a refresh token when it is used, and an API that accepts its last access token.

    With ``grace``, the refresh token before the last one is accepted too.
    """

    grace: bool = False
    issued: int = 0
    valid: list[str] = field(default_factory=lambda: [CONSENT])
    used: list[str] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Reply:
        if asked.path != "/token":
            return Reply({}, 200 if asked.signature == f"Bearer acc3ss-t0k3n-{self.issued}" else 401)
        given = dict(parse_qsl(asked.body))["refresh_token"]
        self.used.append(given)
        if given not in self.valid[-2 if self.grace else -1 :]:
            return Reply({"error": "invalid_grant"}, 400)
        self.issued += 1
        self.valid.append(f"r3fr3sh-t0k3n-{self.issued}")
        return Reply({"access_token": f"acc3ss-t0k3n-{self.issued}", "refresh_token": self.valid[-1]})

    def revoke_access(self) -> None:
        """End the access token, as its lifetime does."""
        self.issued += 1


@pytest.fixture
def owner(scripted: ScriptedApi) -> Owner:
    scripted.script = Owner()
    return scripted.script


def test_ten_runs_one_after_the_other_refresh_and_lose_nothing(
    staging: Staging, scripted: ScriptedApi, owner: Owner, mongo: MongoClient
) -> None:
    for run in range(10):
        assert call(scripted.url, flow(staging, KEY), times=5) == [200] * 5
        if run % 2:
            owner.revoke_access()
    assert owner.used == [CONSENT, *owner.valid[1:5]], "a run that finds a good access token does not refresh"
    stored = list(staging._database[CONSENTS].find())
    assert len(stored) == 1
    assert not [secret for secret in (CONSENT, owner.valid[-1], "acc3ss-t0k3n-") if secret in str(stored)]


def mongo_url(cloud: Settings) -> str:
    return os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud)


def test_processes_at_once_refresh_once(staging: Staging, scripted: ScriptedApi, owner: Owner, cloud: Settings) -> None:
    def slow(asked: Asked) -> Reply:
        if asked.path == "/token":
            time.sleep(0.2)  # so that both processes want to refresh
        return owner(asked)

    scripted.script = slow
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    with ProcessPoolExecutor(2, context, initializer=together, initargs=(barrier,)) as pool:
        given = (scripted.url, mongo_url(cloud), staging._database.name, KEY)
        for _ in range(3):
            running = [pool.submit(compete, *given) for _ in range(2)]
            assert [one.result(60) for one in running] == [[200] * 4] * 2
            owner.revoke_access()
    assert owner.used == [CONSENT, *owner.valid[1:3]], "one refresh for both, each time"


def test_a_process_that_is_killed_while_it_waits_for_the_endpoint(
    staging: Staging, scripted: ScriptedApi, owner: Owner, cloud: Settings
) -> None:
    owner.grace = True
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=once, args=(scripted.url, mongo_url(cloud), staging._database.name, KEY))

    def script(asked: Asked) -> Reply:
        reply = owner(asked)
        if owner.issued == 1:
            process.kill()
            connection.wait([process.sentinel], 10)  # no join: two threads that join take the exit code from each other
        return reply

    scripted.script = script
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert call(scripted.url, flow(staging, KEY)) == [200]
    assert owner.used == [CONSENT, CONSENT]


class Dying(Staging):
    """A staging whose process is killed at one step."""

    step = ""

    def claim_refresh(self, consent: str, claim: Claim) -> bool:
        self._die("before the claim")
        return super().claim_refresh(consent, claim) and not self._die("after the claim")

    def save_refresh(self, consent: str, number: int, sealed: str, *, by: str) -> bool:
        self._die("before the new token is stored")
        return super().save_refresh(consent, number, sealed, by=by)

    def _delete(self, collection: str, id_: str) -> None:
        self._die("after the new token is stored")
        super()._delete(collection, id_)

    def _die(self, step: str) -> None:
        if step == self.step:
            raise Killed


STEPS = ("before the claim", "after the claim", "before the new token is stored", "after the new token is stored")


@pytest.mark.parametrize("grace", [False, True], ids=["no grace", "grace"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("refreshes", [0, 1], ids=["first", "second"])
def test_a_kill_at_any_step_loses_no_consent_that_the_endpoint_allows_to_keep(
    step: str, grace: bool, refreshes: int, mongo: MongoClient, staging: Staging, scripted: ScriptedApi, owner: Owner
) -> None:
    owner.grace = grace
    for _ in range(refreshes):
        assert call(scripted.url, flow(staging, KEY)) == [200]
        owner.revoke_access()
    dying = Dying(mongo, staging._database.name)
    dying.step = step
    with pytest.raises(Killed):
        call(scripted.url, flow(dying, KEY, lease_s=0.2))

    if step == "before the new token is stored" and not grace:
        with pytest.raises(CredentialsRejected) as lost:
            call(scripted.url, flow(staging, KEY))
        for words in ("A refresh was started at 20", "its answer was not stored", "give consent again", "'shop'"):
            assert words in lost.value.advice
        return
    assert call(scripted.url, flow(staging, KEY)) == [200]
    owner.revoke_access()
    assert call(scripted.url, flow(staging, KEY)) == [200]


def test_a_lost_answer_is_told_from_a_consent_that_was_revoked(
    staging: Staging, scripted: ScriptedApi, owner: Owner
) -> None:
    """The endpoint replaces the token, and its answer gets lost on the way."""
    scripted.script = lambda asked: Reply("", 504) if owner(asked).status == 200 else owner(asked)
    with pytest.raises(CredentialsRejected, match="invalid_grant") as lost:
        call(scripted.url, flow(staging, KEY))
    assert "its answer was not stored" in lost.value.advice
    with pytest.raises(CredentialsRejected) as revoked:
        call(scripted.url, flow(staging, KEY, consent="c0ns3nt-that-was-revoked"))
    assert revoked.value.advice.startswith("The consent was revoked or has expired.")
    assert CONSENT not in "".join(traceback.format_exception(lost.value))


def test_a_consent_that_a_person_sets_anew_takes_the_place_of_the_stored_one(
    staging: Staging, scripted: ScriptedApi, owner: Owner
) -> None:
    assert call(scripted.url, flow(staging, KEY)) == [200]
    owner.valid.append("n3w-c0ns3nt-of-an-owner")  # which ends the one before
    owner.revoke_access()
    assert call(scripted.url, flow(staging, KEY, consent="n3w-c0ns3nt-of-an-owner")) == [200]
    assert owner.used[-1] == "n3w-c0ns3nt-of-an-owner"


def test_new_tokens_are_stored_once_mongodb_is_back(
    mongo: MongoClient, staging: Staging, scripted: ScriptedApi, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away(Staging):
        left = 3

        def save_refresh(self, consent: str, number: int, sealed: str, *, by: str) -> bool:
            self.left -= 1
            if self.left:
                raise StagingUnavailable("MongoDB is away", advice="Wait.")
            return super().save_refresh(consent, number, sealed, by=by)

    monkeypatch.setattr("windrow.http.consent._SAVE_PAUSES_S", (0.0,) * 5)
    away = Away(mongo, staging._database.name)
    assert call(scripted.url, flow(away, KEY)) == [200]
    assert away.left == 0
    assert call(scripted.url, flow(staging, KEY)) == [200]
    assert owner.used == [CONSENT]


def test_an_endpoint_that_keeps_the_refresh_token_is_asked_with_it_again(
    staging: Staging, scripted: ScriptedApi
) -> None:
    issued: list[str] = []

    def script(asked: Asked) -> Reply:
        if asked.path == "/token":
            issued.append(dict(parse_qsl(asked.body))["refresh_token"])
            return Reply({"access_token": f"acc3ss-{len(issued)}", "expires_in": 0.3})
        return Reply({})

    scripted.script = script
    for _ in range(2):
        assert call(scripted.url, flow(staging, KEY)) == [200]
    assert set(issued) == {CONSENT}
