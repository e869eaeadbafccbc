"""What comes over the wire is bounded while it arrives: servers that send what no API should."""

import contextlib
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from windrow.http.auth import Auth, NoAuth, StaticToken
from windrow.http.bounds import LARGEST_ASIDE, LineTooLong
from windrow.http.client import Client, Limits, StreamRefused
from windrow.http.loop import LOOP, run_async
from windrow.http.oauth import ClientCredentials
from windrow.http.results import Reader
from windrow.model.answer import LARGEST, Answer, Rejected
from windrow.model.errors import ApiUnreachable, CredentialsRejected, RateLimited, Unanswered, WindrowError
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.redact import without
from windrow.model.response import retry_after_s

QUERY = Query.of("/items")
# Each server closes after one answer. Unless it says so, a retry may go out on a connection that is about to end.
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Script = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Script], str]]:
    """Make a server that does with each connection, once a request has come, what a script says."""
    ears: list[socket.socket] = []

    def start(script: Script) -> str:
        ear = socket.create_server(("127.0.0.1", 0))
        ears.append(ear)

        def one(link: socket.socket) -> None:
            with link, contextlib.suppress(OSError):
                link.recv(65536)
                script(link)

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(ear.accept()[0],), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        return f"http://127.0.0.1:{ear.getsockname()[1]}"

    yield start
    for ear in ears:
        ear.close()


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test here on both event loops."""
    monkeypatch.setenv(LOOP, request.param)


def limits(**changes: Any) -> Limits:
    return Limits(**{"timeout_s": 3.0, "patience_s": 1.0, "backoff": Backoff(0.001, 0.002, 2)} | changes)


def ask(
    url: str,
    auth: Auth | None = None,
    *,
    owner_only: Collection[str] = (),
    read: Reader = lambda *_: None,
    **changes: Any,
) -> Answer | Rejected:
    async def asking() -> Answer | Rejected:
        bounds = limits(**changes)
        async with Client(url, auth or NoAuth(), name="shop", limits=bounds, owner_only=owner_only) as client:
            return await client.ask(QUERY, read)

    return run_async(asking())


STREAM_TOKEN = "t0ken-of-the-stream"


def lines(url: str, silence_s: float = 0.5) -> list[bytes]:
    """Read a stream to its end."""
    found: list[bytes] = []

    async def read() -> None:
        async with Client(url, StaticToken(STREAM_TOKEN), name="shop", limits=limits()) as client:
            async for line in client.lines(QUERY, silence_s=silence_s, opened=lambda _: None):
                found.append(line)

    run_async(read())
    return found


def endless(head: bytes, piece: bytes) -> Script:
    def script(link: socket.socket) -> None:
        link.sendall(head)
        while True:
            link.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    return script


# --- sizes -------------------------------------------------------------------------------------


def test_a_body_without_an_end_is_cut_and_goes_into_the_quarantine(serve):
    tracemalloc.start()
    settled = ask(serve(endless(CHUNKED, b"x" * 100_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(settled, Rejected)
    assert settled.reason == f"body of more than {LARGEST:,} bytes; the connection was closed"
    assert len(settled.body) == LARGEST
    assert settled.incomplete
    assert peak < 6 * LARGEST


def test_what_a_body_unpacks_to_is_what_counts(serve):
    deflate = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    start, zeros = (
        deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH) for part in (b'{"x": "', b"0" * 1_000_000)
    )
    packed = start + 1_000 * zeros  # a billion, of which one million is compressed: what is flushed can be repeated
    assert len(packed) < 1_100_000
    assert zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(packed, 3_000_007)[7:] == b"0" * 3_000_000
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    tracemalloc.start()
    settled = ask(serve(lambda link: link.sendall(head + packed)), timeout_s=20.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(settled, Rejected)
    assert f"more than {LARGEST:,} bytes" in settled.reason
    assert peak < 6 * LARGEST


@pytest.mark.parametrize(
    "script",
    [
        endless(HEAD.replace(b"200 OK", b"503 Busy") + b"Transfer-Encoding: chunked\r\n\r\n", b"x" * 100_000),
        lambda link: [link.sendall(b"HTTP/1.1 200 OK\r\n")] + [link.sendall(b"X-%d: y\r\n" % n) for n in range(10**7)],
        lambda link: link.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**7),
        lambda link: link.sendall(b"y" * 10**7),
    ],
    ids=["busy", "headers", "header", "nonsense"],
)
def test_an_answer_that_is_none_ends_as_an_error(serve, script):
    with pytest.raises(WindrowError, match="'shop'"):
        ask(serve(script))


def test_a_token_endpoint_may_not_send_more_than_a_token(serve):
    url = serve(endless(CHUNKED, b"x" * 100_000))
    auth = ClientCredentials("/token", "me", "a-secret-of-mine", name="shop", backoff=Backoff(0.001, 0.002, 2))
    with pytest.raises(ApiUnreachable, match="returned no token in 2 attempts"):
        ask(url, auth)


@pytest.mark.parametrize("token", ["a\r\nX: y", "a b", "tökèn", "", 7, None])
def test_a_token_that_no_header_can_hold_is_none(serve, token):
    body = json.dumps({"access_token": token}).encode()
    url = serve(lambda link: link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)))
    auth = ClientCredentials("/token", "me", "a-secret-of-mine", name="shop", backoff=Backoff(0.001, 0.002, 2))
    with pytest.raises(ApiUnreachable, match="HTTP 200 without a usable token"):
        ask(url, auth)


def test_a_line_without_an_end_closes_the_stream(serve):
    with pytest.raises(LineTooLong, match="a line of more than 1,000,000 bytes") as told:
        lines(serve(endless(CHUNKED, b"x" * 100_000)), silence_s=20)
    assert told.value.beginning == b"x" * LARGEST_ASIDE


def test_the_refusal_of_a_stream_is_bounded(serve):
    head = CHUNKED.replace(b"200 OK", b"429 Too many")
    with pytest.raises(StreamRefused, match="HTTP 429 xxx"):
        lines(serve(endless(head, b"x" * 100_000)))


# --- silence -----------------------------------------------------------------------------------


def then(*pieces: bytes) -> Script:
    """Send these, and then nothing, with the connection open."""

    def script(link: socket.socket) -> None:
        for piece in pieces:
            link.sendall(piece)
        time.sleep(30)

    return script


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of aiohttp's parsers: which one a machine has depends on its wheel."""
    if request.param == "Python":
        from aiohttp import client_proto, http_parser

        monkeypatch.setattr(client_proto, "HttpResponseParser", http_parser.HttpResponseParserPy)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200"],
        [CHUNKED],
        [CHUNKED, b"zz\r\n"],
        [CHUNKED, b"3\r\na\nb\r\n", b"<html><body>Bad gateway</body></html>\r\n"],
        [CHUNKED, b"3\r\na\n"],
        [CHUNKED, b"2\r\n\r\n\r\n", b"ffffffff\r\n"],
    ],
    ids=["nothing", "half a head", "no chunk", "no number", "a page", "half a chunk", "a chunk that does not come"],
)
def test_a_stream_that_goes_silent_is_noticed_whatever_the_transport_makes_of_it(serve, pieces):
    url, begun = serve(then(*pieces)), time.monotonic()
    with pytest.raises(ApiUnreachable, match="The stream of 'shop'"):
        lines(url, silence_s=0.1)
    assert time.monotonic() - begun < 5


