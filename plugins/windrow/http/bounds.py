"""Bodies and streams that cannot take more memory or time than they are allowed, whatever a server sends.

Knows no HTTP: it reads what the client hands it.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from windrow.model.errors import ApiUnreachable

LARGEST_ASIDE = 1_000_000
"""Bytes of what is no answer: a token, the refusal of a stream, a line of a stream."""


class LineTooLong(ApiUnreachable):
    """A line of a stream has more than `LARGEST_ASIDE` bytes. ``beginning`` is that much of it."""

    def __init__(self, name: str, beginning: bytes) -> None:
        super().__init__(
            f"The stream of '{name}' sent a line of more than {LARGEST_ASIDE:,} bytes, so it is closed.",
            advice="Nothing: it is opened again. If it stays, look at what the API sends: it is in the quarantine.",
        )
        self.beginning = beginning


async def body(pieces: AsyncIterable[bytes], most: int) -> tuple[bytes, bool]:
    """Read a body; return at most ``most`` bytes of it, and whether there were more."""
    read, size = [], 0
    async for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > most:
            return b"".join(read)[:most], True
    return b"".join(read), False


async def lines(read_some: Callable[[], Awaitable[bytes]], silence_s: float, name: str) -> AsyncIterator[bytes]:
    """Cut a stream into lines, without their ends.

    :param read_some: returns what has come, once there is something; nothing at the end.
    :param silence_s: the longest time without a whole line, whatever the transport makes of what comes.
    :param name: what messages call the API.
    :raises TimeoutError: it has passed.
    :raises LineTooLong: a line is longer than `LARGEST_ASIDE`, or has no end.
    """
    clock = asyncio.get_running_loop().time
    rest, silent_from = bytearray(), clock()
    while True:
        async with asyncio.timeout_at(silent_from + silence_s):
            data = await read_some()
        if not data:
            return
        rest += data
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield _checked(line.removesuffix(b"\r"), name)
        if whole:
            silent_from = clock()
        _checked(rest, name)


def _checked(line: bytearray, name: str) -> bytes:
    if len(line) > LARGEST_ASIDE:
        raise LineTooLong(name, bytes(line[:LARGEST_ASIDE]))
    return bytes(line)
