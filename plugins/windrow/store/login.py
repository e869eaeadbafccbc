"""Errors of an address of MongoDB and of its login. They name the place where it is set, and show no password."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient
from pymongo.errors import InvalidURI, OperationFailure, PyMongoError

from windrow.model.errors import ConnectionUnusable, LoginRejected, StagingUnavailable
from windrow.model.redact import blot, know

_AUTHENTICATION_FAILED, _UNAUTHORIZED = 18, 13
_LONGEST = 200


def connect(make: Callable[[], MongoClient[dict[str, Any]]], place: str) -> MongoClient[dict[str, Any]]:
    """Make a client of MongoDB. Its password must be `known <windrow.model.redact.know>`, to be removed from errors.

    :param place: where the address is set, such as ``the Airflow connection 'mongo_default'``.
    :raises ConnectionUnusable: the address or an option is invalid.
    :raises StagingUnavailable: the names of the servers (SRV) cannot be looked up.
    """
    try:
        return make()
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        # an address that cannot be read may show a piece of the password, which nobody could remove
        said = "" if isinstance(error, InvalidURI) else f": {blot(str(error))[:_LONGEST]}"
        what = f"{type(error).__name__}{said}"
        if "DNS" in what or "resolution" in what:
            raise StagingUnavailable(
                f"The servers of MongoDB cannot be looked up: {what}",
                advice=f"Check the host of {place}, and that this machine can look up SRV records. The next try looks "
                "again.",
            ) from None
        raise ConnectionUnusable(
            f"The address of MongoDB in {place}, or one of its options, is invalid: {what}",
            advice="Write a URL like mongodb://user:password@host:27017/windrow, and escape special characters: %40 is "
            "@. Fields of a connection's extra are options of such a URL, like authSource.",
        ) from None


def know_password(url: str) -> None:
    """Have the password of an address removed from all that is logged and raised."""
    know(unquote(urlsplit(url).password or ""))


def login_error(error: PyMongoError, place: str) -> LoginRejected | None:
    """Return the error for a user or a password that MongoDB rejects; None if the login is not the reason.

    :param place: where the address is set, such as ``the Airflow connection 'mongo_default'``.
    """
    if not isinstance(error, OperationFailure) or error.code not in {_AUTHENTICATION_FAILED, _UNAUTHORIZED}:
        return None
    said = str((error.details or {}).get("errmsg", ""))
    if error.code == _AUTHENTICATION_FAILED:
        what = f"MongoDB rejects the user or the password of {place}"
        do = "Set the user and the password there, and `authSource`: the database in which MongoDB has the user."
    elif "requires authentication" in said:
        what = f"MongoDB requires a login, and {place} has none"
        do = "Set the user and the password there."
    else:
        # the rest of the text is the command with its documents
        what = f"The user of {place} has no permission: {said.partition(' to execute')[0][:_LONGEST]}"
        do = "Give this user the role readWrite on the database."
    return LoginRejected(f"{what}.", advice=f"{do} Data staged earlier is safe.")