def test_bytes_that_never_make_a_line_are_silence(serve):
    def script(link: socket.socket) -> None:
        link.sendall(CHUNKED)
        while True:
            link.sendall(b"1\r\nx\r\n")
            time.sleep(0.05)

    with pytest.raises(ApiUnreachable, match="The stream of 'shop'"):
        lines(serve(script), silence_s=0.2)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 200"], [CHUNKED], [CHUNKED, b"zz\r\n"]])
def test_a_call_that_gets_no_answer_ends_in_time(serve, pieces):
    begun = time.monotonic()
    with pytest.raises(ApiUnreachable, match="gave no answer"):
        ask(serve(then(*pieces)), timeout_s=0.1)
    assert time.monotonic() - begun < 5


# --- waiting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        *[("7", 7), ("0.5", 0.5), ("-3", 0), (" 8 ", 8)],
        *[("nan", None), ("inf", None), ("-inf", None), ("1e400", None), ("99999999", None), ("soon", None)],
        *[("Fri, 31 Dec 9999 23:59:59 GMT", None), ("9999-12-31T23:59:59Z", None), ("", None), ("\x00", None)],
    ],
)
def test_a_pause_is_read_whatever_its_unit_and_never_longer_than_a_year(told, seconds):
    assert retry_after_s(told) == seconds


