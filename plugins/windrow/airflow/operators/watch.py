"""watch: tell people of problems once, that they have become worse, and that they are over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from airflow.sdk import BaseNotifier, BaseOperator, Context

from windrow.airflow.hooks.limits import read_limits
from windrow.airflow.hooks.snapshot import snapshot
from windrow.airflow.hooks.staging import staging_and_status
from windrow.airflow.metrics import set_gauges
from windrow.airflow.operators.alert import CHANNELS, send_on
from windrow.harvest.watch import (
    BLIND,
    Problem,
    Severity,
    Told,
    Undelivered,
    changes,
    failing,
    message,
    not_taken,
    problems,
)
from windrow.model.errors import WindrowError
from windrow.model.redact import blot

MESSAGE = "windrow_alert"
"""The name of the message in the context of a notifier."""


class WatchOperator(BaseOperator):
    """Looks for problems of all streams, and sends what has changed to people.

    The channels are the webhook of the connection ``windrow_alerts``, the addresses of ``windrow_email``, as far as
    these exist, and ``notifiers``. A check stores what it has sent. If it is killed before that, the next check sends
    the same again. If no channel takes the message, the check fails, and the next one sends it. If one channel fails,
    the next checks retry that channel alone, for three hours. The other channels get an alert about it.

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
            waiting = {one["channel"]: _undelivered(one) for one in state.undelivered()}
            found += failing(waiting.values())
            lines, after = changes(list(map(_blotted, found)), told, now)
            left = self._send(context, lines, waiting, now)
            state.keep_undelivered(list(map(asdict, left)))
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

    def _send(
        self, context: Context, lines: Sequence[str], waiting: Mapping[str, Undelivered], now: datetime
    ) -> list[Undelivered]:
        """Send lines on each channel, after those that it has not taken before; return what it has not taken now.

        :raises WindrowError: there are channels, and none took the lines.
        """
        if lines:
            self.log.warning("%s", message(lines))
        taken, left = [], []
        for channel, send in self._channels(context).items():
            before = waiting.get(channel)
            text = message([*(before.lines if before else ()), *lines])
            if not text:
                left += [before] if before else []
                continue
            is_taken = send(text)
            if is_taken is not None:
                taken.append(is_taken)
            if is_taken is False:
                one = not_taken(before, channel, lines, now)
                if one.given_up > (before.given_up if before else 0):
                    self.log.error(
                        "The alert channel '%s' has failed %s times: its lines are given up", channel, one.tries
                    )
                left.append(one)
        if lines and taken and not any(taken):
            raise WindrowError(
                f"No channel took the alerts: {len(taken)} failed. The log names each.",
                advice=self.advice,
            )
        return left

    def _channels(self, context: Context) -> dict[str, Callable[[str], bool | None]]:
        """Return by the name of each channel what sends a text on it and returns whether it was taken."""
        found: dict[str, Callable[[str], bool | None]] = {
            channel: partial(send_on, channel, cast("Mapping[str, Any]", context)) for channel in CHANNELS
        }
        for notifier in self.notifiers:
            name = type(notifier).__name__
            several = sum(one.partition(" ")[0] == name for one in found)
            found[f"{name} {several + 1}" if several else name] = partial(self._notify, notifier, context)
        return found

    def _notify(self, notifier: BaseNotifier, context: Context, text: str) -> bool:
        try:
            notifier({**context, MESSAGE: text})
        except Exception as error:  # the others must be told, too
            self.log.warning("The notifier %s failed: %s", type(notifier).__name__, type(error).__name__)
            return False
        return True


def _blotted(one: Problem) -> Problem:
    """Return a problem without secrets: it is stored, too."""
    streams = tuple(map(blot, one.streams))
    return replace(one, cause=blot(one.cause), text=blot(one.text), do=blot(one.do), streams=streams)


def _undelivered(document: Mapping[str, Any]) -> Undelivered:
    return Undelivered(**{name: document[name] for name in Undelivered.__slots__})
