"""Formats of answers, as data: how bytes become text, and text becomes values.

A stream declares its `format`. `Json` is the default. Bytes are decoded only where their charset is unambiguous: by a
byte order mark, by the format's own ``charset``, by the declaration of the server, or because they are UTF-8. Anything
else is `Unreadable`, and the quarantine keeps the bytes.
"""

import codecs
import csv
import io
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, ClassVar

from windrow.model import exact_json
from windrow.model.errors import Unreadable

LARGEST_SPLIT = 100_000_000
"""Maximum bytes of an answer that is stored in several documents: of a format that can be split, or of pages."""
GZIP = b"\x1f\x8b"
"""How a gzip file begins, and no text."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like the one of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_CHARSETS = {"unicode_escape", "raw_unicode_escape", "utf-7", "idna", "punycode", "undefined", "mbcs", "oem"}
"""Encodings of Python that are no charsets of texts on the web."""
_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_C1 = re.compile(b"[\x80-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(ABC):
    """How to read the text of an answer.

    :param charset: overrides what the server declares, where that is wrong or missing, like ``latin-1``.
    """

    charset: str = ""
    media_type: ClassVar[str]
    """Sent as Accept."""
    can_be_split: ClassVar[bool] = False
    """Whether any answer may be stored in several parts. Of JSON only an array may be."""
    is_typed: ClassVar[bool] = True
    """Whether values have types. Without types all are strings, see `Contract.text_record`."""
    reads_empty: ClassVar[bool] = False
    """Whether an empty text has a value."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Return the values of a text that is not empty.

        :raises Unreadable: the text is not in this format.
        """

    def splits(self, body: bytes) -> bool:
        """Return whether an answer that begins like this may be stored in several parts."""
        return self.can_be_split

    def text(self, body: bytes, content_type: str = "") -> str:
        """Decode a body, which may be a gzip file.

        :raises Unreadable: the charset is ambiguous, or the bytes do not match it.
        """
        return decoded(expanded(body), self.charset or self._declared(body, content_type), is_set=bool(self.charset))

    def _declared(self, body: bytes, content_type: str) -> str:
        return charset_of(content_type)


@dataclass(frozen=True, slots=True)
class Json(Format):
    """JSON, RFC 8259. It is UTF-8 whatever charset a server declares, unless its bytes say otherwise."""

    media_type: ClassVar[str] = "application/json"

    def splits(self, body: bytes) -> bool:
        """Return whether the answer is an array."""
        return body[:100].lstrip()[:1] == b"["

    def parse(self, text: str | bytes) -> Any:
        """Read any JSON value."""
        return exact_json.loads(text if isinstance(text, bytes) else text.encode())


@dataclass(frozen=True, slots=True)
class Ndjson(Format):
    """One JSON value a line, read as a list. Empty lines are skipped."""

    media_type: ClassVar[str] = "application/x-ndjson"
    can_be_split: ClassVar[bool] = True
    reads_empty: ClassVar[bool] = True

    def parse(self, text: str) -> list[Any]:
        """Read the value of each line."""
        values = []
        for number, line in enumerate(text.split("\n"), 1):
            if line and not line.isspace():
                try:
                    values.append(exact_json.loads(line.encode()))
                except Unreadable as error:
                    raise Unreadable(f"line {number:,}: {error.reason}") from None
        return values


@dataclass(frozen=True, slots=True)
class Csv(Format):
    """CSV, RFC 4180, read as a list of objects by the names in the first row. All values are strings.

    :param header: the names, where the file has no row of them.
    :param null: the text that means null; None if each text is a value.
    """

    delimiter: str = ","
    header: tuple[str, ...] = ()
    null: str | None = ""
    media_type: ClassVar[str] = "text/csv"
    is_typed: ClassVar[bool] = False
    can_be_split: ClassVar[bool] = True

    def parse(self, text: str) -> list[dict[str, str | None]]:
        """Read the rows by the names of the header."""
        csv.field_size_limit(LARGEST_SPLIT)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            return list(self._records(rows, self.header or next((row for row in rows if row), ())))
        except csv.Error as error:
            raise Unreadable(f"invalid CSV in line {rows.line_num:,}: {error}") from None

    def _records(self, rows: Any, header: Any) -> Iterator[dict[str, str | None]]:
        names = tuple(header)
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise Unreadable(f"invalid CSV: the header has {f'{twice[0]!r:.60} twice' if twice else 'no names'}")
        if names[0].lstrip().startswith("<"):
            raise Unreadable(f"invalid CSV: the header begins with {names[0]!r:.60}, like a page of HTML")
        for row in rows:
            if len(row) == len(names):
                yield {name: None if value == self.null else value for name, value in zip(names, row, strict=True)}
            elif row:
                raise Unreadable(
                    f"invalid CSV: line {rows.line_num:,} has {len(row):,} fields, and the header has {len(names):,}"
                )


@dataclass(frozen=True, slots=True)
class Xml(Format):
    """XML, read as objects: attributes as ``@name``, elements by their local names, repeated ones as a list.

    An element without attributes and children is its text, or None. Entities that the document declares are refused.

    :param rows: path of the elements to read, from the root, like ``feed/entry``. They are read as a list, also if
        there is only one. Without it the root is read.
    """

    rows: str = ""
    media_type: ClassVar[str] = "application/xml"
    is_typed: ClassVar[bool] = False

    def parse(self, text: str) -> Any:
        """Read the root, or the elements at ``rows``."""
        from lxml import etree  # noqa: PLC0415 - only streams of XML need it

        parser = etree.XMLParser(
            encoding="utf-8",
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        try:
            root = etree.fromstring(text.encode(), parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise Unreadable(f"invalid XML: {error!s:.200}") from None
        dtd = root.getroottree().docinfo.internalDTD
        if dtd is not None and any(True for _ in dtd.iterentities()):
            raise Unreadable("invalid XML: it declares entities, which are not read")
        if not self.rows:
            return {_local(root): _value(root)}
        first, *path = self.rows.split("/")
        if _local(root) != first:
            raise Unreadable(f"invalid XML: the root is <{_local(root):.60}>, not <{first}>")
        parents = [root]
        for place, name in enumerate(path):
            children = [child for parent in parents for child in parent if _local(child) == name]
            if not children and place < len(path) - 1:
                raise Unreadable(f"invalid XML: there is no element <{name}> of {self.rows!r}")
            parents = children
        return [_value(element) for element in parents]

    def _declared(self, body: bytes, content_type: str) -> str:
        found = _XML_ENCODING.match(body[:400])
        return charset_of(content_type) or (found[1].decode() if found else "")


JSON = Json()


def charset_of(content_type: str) -> str:
    """Return the charset of a Content-Type header; empty if it has none."""
    header = Message()
    header["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return str(header.get_param("charset", "") or "").strip("'\" ")


def decoded(body: bytes, charset: str, *, is_set: bool = False) -> str:
    """Decode bytes, if it is clear how.

    :param charset: as the server declares it; empty if it does not.
    :param is_set: the stream has set the charset: it is not doubted.
    :raises Unreadable: it is not clear, or the bytes do not match the charset.
    """
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _strictly(body[len(bom) :], name, "by its byte order mark")
    name = _known(charset)
    if name in {"utf-16", "utf-32"}:
        name += _byte_order(body, 2 if name == "utf-16" else 4)
    if is_set and name:
        return _strictly(body, name, "by the format of the stream")
    as_utf8 = _utf8(body)
    if as_utf8 is not None and (name in {"", "utf-8", "ascii"} and not (charset and not name)):
        return as_utf8
    if body.isascii() and not name.startswith(("utf-16", "utf-32")):
        return body.decode("ascii")
    if not name:
        told = f"the charset {charset!r:.40} is unknown" if charset else "no charset is declared, and it is not UTF-8"
        raise Unreadable(f"{told}; set 'charset' in the format of the stream")
    if as_utf8 is not None and not name.startswith(("utf-16", "utf-32")):
        raise Unreadable(
            f"it is declared as {charset!r:.40}, but its bytes are UTF-8; set 'charset' in the format of the stream"
        )
    if name == "iso8859-1" and _C1.search(body):
        name = "cp1252"  # as all browsers read it: the standard of the web, https://encoding.spec.whatwg.org
    return _strictly(body, name, "by the server")


def expanded(body: bytes, most: int = LARGEST_SPLIT, encoding: str = "gzip") -> bytes:
    """Return the content of a gzip file; of other bytes, the bytes.

    :param most: maximum bytes of the content. Of a larger one the beginning is returned, one byte longer than this.
    :param encoding: ``deflate`` if it is one by its Content-Encoding.
    :raises Unreadable: the file is damaged or truncated.
    """
    found, rest, window = bytearray(), body, zlib.MAX_WBITS | 16
    if encoding == "deflate" and body:
        window = zlib.MAX_WBITS if body[0] & 0xF == 8 else -zlib.MAX_WBITS  # some servers omit the header
    elif not body.startswith(GZIP):
        return body
    while rest:
        member = zlib.decompressobj(window)
        try:
            found += member.decompress(rest, most + 1 - len(found))
        except zlib.error as error:
            raise Unreadable(f"damaged {encoding} data after {len(found):,} bytes of its content: {error}") from None
        if len(found) > most:
            break
        if not member.eof:
            raise Unreadable(f"truncated {encoding} data: it ends after {len(found):,} bytes of its content")
        rest = member.unused_data if member.unused_data.startswith(GZIP) else b""  # a file may have several members
    return bytes(found)


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _known(charset: str) -> str:
    """Return Python's name of a charset; empty for one that is unknown, or none."""
    try:
        name = codecs.lookup(charset).name if charset else ""
    except (LookupError, ValueError):
        return ""
    return "" if name.replace("-", "_") in _NO_CHARSETS | {"utf_7"} else name