def test_a_pause_that_nobody_can_wait_for_is_told_once_and_by_name(serve, caplog):
    head = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(Unanswered):
        ask(serve(lambda link: link.sendall(head)))
    told = [record.getMessage() for record in caplog.records if "Retry-After" in record.getMessage()]
    assert told == [
        "The API 'shop' sent an invalid Retry-After '99999999999' (not a time within a year); using backoff."
    ]


@pytest.mark.parametrize("written", ["{:.0f}", "{:.3f}"])
@pytest.mark.parametrize("unit", [1, 1000])
def test_an_instant_is_read_in_seconds_and_in_milliseconds(written, unit):
    assert retry_after_s(written.format((time.time() + 90) * unit)) == pytest.approx(90, abs=2)


def test_a_pause_that_no_calendar_holds_is_still_an_error_of_ours():
    assert RateLimited.for_s(366 * 24 * 3600.0, "It wants to rest").retry_at.year > 2000


# --- what is echoed ----------------------------------------------------------------------------


def test_what_signed_a_call_is_in_no_answer_and_in_no_quarantine(serve):
    token = "windrow-token/+abc=0123456789"
    body = json.dumps({"headers": {"authorization": f"Bearer {token}"}, "n": 12345678901234567890123}).encode()
    url = serve(lambda link: link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)))

    settled = ask(url, StaticToken(token))

    assert isinstance(settled, Answer)
    assert settled.body == '{"headers": {"authorization": "Bearer ***"}, "n": 12345678901234567890123}'


def test_what_signed_a_call_is_in_no_header_that_is_kept_or_told(serve, caplog: pytest.LogCaptureFixture):
    token = "windrow-token/+abc=0123456789"
    link = b'Retry-After: %b\r\nLink: </items?page=2&token=%b>; rel="next"\r\n' % (token.encode(), token.encode())

    settled = ask(serve(lambda wire: wire.sendall(HEAD + link + b"Content-Length: 2\r\n\r\n{}")), StaticToken(token))

    assert isinstance(settled, Answer)
    assert settled.next_link == "/items?page=2&token=***"
    assert "sent an invalid Retry-After '***'" in caplog.text


def test_what_signed_a_call_is_in_no_reason_of_the_quarantine(serve):
    token = "windrow-token/+abc=0123456789"
    head = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/?token=%b\r\nContent-Length: 0\r\n\r\n" % token.encode()
    settled = ask(serve(lambda wire: wire.sendall(head)), StaticToken(token))
    assert isinstance(settled, Rejected)
    assert "http://elsewhere/?token=***" in settled.reason


def test_no_reader_is_given_what_signed_a_call(serve):
    """It could cut a part out of it for its message, which would not be known again."""
    token = "windrow-token/+abc=0123456789"
    body = b'{"echo": "%b"}' % token.encode()
    url = serve(lambda link: link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)))
    given: list[object] = []
    ask(url, StaticToken(token), read=lambda _, parsed: given.append(parsed))
    assert given == [{"echo": "***"}]


def test_what_opened_a_stream_is_in_no_line_of_it(serve):
    told = b'{"text": "Bearer %b \xff"}\r\n' % STREAM_TOKEN.encode()
    url = serve(lambda link: link.sendall(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(told), told)))
    assert lines(url) == [b'{"text": "Bearer *** \xff"}']


def test_what_opened_a_stream_is_in_no_line_that_has_no_end(serve):
    with pytest.raises(LineTooLong) as told:
        lines(serve(endless(CHUNKED, STREAM_TOKEN.encode() + b" " * 100_000)), silence_s=20)
    assert told.value.beginning.startswith(b"***   ")
    assert STREAM_TOKEN.encode() not in told.value.beginning


