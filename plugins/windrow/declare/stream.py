"""A stream that is declared: its calls, pages, rows, columns and table are data.

A declaration is a class. An invalid one is refused by name when it is imported, before the first call. What an API does
differently is a method: override `plan`, `records` or `next_page`, and the rest stays declared::

    class Tickets(Declared):
        dataset = "desk_tickets"
        post = "/v2/tickets/search"
        body = {"filter": {"updated_since": "{since}"}}
        time = Since(first="2020-01-01T00:00:00Z")
        paging = Cursor(field="next_cursor", in_body=True)
        rows = Rows("results")
        columns = (
            Column("ticket_id", "id", Kind.STRING, "Id of the ticket.", required=True),
            Column("requester_id", "requester.id", Kind.INTEGER, "Id of the person who asked."),
        )
        table = Table(key=("ticket_id",), description="Tickets of the help desk.")

A text with names in braces is filled in for each query: the names of ``time``, and of ``each``, like ``{place.lat}``.
The field of a column is a path in the row. ``^latitude`` is a path in the page, and ``{place.name}`` what the query is
about. ``{account}`` is the connection.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, ClassVar

from windrow.declare.rows import Arrays, OneRow, Rows
from windrow.declare.times import Time
from windrow.model import exact_json, registry
from windrow.model.contract import LINEAGE, Column, Contract, Kind, as_json, fields_of, typed, unknown_within
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.paging import Cursor, Paging, at
from windrow.model.plausible import Plausible
from windrow.model.query import Query
from windrow.model.rows import RawRows, Read
from windrow.model.stream import PlanFlow, Planned, Request, Stream, each_page, read_each, read_some
from windrow.model.table import Write

_NAME = re.compile(r"\{([A-Za-z_][\w.]*)\}")
_DATASET = re.compile(r"[a-z][a-z0-9]*_[a-z][a-z0-9_]*")
_NO_NAME = re.compile(r"[^a-z0-9]+")
_COLUMN = re.compile(r"[a-z_][a-z0-9_]{0,127}")
_ACCOUNT = "account"
"""The name of the connection in braces."""
_RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")
"""Beginnings of columns that BigQuery refuses, or has itself."""
_MOST_COLUMNS = 1_000
_REASONS = 5
"""Elements that a message names."""


@dataclass(frozen=True, slots=True)
class Each:
    """One query for each element of a list.

    :param name: what an element is called in braces, like ``{place.lat}`` for the name ``place``.
    :param param: the DAG param with the list.
    :param listed_by: path of a GET that returns the list, used where the param is empty or there is none. ``rows`` says
        where the list is.
    :param paging: how the pages of ``listed_by`` follow.
    :param records_of: a stream of this DAG run instead: one query for each of its records, by the names of its columns.
    :param key: field of an element that identifies it in keys; empty if the element is a text or a number.
    """

    name: str
    param: str = ""
    listed_by: str = ""
    rows: Rows = field(default_factory=Rows)
    paging: Paging | None = None
    records_of: type[Stream] | None = None
    key: str = ""


class Declared(Stream):
    """The base class of declarations. See the module."""

    get: ClassVar[str] = ""
    """Path of the calls, if they are GETs."""
    post: ClassVar[str] = ""
    """Path of the calls, if they are POSTs with a JSON body."""
    params: ClassVar[Mapping[str, str]] = {}
    """Parameters of the query string."""
    body: ClassVar[Mapping[str, Any]] = {}
    """Body of the POSTs."""
    each: ClassVar[Each | None] = None
    """The elements to call for; None for one query."""
    time: ClassVar[Time | None] = None
    """The time that a run is about; None if a run reads everything."""
    rows: ClassVar[Rows | OneRow | Arrays] = Rows()
    """Where the rows of an answer are."""
    columns: ClassVar[tuple[Column, ...]] = ()
    """The columns of a record."""
    plausible: ClassVar[Plausible | None] = Plausible()
    """Which differences from earlier runs are plausible; None if runs are not compared."""
    ignored: ClassVar[Collection[str]] = ()
    """Paths of fields that no column reads on purpose: they are in ``_extra``, without a warning."""
    account: ClassVar[str] = ""
    """The connection that the rows come from: ``{account}`` in texts and in fields of columns."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "dataset" not in cls.__dict__:
            return  # a base class of declarations
        cls.contract = Contract(cls.columns)
        cls.endpoint = (cls.get or cls.post).partition("?")[0]
        if cls.paging and not cls.paging.rows and isinstance(cls.rows, Rows) and "[]" not in cls.rows.path:
            cls.paging = replace(cls.paging, rows=cls.rows.path)
        cls.may_be_empty = cls.may_be_empty or cls.time is not None
        _check(cls)
        registry.declare(cls)

    @classmethod
    def of_accounts(cls, conn_ids: Sequence[str]) -> list["type[Declared]"]:
        """Return a stream for each of several accounts. Each has a dataset of its own, and all share the table.

        :param conn_ids: the connections of the accounts.
        :raises ValueError: there is no account, two have one name, or a run cannot tell the rows of its account.
        """
        column = next((column.name for column in cls.columns if column.field == f"{{{_ACCOUNT}}}"), "")
        if not column and cls.table is not None and cls.table.write is not Write.MERGE:
            raise ValueError(
                f"{cls.dataset}: write '{cls.table.write}' with several accounts needs a column with the field "
                f"'{{{_ACCOUNT}}}', so that a run replaces only the rows of its account"
            )
        if isinstance(conn_ids, str) or not conn_ids:
            raise ValueError(f"{cls.dataset}: conn_ids must be a list of connections, not {conn_ids!r:.60}")
        names = {conn_id: f"{cls.dataset}__{_NO_NAME.sub('_', conn_id.lower())}" for conn_id in conn_ids}
        if len(set(names.values())) < len(conn_ids):
            raise ValueError(f"{cls.dataset}: the connections must have different names, not {list(conn_ids)!r:.200}")
        shared = {"table_dataset": cls.dataset, "__module__": cls.__module__, "__doc__": cls.__doc__}
        return [
            type(
                cls.__name__,
                (cls,),
                {**shared, "dataset": name, "account": conn_id, "own_rows": {column: conn_id} if column else {}},
            )
            for conn_id, name in names.items()
        ]

    def plan(self, request: Request) -> PlanFlow:
        """Plan a query for each element and each part of the time."""
        windows = list(self.time.windows(request)) if self.time else [{}]
        each = self.each
        if each is None:
            yield Planned(self._query({}, names) for names in windows)
            return
        elements = self._given(request, each)
        if elements is not None:
            for element in elements:  # a bad one is refused before the first query is planned
                self._query(element, windows[0])
            yield Planned(self._queries(elements, windows))
        elif each.records_of is not None:
            parent = each.records_of()
            for planned in parent.plan(request):
                for query in planned.queries if isinstance(planned, Planned) else ():
                    pages = yield from parent.pages(query)
                    for page in pages:
                        yield from self._plan_listed(parent.records(query, page.parsed), windows, parent.dataset)
        else:
            listing = yield from each_page(Query.of(each.listed_by), each.paging, read=each.rows.of)
            if each.paging is None and listing[0].next_link:
                raise Unreadable(f"the list {each.listed_by} has a next page; declare 'paging' in 'each'")
            for page in listing:
                yield from self._plan_listed(each.rows.of(page.parsed), windows, each.listed_by)

    def scope(self, request: Request) -> Mapping[str, str]:
        """Return the time that the run is about."""
        try:
            return self.time.scope(request) if self.time else {}
        except BadParameter as error:
            raise BadParameter(f"{self.dataset}: {error.what}", advice=error.advice) from None

    def follows_watermark(self, params: Mapping[str, object]) -> bool:
        """Return whether no param sets the time."""
        return self.time is None or self.time.follows_watermark(params)

    def reached(self, request: Request) -> str:
        """Return the watermark after a run without a new record, if what is past never changes."""
        return self.time.end(request) if self.time and self.time.past_is_final else ""

    def raw_rows(self, query: Query, answer: object) -> RawRows | None:
        """Return the rows of an answer, for landing. `read` decides about an answer with a row that is not clear.

        :returns: None if a method is overridden that reads rows, or if pages differ in what columns read of them.
        """
        cls = type(self)
        if not _reads_as_declared(cls):
            return None
        pages = self._pages(answer)
        rows = self.rows.of(pages[0]) if len(pages) == 1 else [row for page in pages for row in self.rows.of(page)]
        constants: dict[str, object] = {}
        for column in _outside(cls):
            first, *others = (_value(column, {}, page, dict(query.about)) for page in pages or [None])
            if any(repr(other) != repr(first) for other in others):  # 1 and 1.0 differ
                return None
            constants[column.field] = first if self.format.is_typed else typed([first], column.kind)[0]
        return RawRows(rows, constants, _reader(cls))

    def one_row_each(self, queries: Sequence[Query], answers: Sequence[object]) -> RawRows | None:
        """Return the rows of answers that are one row each, if columns read nothing but the rows."""
        cls = type(self)
        if not isinstance(self.rows, OneRow) or self.paging or _outside(cls):
            return None
        if not _reads_as_declared(cls) or cls.raw_rows is not Declared.raw_rows:
            return None
        return RawRows(_each_at(answers, self.rows.path), read=_reader(cls))

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the rows of an answer, or of a list of pages."""
        return self.read(query, answer)[0]

    def read(self, query: Query, answer: object) -> tuple[Sequence[dict[str, object]], Sequence[Unreadable]]:
        """Return the records of an answer, and an error for each row that does not match the columns."""
        pages = self._pages(answer)
        if len(pages) == 1 and len(only := self.rows.of(pages[0])) == 1:
            return [self.record(query, pages[0], only[0])], ()
        rows = ((page, row) for page in pages for row in self.rows.of(page))
        return read_some(rows, lambda placed: self.record(query, *placed))

    def rows_of(self, answer: object) -> list[object]:
        """Return the rows of an answer, or of a list of pages, as the API sent them.

        :raises Unreadable: there are no rows where the declaration says.
        """
        return [row for page in self._pages(answer) for row in self.rows.of(page)]

    def record(self, query: Query, page: object, row: object) -> dict[str, object]:
        """Read one row.

        :raises Unreadable: it does not match the columns.
        """
        if not isinstance(row, (dict, Mapping)):
            raise Unreadable(f"a row must be an object, not {row!r:.60}")
        check = self.contract.record if self.format.is_typed else self.contract.text_record
        if _is_flat(type(self)):  # the same result as below in a fifth of the time
            return check(row)
        about = dict(query.about)
        values = ((column.field, _value(column, row, page, about)) for column in self.columns)
        record = check({field: value for field, value in values if value is not None or _is_null(row, field)})
        extra = _rest(row, _used(type(self)))
        for column in self.columns:
            if column.columns and (rest := unknown_within(_value(column, row, page, about), column)):
                _grow(extra, column.field)[_last(column.field)] = rest
        return record | {"_extra": as_json(extra) if extra else None}

    @property
    def known_fields(self) -> Mapping[str, Any]:
        """The fields of a row that columns read, as a tree."""
        tree: dict[str, Any] = {}
        for column in self.columns:
            if column.field[:1] != "{":
                _grow(tree, column.field).setdefault(_last(column.field), {}).update(fields_of(column.columns))
        return tree

    def _pages(self, answer: object) -> Sequence[object]:
        """Return the pages of an answer. Several pages are a list of them, and a page may be a list itself."""
        if self.paging is None or not isinstance(answer, list):
            return [answer]
        is_list = isinstance(self.rows, Rows) and (not self.rows.path or self.rows.path.startswith("[]"))
        return answer if not is_list or (answer and all(isinstance(page, list) for page in answer)) else [answer]

    def _given(self, request: Request, each: Each) -> list[object] | None:
        """Return the elements of the DAG param; None if another list is used.

        :raises BadParameter: the param is not a list, or empty although there is no other list.
        """
        found = request.params.get(each.param) if each.param else None
        if not found and (each.listed_by or each.records_of):
            return None
        if not isinstance(found, list) or not found:
            raise BadParameter(
                f"The param '{each.param}' must be a list that is not empty, not {found!r:.60}.",
                advice=f"Set it to the elements to call for; the declaration of {self.dataset} uses them as "
                f"{{{each.name}}}.",
            )
        return found

    def _plan_listed(self, elements: Sequence[object], windows: Sequence[Mapping[str, str]], of: str) -> PlanFlow:
        """Plan the queries of listed elements. Those that cannot be used are left out."""
        good, bad = read_each(elements, lambda one: self._usable(one, windows))
        if bad:
            reasons = "; ".join(error.reason for error in bad[:_REASONS])
            yield Unreadable(f"{len(bad):,} elements of {of} cannot be used: {reasons}")
        yield Planned(self._queries(good, windows))

    def _usable(self, element: object, windows: Sequence[Mapping[str, str]]) -> object:
        """Return an element of a list of the API.

        :raises Unreadable: no query can be made for it. The others are planned.
        """
        try:
            self._query(element, windows[0])
        except BadParameter as error:
            raise Unreadable(error.what) from None
        return element

    def _queries(self, elements: Sequence[object], windows: Sequence[Mapping[str, str]]) -> Iterator[Query]:
        for element in elements:
            for names in windows:
                yield self._query(element, names)

    def _query(self, element: object, times: Mapping[str, str]) -> Query:
        each = self.each
        names = {**times, _ACCOUNT: self.account} | ({each.name: element} if each else {})
        known_by = dict(times)
        if each:
            path = f"{each.name}.{each.key}" if each.key else each.name
            known_by[each.name] = str(_named(path, names, self.dataset))
            if not known_by[each.name]:
                raise BadParameter(f"{{{path}}} of {self.dataset} must not be empty.", advice="Leave the element out.")
        path = str(_filled(self.get or self.post, names, self.dataset))
        params = {name: str(_filled(value, names, self.dataset)) for name, value in self.params.items()}
        body = exact_json.dumps(_filled(self.body, names, self.dataset)) if self.post else ""
        about = {name: str(_named(name, names, self.dataset)) for name in _about(type(self))}
        return Query.of(path, params, body=body, known_by=known_by or None, about=about, format=self.format)


def _check(cls: type[Declared]) -> None:
    """Check a declaration.

    :raises ValueError: with the name of the dataset and of what is wrong.
    """
    dataset = cls.dataset
    _check_settings(cls)
    if not _DATASET.fullmatch(dataset):
        raise ValueError(f"{cls.__name__}: dataset must be like shop_orders, <source>_<noun>, not {dataset!r}")
    if bool(cls.get) == bool(cls.post):
        raise ValueError(f"{dataset}: set either 'get' or 'post' to the path of the calls")
    if cls.body and not cls.post:
        raise ValueError(f"{dataset}: a GET has no body; use 'post', or 'params'")
    if (each := cls.each) and not (each.param or each.listed_by or each.records_of):
        raise ValueError(f"{dataset}: 'each' needs param, listed_by or records_of")
    if each and each.name == _ACCOUNT:
        raise ValueError(f"{dataset}: an element cannot have the name '{_ACCOUNT}', which is the connection")
    listed = (each.records_of.paging if each.records_of else each.paging) if each else None
    if isinstance(listed, Cursor) and listed.header:
        raise ValueError(f"{dataset}: 'each' cannot use a list whose cursor is in a header, which is not stored")
    if isinstance(cls.ignored, str):
        raise ValueError(f"{dataset}: ignored must be a tuple of fields, like ('{cls.ignored}',)")
    _check_columns(cls)
    left_out = {*(cls.plausible.not_compared if cls.plausible else ())}
    if wrong := sorted(left_out - {column.name for column in cls.columns}):
        raise ValueError(f"{dataset}: not_compared names {wrong[0]!r:.60}, which is no column")
    known = {_ACCOUNT, *(cls.time.names if cls.time else ()), *([cls.each.name] if cls.each else ())}
    texts = [
        cls.get,
        cls.post,
        *cls.params.values(),
        exact_json.dumps(cls.body),
        *(column.field for column in cls.columns),
    ]
    for text in texts:
        for name in _NAME.findall(text):
            if name.partition(".")[0] not in known:
                raise ValueError(f"{dataset}: {{{name}}} is unknown. Known names: {', '.join(sorted(known)) or 'none'}")
    if cls.table is not None:
        cls.table.check(dataset, cls.contract)


def _check_columns(cls: type[Declared]) -> None:
    names = [column.name for column in (*cls.columns, *LINEAGE)]
    attributes = {name for names in cls.person_items.values() for name in names}
    if unknown := sorted({*cls.person} - {*names, *attributes}):
        raise ValueError(f"{cls.dataset}: person names {unknown[0]!r:.60}, which is no column")
    if not cls.columns or len(names) > _MOST_COLUMNS:
        raise ValueError(f"{cls.dataset}: there must be 1 to {_MOST_COLUMNS:,} columns, not {len(cls.columns):,}")
    for name in (*names, *_nested(cls.columns)):
        if name.startswith(_RESERVED):
            raise ValueError(f"{cls.dataset}: the column {name!r} begins like a column of BigQuery itself; rename it")
        if not _COLUMN.fullmatch(name):
            raise ValueError(f"{cls.dataset}: the column {name!r} must have lower case letters, digits and _ only")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{cls.dataset}: the column {twice[0]!r} is declared twice")


def _nested(columns: Iterable[Column]) -> Iterator[str]:
    """Yield the names of the columns within RECORDs."""
    for column in columns:
        yield from (each.name for each in column.columns)
        yield from _nested(column.columns)


def _check_settings(cls: type[Declared]) -> None:
    """Refuse a setting that does not exist, such as one with a typing error."""
    annotated = {name for base in Declared.__mro__ for name in vars(base).get("__annotations__", {})}
    known = [name for name in {*dir(Declared), *annotated} if not name.startswith("_")]
    for name, value in vars(cls).items():
        if name.startswith("_") or name in known or callable(value) or isinstance(value, property | staticmethod):
            continue
        near = get_close_matches(name, known, n=1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"{cls.__name__}: the setting {name!r} is unknown.{meant}")


def _filled(value: object, names: Mapping[str, object], dataset: str) -> object:
    """Fill in names. A text that is one name only becomes its value, with its type."""
    if isinstance(value, Mapping):
        return {name: _filled(each, names, dataset) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, names, dataset) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _NAME.fullmatch(value):
        return _named(whole[1], names, dataset)
    return _NAME.sub(lambda found: str(_named(found[1], names, dataset)), value)


def _named(path: str, names: Mapping[str, object], dataset: str) -> object:
    value = at(names, path)
    if value is None or isinstance(value, Mapping | list):
        raise BadParameter(
            f"{{{path}}} of {dataset} must be a text or a number, not {value!r:.60}.",
            advice=f"Each element must have the field; the element is {names.get(path.partition('.')[0])!r:.100}.",
        )
    return value


@lru_cache
def _about(cls: type[Declared]) -> tuple[str, ...]:
    """Return the names of a query that columns have."""
    return tuple(found[1] for column in cls.columns if (found := _NAME.fullmatch(column.field)))


@lru_cache
def _used(cls: type[Declared]) -> dict[str, Any]:
    """Return the fields of a row that columns read, as a tree: a field that is read as a whole has no branches."""
    tree: dict[str, Any] = {}
    for column in cls.columns:
        if column.field[:1] not in {"^", "{"}:
            _grow(tree, column.field)[_last(column.field)] = {}
    return tree


@lru_cache
def _is_flat(cls: type[Declared]) -> bool:
    """Return whether each column reads a field of the row itself: the contract alone can check such rows."""
    return all(column.field and column.field[0] not in "^{" and "." not in column.field for column in cls.columns)


def _grow(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the branch that the last name of a path belongs to. ``^latitude``, a path in the page, is one name."""
    for name in path.split(".")[:-1] if path[:1] != "^" else ():
        tree = tree.setdefault(name, {})
    return tree


