"""Params that only the Spotify DAGs have: fields of the trigger form. Each call makes a new one."""

from airflow.sdk import Param


def artists() -> Param:
    """Which artists, for the Spotify DAGs."""
    return Param(
        None,
        type=["null", "array"],
        items={"type": "string", "minLength": 1},
        title="Artists",
        description="Only these, one a line: names, ids or addresses. Empty: all that are known.",
    )


def spotify_client() -> Param:
    """What the client id may ask, for `CapabilitiesOperator`."""
    return Param(
        "auto",
        enum=["auto", "extended", "legacy", "new"],
        type="string",
        title="Client id",
        description="Its kind: with extended quota, made before or since 2026-02-11. auto: three calls find out.",
    )


def artist() -> Param:
    """Who is asked for, for `FindArtistsOperator`."""
    return Param(
        None,
        type=["null", "string"],
        maxLength=300,
        title="Artist",
        description="Name, id or address. Empty: what the queue asks for.",
    )


def landed() -> Param:
    """Which landing, for `LocateLandingOperator`."""
    return Param(
        None,
        type=["null", "string"],
        title="Landing",
        description="Folder of a run in S3, as a receipt names it. Empty: that of the event that started the run.",
    )
