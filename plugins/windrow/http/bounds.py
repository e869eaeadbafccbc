"""Read bodies and streams with limits on memory and time, whatever the server sends."""

import asyncio
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from windrow.model.errors import ApiUnreachable

LARGEST_ASIDE = 1_000_000
"""Maximum bytes of a token response, an error response to a stream request, or a line of a stream."""


class LineTooLong(ApiUnreachable):
    """A line of a stream has more than `LARGEST_ASIDE` bytes. ``beginning`` has the first ones."""

    def __init__(self, name: str, beginning: bytes) -> None:
        super().__init__(
            f"The stream of '{name}' was closed because it sent a line of more than {LARGEST_ASIDE:,} bytes.",
            advice="No action needed: the stream is opened again. If this happens often, inspect the line in the "
            "quarantine.",
        )
        self.beginning = beginning


async def body(
    pieces: AsyncIterable[bytes], most: int, larger: Callable[[bytes], int] = lambda beginning: 0
) -> tuple[bytes, bool]:
    """Read a body; return at most ``most`` bytes, and whether there were more.

    :param larger: returns the maximum of a body that begins like this, if it is above ``most``.
    """
    read, size = [], 0
    async for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > most:
            most = max(most, larger(read[0]))
            if size > most:
                return b"".join(read)[:most], True
    return b"".join(read), False


def unpacked(read_some: Callable[[], Awaitable[bytes]], encoding: str) -> Callable[[], Awaitable[bytes]]:
    """Return a function that reads from a stream and removes its Content-Encoding, a limited number of bytes at a time.

    The function raises OSError if the stream is not in this encoding.
    """
    if encoding.lower() in {"", "identity"}:
        return read_some
    if encoding.lower() != "gzip":
        raise OSError(f"the Content-Encoding {encoding!r:.40} was not requested")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)

    async def read() -> bytes:
        while data := unpacker.unconsumed_tail or await read_some():
            try:
                if piece := unpacker.decompress(data, 2**16):
                    return piece
            except zlib.error as error:
                raise OSError(f"invalid gzip encoding: {error}") from None
        return b""

    return read


async def lines(read_some: Callable[[], Awaitable[bytes]], silence_s: float, name: str) -> AsyncIterator[bytes]:
    """Split a stream into lines, without line ends.

    :param read_some: waits for data and returns it; returns nothing at the end.
    :param silence_s: the longest time without a complete line.
    :param name: name of the API in messages.
    :raises TimeoutError: no complete line came within ``silence_s``.
    :raises LineTooLong: a line is longer than `LARGEST_ASIDE`.
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