def _last(path: str) -> str:
    return path if path[:1] == "^" else path.rpartition(".")[2]


@lru_cache
def _reads_as_declared(cls: type[Declared]) -> bool:
    return (cls.read, cls.records, cls.record) == (Declared.read, Declared.records, Declared.record)


@lru_cache
def _outside(cls: type[Declared]) -> tuple[Column, ...]:
    """Return the columns that are not read of a row."""
    return tuple(column for column in cls.columns if column.field[:1] in {"^", "{"})


@lru_cache
def _reader(cls: type[Declared]) -> Callable[[Sequence[Any]], Read] | None:
    """Return the function that reads the columns of rows at once, as `Declared.record` reads those of one row.

    :returns: None if the names of a row are the fields of the columns.
    """
    if _is_flat(cls) and cls.format.is_typed:
        return None
    used, inside = _used(cls), [column for column in cls.columns if column not in _outside(cls)]
    nested = [column for column in inside if column.columns]

    def read(rows: Sequence[Any]) -> Read:
        if set(map(type, rows)) != {dict}:
            raise Unreadable("a row must be an object")
        columns = {column.field: _each_at(rows, column.field) for column in inside}
        if not cls.format.is_typed:
            columns |= {column.field: typed(columns[column.field], column.kind) for column in inside}
        extra = None if _all_used(rows, used) else [_rest(row, used) for row in rows]
        for column in nested:
            rests = [unknown_within(value, column) for value in columns[column.field]]
            if any(rests):
                extra = extra or [{} for _ in rows]
                for fields, rest in zip(extra, rests, strict=True):
                    if rest:
                        _grow(fields, column.field)[_last(column.field)] = rest
        return columns, extra

    return read


