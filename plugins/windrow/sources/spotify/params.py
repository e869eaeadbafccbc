"""Params of the Spotify DAGs: fields of the trigger form. Each call makes a new one."""

from airflow.sdk import Param


def artists() -> Param:
    """Which artists, for the Spotify DAGs."""
    return Param(
        None,
        type=["null", "array"],
        items={"type": "string", "minLength": 1},
        title="Artists",
        description="Names, ids or URLs of artists, one per line. Empty: all known artists.",
    )


def spotify_client() -> Param:
    """The kind of the client id, for `CapabilitiesOperator`."""
    return Param(
        "auto",
        enum=["auto", "extended", "legacy", "new"],
        type="string",
        title="Client id",
        description="Kind of the client id. extended: extended quota; legacy: created before 2026-02-11; new: created "
        "since then; auto: detect it, with up to three calls.",
    )


def artist() -> Param:
    """The requested artist, for `AnswerOperator`."""
    return Param(
        None,
        type=["null", "string"],
        maxLength=300,
        title="Artist",
        description="Name, id or URL of an artist. Empty: the requests in the queue.",
    )


def landed() -> Param:
    """The folder of a landing, for `LocateLandingOperator`."""
    return Param(
        None,
        type=["null", "string"],
        title="Landing",
        description="S3 folder of a run, from its receipt. Empty: the folder of the event that started this run.",
    )
