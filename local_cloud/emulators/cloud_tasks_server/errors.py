"""What Cloud Tasks can do and this server cannot."""

from local_cloud.emulators import rpc


def unsupported(what: str) -> rpc.Refused:
    """Return the error for it."""
    return rpc.unsupported("Cloud Tasks", what)
