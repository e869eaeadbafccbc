"""Formats of answers: read where their text is clear, and otherwise quarantined with their bytes."""

import asyncio
import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest

from tests.scripted_api import Reply, ScriptedApi
from windrow.declare.stream import Declared
from windrow.http.auth import NoAuth, StaticToken
from windrow.http.client import Client, Limits
from windrow.model.answer import Answer, Rejected
from windrow.model.contract import Column, Kind
from windrow.model.errors import Unreadable
from windrow.model.formats import JSON, LARGEST_SPLIT, Csv, Format, Json, Ndjson, Xml, expanded
from windrow.model.policy import Backoff
from windrow.model.query import Query

ROWS = [{"id": "1", "name": "Grüße"}, {"id": "2", "name": None}]
CSV = 'id,name\r\n1,Grüße\r\n\r\n2,""\r\n'
NDJSON = '{"id": "1", "name": "Grüße"}\r\n\n{"id": "2", "name": null}'
XML = '<f:feed xmlns:f="urn:f"><f:row><id>1</id><name>Grüße</name></f:row><f:row><id>2</id><name/></f:row></f:feed>'
TEXTS: list[tuple[Format, str]] = [
    (JSON, json.dumps(ROWS, ensure_ascii=False)),
    (Ndjson(), NDJSON),
    (Csv(), CSV),
    (Xml("feed/row"), XML),
]


def ask(
    api: ScriptedApi, format: Format, body: bytes | str, content_type: str = "", **headers: str
) -> Answer | Rejected:
    told = {"Content-Type": content_type} if content_type else {}
    api.answers(Reply(body, headers={**told, **headers}))

    async def asking() -> Answer | Rejected:
        limits = Limits(backoff=Backoff(0.001, 0.002, 8))
        async with Client(api.url, StaticToken("windrow-t0ken"), name="shop", limits=limits) as client:
            return await client.ask(Query.of("/items", format=format), lambda query, parsed: None)

    return asyncio.run(asking())


def rejected(*given: Any, **headers: str) -> Rejected:
    settled = ask(*given, **headers)
    assert isinstance(settled, Rejected), settled.body
    return settled


@pytest.mark.parametrize(("format", "text"), TEXTS, ids=["json", "ndjson", "csv", "xml"])
@pytest.mark.parametrize(
    ("charset", "is_declared"),
    [
        *[("utf-8", False), ("utf-8", True), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False)],
        *[("utf-16-be", True), ("iso-8859-1", True), ("windows-1252", True)],
    ],
)
@pytest.mark.parametrize("is_gzip", [False, True])
def test_each_format_is_read_in_the_charset_that_it_is_in(
    scripted: ScriptedApi, format: Format, text: str, charset: str, is_declared: bool, is_gzip: bool
):
    body = text.encode(charset)
    content_type = f"{format.media_type}; Charset='{charset}'" if is_declared else format.media_type
    answer = ask(scripted, format, gzip.compress(body) if is_gzip else body, content_type)
    assert isinstance(answer, Answer), answer.reason
    assert (answer.parsed, answer.body) == (ROWS, text)


def test_an_xml_declaration_tells_the_charset(scripted: ScriptedApi):
    body = f"<?xml version='1.0' encoding='ISO-8859-1'?>{XML}".encode("latin-1")
    answer = ask(scripted, Xml("feed/row"), body, "text/xml")
    assert isinstance(answer, Answer), answer.reason
    assert answer.parsed == ROWS


