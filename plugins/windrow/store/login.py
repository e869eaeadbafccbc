"""What MongoDB says about the login of a connection, as an error that names the connection and shows no password."""

from pymongo.errors import OperationFailure, PyMongoError

from windrow.model.errors import LoginRejected

_AUTHENTICATION_FAILED, _UNAUTHORIZED = 18, 13
_LONGEST = 200


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
