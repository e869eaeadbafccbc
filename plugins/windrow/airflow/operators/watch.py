"""watch: tell people of problems once, that they have become worse, and that they are over."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseNotifier, BaseOperator, Context

from windrow.airflow.hooks.limits import read_limits
from windrow.airflow.hooks.snapshot import snapshot
from windrow.airflow.hooks.staging import staging_and_status
from windrow.airflow.metrics import set_gauges
from windrow.airflow.operators.alert import send
from windrow.harvest.watch import BLIND, Problem, Severity, Told, changes, message, problems
from windrow.model.errors import WindrowError
from windrow.model.redact import blot

MESSAGE = "windrow_alert"
"""The name of the message in the context of a notifier."""


class WatchOperator(BaseOperator):
    """Looks for problems of all streams, and sends what has changed to people.

    It sends to the webhook of the connection ``windrow_alerts`` and the addresses of ``windrow_email``, as far as they
    exist. If it is killed after it has sent and before it has stored that, people are told again. If nobody takes the
    message, nothing is stored, so the next check sends it.

    :param notifiers: further notifiers of Airflow. A template of theirs has the message as ``{{ windrow_alert }}``.
    :param mongo_conn_id: the Airflow connection of the MongoDB that stores the state of harvests.
    :returns: the lines that were sent.
    """

    advice = "Fix the cause. The next check sends what this one did not."
    template_fields = ("mongo_conn_id",)

    def __init__(
        self, *, notifiers: Sequence[BaseNotifier] = (), mongo_conn_id: str = "mongo_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.notifiers = notifiers
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> list[str]:
        """Look once.

        :raises WindrowError: there are channels to people, and none took the message.
        """
        now = datetime.now(UTC)
        found = self._problems(now)
        with staging_and_status(self.mongo_conn_id) as (state, _):
            told = [Told(**{name: one[name] for name in Told.__slots__ if name in one}) for one in state.alerts()]
            lines, after = changes(found, told, now)
            lines = list(map(blot, lines))
            if lines:
                self._send(context, message(lines))
            state.keep_alerts(list(map(asdict, after)))
        self.log.info("%s problems, %s messages", len(found), len(lines))
        return lines

    def _problems(self, now: datetime) -> list[Problem]:
        try:
            seen = snapshot(self.mongo_conn_id)
        except WindrowError as error:
            self.log.warning("%s", error)
            return [Problem(BLIND, Severity.ERROR, error.what, error.advice)]
        quotas, credentials = read_limits(seen, lambda _: False)
        set_gauges(seen, quotas, credentials, now)
        return problems(seen, {one.conn_id: one.days for one in credentials if one.days is not None}, now)

    def _send(self, context: Context, text: str) -> None:
        self.log.warning("%s", text)
        taken = send(context, text)
        for notifier in self.notifiers:
            try:
                notifier({**context, MESSAGE: text})
                taken.append(True)
            except Exception as error:  # the others must be told, too
                self.log.warning("The notifier %s failed: %s", type(notifier).__name__, type(error).__name__)
                taken.append(False)
        if taken and not any(taken):
            raise WindrowError(
                f"No channel took the alerts: {len(taken)} failed. The log names each.",
                advice=self.advice,
            )