@pytest.mark.parametrize(
    ("format", "body", "content_type", "reason"),
    [
        (Csv(), "id\né\n".encode("latin-1"), "text/csv", "no charset is declared, and it is not UTF-8"),
        (Csv(), "id\né\n".encode("latin-1"), "text/csv; charset=utf-8", "it is utf-8 by the server, but byte 3 is not"),
        (Csv(), "id\né\n".encode(), "text/csv; charset=iso-8859-1", "'iso-8859-1', but its bytes are UTF-8"),
        (Csv(), "id\né\n".encode("latin-1"), "text/csv; charset=klingon", "the charset 'klingon' is unknown"),
        (Csv(), "id\né\n".encode("latin-1"), "text/csv; charset=rot13", "is not one of texts"),
        (Csv(), "id\né\n".encode("latin-1"), "text/csv; charset=unicode_escape", "'unicode_escape' is unknown"),
        (Csv(), "字".encode("utf-16-le"), "text/csv; charset=utf-16", "its byte order is unknown"),
        (Csv(), "\ufeffid\né".encode("utf-16-le")[:-1], "text/csv", "utf-16-le by its byte order mark, but"),
        (JSON, '{"a": "é"}'.encode("latin-1"), "application/json", "no charset is declared, and it is not UTF-8"),
        (Csv(), gzip.compress(CSV.encode(), mtime=0)[:-9], "application/gzip", "truncated gzip data: it ends after"),
        (Csv(), gzip.compress(CSV.encode(), mtime=0)[:-8] + bytes(8), "application/gzip", "damaged gzip data"),
        (Xml(), b"<a>\xe9</a>", "text/xml; charset=utf-8", "it is utf-8 by the server, but byte 3 is not"),
    ],
)
def test_what_is_not_clear_is_quarantined_with_its_bytes_after_two_calls(
    scripted: ScriptedApi, format: Format, body: bytes, content_type: str, reason: str
):
    found = rejected(scripted, format, body, content_type)
    assert reason in found.reason
    assert (found.raw, found.content_type, found.incomplete) == (body, content_type, False)
    assert len(scripted.asked) == 2


@pytest.mark.parametrize(
    ("format", "text", "reason"),
    [
        (JSON, '{"a": 1,}', "invalid JSON: trailing comma is not allowed"),
        (JSON, "<html>", "invalid JSON: unexpected character"),
        (Ndjson(), '{"a": 1}\n{"a": \n', "line 2: invalid JSON: "),
        (Csv(), "a,b\r\n1,2\r\n3\r\n", "invalid CSV: line 3 has 1 fields, and the header has 2"),
        (Csv(), "a,b\n1,2,3\n", "invalid CSV: line 2 has 3 fields, and the header has 2"),
        (Csv(), 'a,b\n1,"2\n', "invalid CSV in line "),
        (Csv(), "a,b,a\n", "invalid CSV: the header has 'a' twice"),
        (Csv(), "", "invalid CSV: the header has no names"),
        (Csv(), "<!DOCTYPE html>\n<html>\n", "like a page of HTML"),
        (Xml(), "<a><b></a>", "invalid XML: "),
        (Xml("feed/row"), "<error>no</error>", "the root is <error>, not <feed>"),
        (Xml("feed/data/row"), "<feed/>", "no element <data> of 'feed/data/row'"),
    ],
)
def test_a_text_in_another_format_is_quarantined_after_two_calls(
    scripted: ScriptedApi, format: Format, text: str, reason: str
):
    found = rejected(scripted, format, text)
    assert reason in found.reason
    assert (found.body, found.raw, len(scripted.asked)) == (text, b"", 2)


def test_an_answer_that_fails_in_another_way_each_time_is_called_again(scripted: ScriptedApi):
    """It is cut at random, for instance: the next attempt may be complete."""
    replies = [Reply('{"a": ' + " " * cut) for cut in range(7)]
    scripted.answers(*replies, Reply({"a": 1}))
    answer = asyncio.run(_once(scripted))
    assert (answer.body, len(scripted.asked)) == ('{"a": 1}', 8)


async def _once(api: ScriptedApi) -> Answer | Rejected:
    async with Client(api.url, NoAuth(), limits=Limits(backoff=Backoff(0.001, 0.002, 8))) as client:
        return await client.ask(Query.of("/items"), lambda query, parsed: None)


def test_a_gzip_bomb_is_cut_while_it_expands(scripted: ScriptedApi):
    bomb = gzip.compress(b'{"pad": "' + b"0" * 150_000_000, 1)
    tracemalloc.start()
    found = rejected(scripted, JSON, bomb, "application/gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.reason == "body of more than 15,000,000 bytes; the connection was closed"
    assert (found.incomplete, len(scripted.asked)) == (True, 1)
    assert peak < LARGEST_SPLIT


@pytest.mark.parametrize("most", [0, 5, 10, 11])
def test_a_gzip_file_is_expanded_to_a_limit(most: int):
    two = gzip.compress(b"hello") + gzip.compress(b"world")
    assert expanded(two, most) == b"helloworld"[: most + 1]


BOMB = (
    "<!DOCTYPE a [<!ENTITY b '"
    + "x" * 1000
    + "'><!ENTITY c '"
    + "&b;" * 1000
    + "'><!ENTITY d '"
    + "&c;" * 1000
    + "'>]>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "<a>&d;</a>",
        BOMB + "<a x='&d;'/>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/x.dtd'> %p;]><a/>",
    ],
)
def test_entities_of_xml_are_not_read(text: str):
    began = time.monotonic()
    with pytest.raises(Unreadable, match="invalid XML") as error:
        Xml().parse(text)
    assert "root:" not in str(error.value)
    assert time.monotonic() - began < 5


