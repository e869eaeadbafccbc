"""Airflow's retry decisions, by error."""

import json

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision
from google.api_core import exceptions as google

from windrow.airflow.operators.retry import CLOUD_POLICY, ErrorPolicy
from windrow.model import errors
from windrow.model.policy import TASK_POLICY, TaskRule


def decide(error: BaseException) -> RetryDecision:
    return ErrorPolicy().evaluate(error, 1, 3)


def make(kind: type[Exception]) -> Exception:
    """An error of this kind, made without its constructor: the policy goes by the kind alone."""
    return kind.__new__(kind)


@pytest.mark.parametrize("rule", TASK_POLICY, ids=lambda rule: rule.error.__name__)
def test_every_rule_of_the_table_is_followed(rule: TaskRule):
    decision = decide(make(rule.error))
    assert decision.reason == rule.why
    if rule.delay is None:
        assert decision.action is RetryAction.FAIL
    else:
        assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, rule.delay)


@pytest.mark.parametrize("kind", [errors.BadParameter, errors.ConnectionUnusable, errors.CredentialsRejected])
def test_a_rule_holds_for_the_kinds_below_its_error(kind: type[Exception]):
    assert decide(make(kind)).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), make(errors.Interrupted), google.ServiceUnavailable("x")]
)
def test_other_errors_follow_the_settings_of_the_task(error: BaseException):
    assert decide(error) == RetryDecision.default()


@pytest.mark.parametrize("try_number", [1, 2, 3, 4])
def test_the_number_of_the_try_is_airflows_business(try_number: int):
    assert ErrorPolicy().evaluate(make(errors.ApiUnreachable), try_number, 3).action is RetryAction.RETRY


@pytest.mark.parametrize("error", [google.BadRequest("x"), google.Forbidden("x"), google.NotFound("x")])
def test_what_the_cloud_says_is_wrong_is_not_tried_again(error: Exception):
    assert decide(error).action is RetryAction.FAIL
    assert decide(error).reason in {rule.why for rule in CLOUD_POLICY}


@pytest.mark.parametrize("reason", ["rateLimitExceeded", "quotaExceeded"])
def test_too_much_at_once_is_no_lack_of_rights(reason: str):
    """BigQuery says 403 to both; the reason tells them apart."""
    error = google.Forbidden("Exceeded rate limits", errors=[{"reason": reason, "message": "Exceeded rate limits"}])
    assert decide(error).action is not RetryAction.FAIL


def test_the_policy_can_be_serialized_with_its_dag():
    assert json.loads(json.dumps(ErrorPolicy().serialize())) == {}
    assert bool(ErrorPolicy()), "Airflow looks at a policy only if it is true"