def test_a_token_endpoint_that_echoes_its_form_tells_no_secret(serve):
    secret = "1//0windrow-secret/with+signs"
    body = json.dumps({"error": "bad", "form": {"client_secret": secret}}).replace("/", "\\/").encode()
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body)
    auth = ClientCredentials("/token", "me", secret, name="shop")
    with pytest.raises(CredentialsRejected) as told:
        ask(serve(lambda link: link.sendall(head + body)), auth)
    assert '"client_secret":"***"' in str(told.value).replace(" ", "")


OWN = {"login": "ada", "id": 12345678901234567890123, "plan": {"name": "pro"}, "private_gists": 3}


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (json.dumps(OWN), '{"login":"ada","id":12345678901234567890123}'),
        (json.dumps([OWN]), '[{"login":"ada","id":12345678901234567890123}]'),
        ('{"login": "b", "score": 1.0}', '{"login": "b", "score": 1.0}'),
    ],
)
def test_what_is_told_to_the_owner_of_a_token_alone_is_not_kept(serve, body, kept):
    octets = body.encode()
    url = serve(lambda link: link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(octets), octets)))
    settled = ask(url, owner_only={"plan", "private_gists"})
    assert (type(settled), settled.body) == (Answer, kept)


@pytest.mark.parametrize("cut", range(40, 75, 7))
def test_nor_is_it_in_the_quarantine(serve, cut):
    octets = json.dumps({"id": 1, "plan": {"name": "windrow-mark"}, "private_gists": "windrow-mark"}).encode()[:cut]
    url = serve(lambda link: link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(octets), octets)))
    settled = ask(url, owner_only={"plan", "private_gists"})
    assert isinstance(settled, Rejected)
    assert settled.body.startswith('{"id": 1')
    assert "mark" not in settled.body


@pytest.mark.parametrize("body", [b'{"plan": 1, "x": "\\ud800"}', b'{"plan": ' + b"[" * 100_000, b'{"plan": "\xff"}'])
def test_a_body_that_no_parser_takes_is_no_accident(body):
    assert b"plan" not in without({"plan"}, body)


# --- compressed bodies -------------------------------------------------------------------------


def packed(encoding: str, data: bytes) -> bytes:
    window = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS, "raw": -zlib.MAX_WBITS}[encoding]
    packer = zlib.compressobj(wbits=window)
    return packer.compress(data) + packer.flush()


def sending(encoding: str, body: bytes) -> Script:
    head = HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding.encode(), len(body))
    return lambda link: link.sendall(head + body)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("encoding", "packing"), [("gzip", "gzip"), ("deflate", "deflate"), ("Deflate", "raw")])
def test_a_compressed_body_is_unpacked(serve, encoding, packing):
    settled = ask(serve(sending(encoding, packed(packing, b'{"a": 1}'))))
    assert (type(settled), settled.body) == (Answer, '{"a": 1}')


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (packed("gzip", b"a\n" * 1000)[:-9], "truncated gzip data: it ends after "),
        (packed("gzip", b"a\n" * 1000)[:-8] + bytes(8), "damaged gzip data after 0 bytes"),
    ],
)
def test_a_compressed_body_without_its_end_is_quarantined(serve, body, reason):
    """Its rows up to there could be read, and the rest would be lost silently."""
    settled = ask(serve(sending("gzip", body)))
    assert isinstance(settled, Rejected)
    assert reason in settled.reason
    assert settled.raw == body


def test_an_encoding_that_was_not_asked_for_is_no_answer(serve):
    with pytest.raises(ApiUnreachable, match="the Content-Encoding 'br' was not requested"):
        ask(serve(sending("br", b"\x0b\x02\x80")))


@pytest.mark.usefixtures("parser")
def test_a_compressed_stream_is_unpacked_line_by_line(serve):
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    first = packer.compress(b'{"id": 1}\r\n{"id"') + packer.flush(zlib.Z_SYNC_FLUSH)
    last = packer.compress(b": 2}\r\n") + packer.flush()
    head = CHUNKED.replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (first, last))
    assert lines(serve(lambda link: link.sendall(head + chunks + b"0\r\n\r\n"))) == [b'{"id": 1}', b'{"id": 2}']
