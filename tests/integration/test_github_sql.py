"""The SQL files of github, run on BigQuery as the DAG runs them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.apis.github.people import COMPANIES, PLACES
from local_cloud.settings import PROJECT_ID, Settings
from tests.integration.warehouse import empty, source
from windrow.model.plan import slug
from windrow.model.stream import Stream
from windrow.sources.github.streams import Memberships, Users

SQL = Path(__file__).resolve().parents[2] / "include" / "sql" / "bigquery" / "github"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=7)


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("github", exists_ok=True)
        client.create_dataset("windrow_landing", exists_ok=True)
        yield client


@pytest.fixture
def final(warehouse: bigquery.Client) -> bigquery.Client:
    """The warehouse with empty final tables."""
    empty(warehouse, "github", ["users", "memberships"], lambda table: run(warehouse, f"{table}/create.sql"))
    return warehouse


def run(warehouse: bigquery.Client, file: str, run_id: str = "one") -> list[dict[str, Any]]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - SQL, no HTML
    environment.filters["slug"] = slug
    environment.globals["prefix"] = lambda: ""
    text = environment.from_string(source("github", file)).render(run_id=run_id)
    return [dict(row) for row in warehouse.query_and_wait(text)]


def user(number: int, fetched_at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": number, "login": f"login-{number}", "type": "User", "name": "Ada", "company": "@acme", "blog": "",
        "location": "Berlin", "email": None, "hireable": None, "bio": None, "twitter_username": None,
        "site_admin": False, "public_repos": 3, "public_gists": 2, "followers": 10, "following": 1,
        "created_at": "2020-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    record = Users.contract.record(fields | changes)
    return record | {"_key": f"user/{number}", "_fetched_at": fetched_at.isoformat(), "_run_id": "one"}


def member(number: int | None, listing: str = "stargazers", fetched_at: datetime = NOON, **changes: Any) -> Any:
    fields = {
        "repository_id": 7, "repository": "acme/windmill", "list": listing,
        "member_key": f"u{number}" if number else "anobody", "user_id": number, "login": f"login-{number}",
        "contributions": 5 if listing == "contributors" else None,
        "since": None if listing == "contributors" else "2026-01-05T10:00:00Z",
    }  # fmt: skip
    lineage = {"_key": "repos/acme/windmill", "_fetched_at": fetched_at.isoformat(), "_run_id": "one"}
    given = {name: changes.pop(name) for name in list(changes) if name.startswith("_")}
    return Memberships.contract.record(fields | changes) | lineage | given


def land(warehouse: bigquery.Client, stream: type[Stream], *rows: Any, run_id: str = "one") -> None:
    schema = [bigquery.SchemaField.from_api_repr(field) for field in stream.contract.bigquery_fields]
    config = bigquery.LoadJobConfig(schema=schema, write_disposition="WRITE_TRUNCATE")
    plain = [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]
    table = f"{PROJECT_ID}.windrow_landing.{stream.dataset}_{slug(run_id)}"
    warehouse.load_table_from_json(plain, table, job_config=config).result()


def merged(warehouse: bigquery.Client, stream: type[Stream], *rows: Any, run_id: str = "one") -> list[dict[str, Any]]:
    """Land and merge rows, and return the final table."""
    table = stream.dataset.removeprefix("github_")
    land(warehouse, stream, *rows, run_id=run_id)
    run(warehouse, f"{table}/merge.sql", run_id)
    return content(warehouse, table)


def content(warehouse: bigquery.Client, table: str) -> list[dict[str, Any]]:
    sql = f"SELECT * FROM github.{table} ORDER BY 1, 2, 3, 4"  # noqa: S608 - a name of ours
    return [dict(row) for row in warehouse.query_and_wait(sql)]


@pytest.mark.parametrize("stream", [Users, Memberships])
def test_the_final_tables_have_the_columns_of_the_contracts(final, stream):
    table = stream.dataset.removeprefix("github_")
    columns = final.get_table(f"github.{table}").schema
    declared = stream.contract.bigquery_fields
    assert [(column.name, column.field_type, column.mode) for column in columns] == [
        (field["name"], field["type"], field["mode"]) for field in declared
    ]
    described = source("github", f"{table}/create.sql")
    for field in declared:
        assert f"'{field['description']}'" in described, f"{field['name']} is described otherwise in create.sql"


def test_merging_twice_changes_nothing(final):
    once = merged(final, Users, user(1), user(2))
    assert merged(final, Users, user(1), user(2)) == once
    assert [row["user_id"] for row in once] == [1, 2]
    assert len(merged(final, Memberships, member(1), member(1, "forks"), member(2))) == 3
    assert len(merged(final, Memberships, member(1), member(1, "forks"), member(2))) == 3


def test_a_user_on_two_pages_of_graphql_is_one_row_and_keeps_the_counts_that_are_known(final):
    merged(final, Users, user(1, followers=99))
    without = {"public_repos": None, "public_gists": None, "followers": None, "following": None}
    pages = [user(1, LATER, login="new", **without) | {"_key": f"graphql?{page}"} for page in (1, 2)]
    (row,) = merged(final, Users, *pages, run_id="two")
    assert (row["login"], row["followers"], row["_fetched_at"]) == ("new", 99, LATER)
    assert run(final, "users/prove.sql", "two") == [{"loaded": 2, "merged": 2, "total": 1, "users": 1}]
    assert all(run(final, "users/audit.sql", "two")[0].values())


def test_an_older_answer_does_not_turn_the_table_back_and_still_counts_as_merged(final):
    merged(final, Users, user(1, LATER, name="new"), run_id="new")
    (row,) = merged(final, Users, user(1, name="old"), run_id="old")
    assert row["name"] == "new"
    assert run(final, "users/prove.sql", "old")[0]["merged"] == 1
    merged(final, Memberships, member(1, fetched_at=LATER, login="new"), run_id="new")
    (row,) = merged(final, Memberships, member(1, login="old"), run_id="old")
    assert row["login"] == "new"
    assert run(final, "memberships/prove.sql", "old")[0]["merged"] == 1


@pytest.mark.parametrize(("stream", "row"), [(Users, user(1)), (Memberships, member(1))])
def test_proof_sees_a_record_that_was_not_merged(final, stream, row):
    table = stream.dataset.removeprefix("github_")
    merged(final, stream, row)
    final.query_and_wait(f"DELETE FROM github.{table} WHERE TRUE")  # noqa: S608 - a name of ours
    (proof,) = run(final, f"{table}/prove.sql")
    assert (proof["loaded"], proof["merged"], proof["total"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("stream", "rows", "failed"),
    [
        (Users, [user(1), user(2)], set()),
        (Users, [user(1) | {"_key": "user/2"}], {"answers_what_was_asked"}),
        (Users, [user(1, login="")], {"users_have_logins"}),
        (Users, [user(-1)], {"users_have_numbers"}),
        (Memberships, [member(1), member(None, "contributors"), member(2, "forks")], set()),
        (Memberships, [member(1) | {"list": "watchers"}], {"list_is_known"}),
        (Memberships, [member(None)], set()),
        (Memberships, [member(None, member_key="u1")], {"keys_have_the_user"}),
        (Memberships, [member(1, since=None)], {"stars_and_forks_say_when"}),
        (Memberships, [member(1, "contributors", contributions=0)], {"contributors_have_contributed"}),
        (Memberships, [member(1), member(2, repository="acme/old-mill")], {"one_name_a_repository"}),
    ],
)
def test_the_audits_find_what_should_not_be_merged(final, stream, rows, failed):
    land(final, stream, *rows)
    (decision,) = run(final, f"{stream.dataset.removeprefix('github_')}/audit.sql")
    assert {name for name, holds in decision.items() if not holds} == failed


def test_the_check_sees_double_rows(final):
    merged(final, Users, user(1))
    merged(final, Memberships, member(1), member(1, "forks"))
    assert run(final, "memberships/check.sql") == [{"one_row_a_user": True, "one_row_a_member": True}]
    final.query_and_wait("INSERT INTO github.users SELECT * FROM github.users")
    final.query_and_wait("INSERT INTO github.memberships SELECT * FROM github.memberships")
    assert run(final, "memberships/check.sql") == [{"one_row_a_user": False, "one_row_a_member": False}]


def test_companies_and_places_are_one_word_however_they_are_written(final):
    companies = [(name, form) for name, forms in COMPANIES.items() if name != "none" for form in forms]
    places = [(name, form) for name, forms in PLACES.items() if name != "none" for form in forms]
    people = [user(number, company=form, location=None) for number, (_, form) in enumerate(companies, 1)]
    people += [user(number, company=None, location=form) for number, (_, form) in enumerate(places, 100)]
    people += [user(900 + n, company=c, location=c) for n, c in enumerate((None, "", "  ", "🚀"))]
    merged(final, Users, *people)
    merged(final, Memberships, *(member(person["user_id"], "contributors") for person in people))
    run(final, "companies/query.sql")
    found = {(row["company"], row["place"]): row["contributors"] for row in content(final, "companies")}
    spelled = {"umbrella": "umbrella labs"}
    expected = {(spelled.get(name, name), None): sum(n == name for n, _ in companies) for name, _ in companies}
    expected |= {(None, name): sum(n == name for n, _ in places) for name, _ in places}
    assert found == expected | {(None, None): 4}


def test_companies_count_the_contributors_of_the_last_run_only(final):
    merged(final, Users, user(1), user(2))
    merged(final, Memberships, member(1, "contributors"), member(2, "contributors"), member(3, "contributors"))
    newer = member(1, "contributors", LATER, contributions=9, _run_id="two")
    merged(final, Memberships, newer, run_id="two")
    run(final, "companies/query.sql")
    assert content(final, "companies") == [
        {"repository": "acme/windmill", "company": "acme", "place": "berlin", "contributors": 1, "contributions": 9}
    ]


def test_overlap_is_counted_for_each_pair_and_list(final):
    other = {"repository_id": 8, "repository": "globex/sluice"}
    rows = [member(number) for number in (1, 2, 3)] + [member(number, **other) for number in (2, 3, 4, 5)]
    rows += [member(1, "forks"), member(1, "forks", **other), member(None, "contributors")]
    merged(final, Memberships, *rows)
    run(final, "overlap/query.sql")
    pair = {"repository": "acme/windmill", "other_repository": "globex/sluice"}
    assert content(final, "overlap") == [
        {"list": "forks", **pair, "shared": 1, "share_of_both": 1.0},
        {"list": "stargazers", **pair, "shared": 2, "share_of_both": 0.4},
    ]


def test_stars_grow_by_weeks_from_monday(final):
    moments = ["2026-01-05T00:00:00Z", "2026-01-11T23:59:59Z", "2026-01-12T00:00:00Z", "2026-02-01T00:00:00Z"]
    rows = [member(number, since=moment) for number, moment in enumerate(moments, 1)]
    merged(final, Memberships, *rows, member(1, "forks"))
    run(final, "stars_by_week/query.sql")
    assert [(row["week_on"], row["stars"], row["total_stars"]) for row in content(final, "stars_by_week")] == [
        (date(2026, 1, 5), 2, 2),
        (date(2026, 1, 12), 1, 3),
        (date(2026, 1, 26), 1, 4),
    ]