def _each_at(rows: Sequence[Any], path: str) -> Sequence[Any]:
    """Return the value at a path in each row, as `at` returns it."""
    values = rows
    for place, name in enumerate(path.split(".") if path else ()):
        if place == 0:
            values = [row.get(name) for row in values]
        else:
            values = [value.get(name) if type(value) is dict else None for value in values]
    return values


def _all_used(objects: Sequence[dict[str, Any]], used: Mapping[str, Any]) -> bool:
    """Return whether columns read all fields of objects, so that `_rest` of each is empty."""
    if not set().union(*objects) <= used.keys():
        return False
    for name, inner in used.items():
        values = [value for each in objects if (value := each.get(name)) is not None] if inner else []
        if values and not (set(map(type, values)) == {dict} and _all_used(values, inner)):
            return False
    return True


def _rest(row: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row that no column reads."""
    rest = {}
    for name, value in row.items():
        if name not in used:
            rest[name] = value
        elif used[name] and isinstance(value, Mapping):
            if inner := _rest(value, used[name]):
                rest[name] = inner
        elif used[name] and value is not None:  # not the object that columns look into
            rest[name] = value
    return rest


def _value(column: Column, row: object, page: object, about: Mapping[str, str]) -> object:
    field = column.field
    if field[:1] == "{":
        text = about.get(field[1:-1])
        return text if text is None or column.kind in _TEXTS else _typed(text)
    return at(page, field[1:]) if field[:1] == "^" else at(row, field)


def _is_null(row: Mapping[str, Any], path: str) -> bool:
    """Return whether a field without a value is null, and not missing."""
    way, _, last = path.rpartition(".")
    parent = at(row, way) if way else row
    return isinstance(parent, Mapping) and last in parent


_TEXTS = {Kind.STRING, Kind.DATE, Kind.TIMESTAMP, Kind.NUMERIC}


def _typed(text: str) -> object:
    """Read a number or boolean that a query is about."""
    try:
        return exact_json.loads(text.encode())
    except Unreadable:
        return text