def _byte_order(body: bytes, width: int) -> str:
    """Tell the byte order of a text without a mark by its first character, if that is ASCII.

    :raises Unreadable: it is not.
    """
    first = body[:width]
    if len(first) == width and not any(first[1:]) and first[0]:
        return "-le"
    if len(first) == width and not any(first[:-1]) and first[-1]:
        return "-be"
    raise Unreadable("it is declared as UTF-16 or UTF-32, and its byte order is unknown")


def _strictly(body: bytes, name: str, source: str) -> str:
    try:
        return body.decode(name)
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is {name} {source}, but byte {error.start:,} is not: {error.reason}") from None
    except LookupError:  # an encoding of bytes to bytes
        raise Unreadable(f"the charset {name!r} is not one of texts; set 'charset' in the format") from None


def _local(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: Any) -> object:
    fields: dict[str, Any] = {f"@{name.rpartition('}')[2]}": value for name, value in element.attrib.items()}
    repeated: set[str] = set()
    for child in element:
        name = _local(child)
        if name in repeated:
            fields[name].append(_value(child))
        elif name in fields:
            fields[name] = [fields[name], _value(child)]
            repeated.add(name)
        elif name:
            fields[name] = _value(child)
    text = "".join([element.text or "", *(child.tail or "" for child in element)])
    if not fields:
        return text or None
    return fields | {"#text": text.strip()} if text.strip() else fields
