"""When a failed task is tried again, and when it is given up."""

import datetime

from google.protobuf.duration_pb2 import Duration

from local_cloud.emulators.cloud_tasks_server.messages import RetryConfig

RETENTION = datetime.timedelta(days=31)
"""How long a task is kept in all, however often it may still be tried."""
LONGEST_PAUSE = datetime.timedelta(days=30)
"""The furthest that a task can be put off, also by a Retry-After."""
UNLIMITED = -1

_MOST_DOUBLINGS = 60  # 2^60 of any backoff is beyond any max_backoff, and still a float


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds + duration.nanos / 1e9)


def pause(config: RetryConfig, failures: int, retry_after: float | None) -> float:
    """Return the seconds until the next attempt, after this many failures in a row.

    The pause starts at min_backoff, doubles max_doublings times, then grows by the last step, up to max_backoff.
    A handler that asks for more with Retry-After gets it.
    """
    retry = failures - 1
    doublings = min(retry, config.max_doublings, _MOST_DOUBLINGS)
    step = seconds(config.min_backoff) * 2**doublings
    backoff = min(step * (1 + retry - doublings), seconds(config.max_backoff))
    return min(max(backoff, retry_after or 0.0), LONGEST_PAUSE.total_seconds())


def is_over(config: RetryConfig, attempts: int, since_first_attempt: float, age: float) -> bool:
    """Whether a failed task is given up; the times are in seconds.

    Of max_attempts and max_retry_duration, those that are set must both be met.
    """
    if age >= RETENTION.total_seconds():
        return True
    longest = seconds(config.max_retry_duration)
    limits = []
    if config.max_attempts != UNLIMITED:
        limits.append(attempts >= config.max_attempts)
    if longest > 0:
        limits.append(since_first_attempt >= longest)
    return bool(limits) and all(limits)