def test_xml_becomes_values():
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a SYSTEM "a.dtd">'
    text += '<a id="1"><!-- no --><b>x</b><b y="2">z</b><c/></a>'
    assert Xml().parse(text) == {"a": {"@id": "1", "b": ["x", {"@y": "2", "#text": "z"}], "c": None}}
    assert Xml("a/b").parse("<a><b>1</b></a>") == ["1"]
    assert Xml("a/b").parse("<a/>") == []


def test_csv_may_be_declared_in_other_ways():
    assert Csv(delimiter=";", header=("a", "b"), null="NA").parse("1;NA\n;'2'\n") == [
        {"a": "1", "b": None},
        {"a": "", "b": "'2'"},
    ]
    assert Csv().parse('a,b\n"1\n2","3,""4"""\n') == [{"a": "1\n2", "b": '3,"4"'}]
    assert Csv(charset="latin-1").text("id\né\n".encode("latin-1"), "text/csv; charset=utf-8") == "id\né\n"
    assert Json(charset="cp1252").text(b'"\x80"') == '"€"'


def test_latin_1_of_the_web_has_the_euro_sign(scripted: ScriptedApi):
    answer = ask(scripted, Csv(), b"id\n\x80\xe9\n", "text/csv; charset=iso-8859-1")
    assert answer.body == "id\n€é\n"


def test_nothing_is_an_empty_export(scripted: ScriptedApi):
    answer = ask(scripted, Ndjson(), "")
    assert isinstance(answer, Answer)
    assert answer.parsed == []


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_signature_is_in_no_text_and_in_no_bytes(scripted: ScriptedApi, charset: str, is_gzip: bool):
    body = "<html>Bearer windrow-t0ken é".encode(charset)
    found = rejected(scripted, JSON, gzip.compress(body) if is_gzip else body, "text/html")
    assert "Bearer ***" in found.body
    assert b"t0ken" not in found.raw.replace(b"\0", b"")
    answer = ask(scripted, Csv(), "id\nwindrow-t0ken\n".encode(charset))
    assert answer.body == "id\n***\n"


@pytest.mark.parametrize(
    ("format", "body", "is_split"),
    [
        (JSON, b"[" + b'"xxxxxxx",' * 1_600_000 + b"1]", True),
        (Ndjson(), (b'{"a":"' + b"x" * 10_000 + b'"}\n') * 1_600, True),
        (JSON, b'{"a":"' + b"x" * 16_000_000 + b'"}', False),
        (Xml(), b"<a>" + b"x" * 16_000_000 + b"</a>", False),
    ],
    ids=["array", "ndjson", "object", "xml"],
)
def test_an_answer_larger_than_a_document_is_read_where_it_can_be_split(
    scripted: ScriptedApi, format: Format, body: bytes, is_split: bool
):
    settled = ask(scripted, format, body)
    assert isinstance(settled, Answer) == is_split
    if isinstance(settled, Answer):
        assert settled.body.encode() == body
    else:
        assert settled.reason == f"body of {len(body):,} bytes, more than 15,000,000 bytes; the connection was closed"
        assert len(scripted.asked) == 1


def test_a_declared_stream_reads_csv_and_xml_in_the_types_of_its_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windrow.model.registry._declared", {})
    columns = (Column("n", "n", Kind.INTEGER, "Number."), Column("x", "x", Kind.FLOAT, "Decimal."))
    for format, text in ((Csv(), "n,x\n1,2.5\n"), (Xml("a/row"), "<a><row><n>1</n><x>2.5</x></row></a>")):
        given: dict[str, Any] = {"dataset": "shop_prices", "get": "/prices", "format": format, "columns": columns}
        stream = type("Prices", (Declared,), given)()
        assert stream.records(Query.of("/prices"), format.parse(text)) == [{"n": 1, "x": 2.5, "_extra": None}]
