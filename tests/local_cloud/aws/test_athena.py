"""Athena and Glue by their API: what is promised works as there, and all else is refused by name."""
# ruff: noqa: S608 - SQL is what is tested

import datetime
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from local_cloud import supervisord
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import running
from tests.local_cloud.aws.athena import Athena, Failed
from tests.local_cloud.aws.conftest import clients
from tests.local_cloud.conftest import eventually, is_alive, pid_of

TRACKS = [
    {"track": "a", "plays": 3, "score": 0.5},
    {"track": "b", "plays": None, "score": 4.0},
]


@pytest.fixture
def tracks(athena: Athena) -> Athena:
    """A table of two partitions, and a third that is not registered."""
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        athena.put(f"tracks/dt={day}/part-0.parquet", TRACKS)
    athena.run(f"""
        CREATE EXTERNAL TABLE tracks (track string COMMENT 'its name', plays bigint, score double)
        PARTITIONED BY (dt string) STORED AS PARQUET LOCATION 's3://{athena.name}/tracks/'
    """)
    for day in ("2026-01-01", "2026-01-02"):
        athena.run(f"ALTER TABLE tracks ADD PARTITION (dt = '{day}')")
    return athena


# --- tables and partitions ---------------------------------------------------------------------


def test_only_registered_partitions_are_seen(tracks: Athena) -> None:
    counts = "SELECT dt, count(*) AS n, sum(plays) AS plays FROM tracks GROUP BY dt ORDER BY dt"

    assert tracks.rows(counts) == [("2026-01-01", "2", "3"), ("2026-01-02", "2", "3")]
    tracks.run(f"MSCK REPAIR TABLE {tracks.name}.tracks")
    assert [row[0] for row in tracks.rows(counts)] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    tracks.run("ALTER TABLE tracks DROP IF EXISTS PARTITION (dt = '2026-01-01')")
    assert [row[0] for row in tracks.rows(counts)] == ["2026-01-02", "2026-01-03"]


def test_a_partition_that_is_there_is_refused_unless_that_is_fine(tracks: Athena) -> None:
    with pytest.raises(Failed, match="Partition already exists"):
        tracks.run("ALTER TABLE tracks ADD PARTITION (dt = '2026-01-01')")
    tracks.run("ALTER TABLE tracks ADD IF NOT EXISTS PARTITION (dt = '2026-01-01') LOCATION 's3://elsewhere/'")
    assert tracks.rows("SELECT count(*) FROM tracks") == [("4",)]


def test_partitions_are_shown_in_order(tracks: Athena) -> None:
    execution = tracks.run("SHOW PARTITIONS tracks")

    rows = tracks.api.get_query_results(QueryExecutionId=execution["QueryExecutionId"])["ResultSet"]["Rows"]
    assert [row["Data"][0]["VarCharValue"] for row in rows] == ["dt=2026-01-01", "dt=2026-01-02"]


def test_a_partition_filter_of_glue_really_filters(tracks: Athena) -> None:
    def days(expression: str) -> list[str]:
        found = tracks.glue.get_partitions(DatabaseName=tracks.name, TableName="tracks", Expression=expression)
        return [one["Values"][0] for one in found["Partitions"]]

    assert days("dt = '2026-01-02'") == ["2026-01-02"]
    assert days("dt >= '2026-01-01' AND dt < '2026-02-01'") == ["2026-01-01", "2026-01-02"]
    assert days("dt = '1999-01-01'") == []
    with pytest.raises(ClientError, match="Unsupported expression"):
        days("nonsense(dt)")


def test_a_table_is_moved_to_another_folder_at_once(athena: Athena) -> None:
    for folder, value in (("old", 1), ("new", 2)):
        athena.put(f"t/{folder}/part-0.parquet", [{"a": value}])
    athena.run(f"CREATE EXTERNAL TABLE t (a bigint) STORED AS PARQUET LOCATION 's3://{athena.name}/t/old/'")

    athena.run(f"ALTER TABLE t SET LOCATION 's3://{athena.name}/t/new/'")

    assert athena.rows("SELECT a FROM t") == [("2",)]


def test_a_column_that_a_file_lacks_is_null_and_files_with_underscores_are_hidden(athena: Athena) -> None:
    athena.put("t/part-0.parquet", [{"a": 1}])
    athena.put("t/_hidden/part-1.parquet", [{"a": 2}])
    athena.s3.put_object(Bucket=athena.name, Key="t/_manifest.json", Body=b"{}")
    athena.run(f"CREATE EXTERNAL TABLE t (a bigint, b string) STORED AS PARQUET LOCATION 's3://{athena.name}/t'")

    assert athena.rows("SELECT a, b FROM t") == [("1", None)]


def test_a_file_whose_schema_drifted_is_named(athena: Athena) -> None:
    athena.put("t/part-0.parquet", [{"a": "text"}])
    athena.run(f"CREATE EXTERNAL TABLE t (a bigint) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")

    with pytest.raises(Failed, match=r"HIVE_BAD_DATA: Field a's type VARCHAR .*t/part-0\.parquet .* type BIGINT"):
        athena.rows("SELECT * FROM t")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-02 03:04:05.678900", "2026-01-02 03:04:05.679"),
        ("1969-12-31 23:59:59.998400", "1969-12-31 23:59:59.998"),
        ("1969-12-31 23:59:59.998600", "1969-12-31 23:59:59.999"),
        ("0502-06-18 02:41:31.007496", "0502-06-18 02:41:31.007"),
        ("0099-12-31 23:59:59", "0099-12-31 23:59:59.000"),
    ],
)
def test_an_instant_is_of_milliseconds_and_in_utc(athena: Athena, text: str, shown: str) -> None:
    moment = datetime.datetime.fromisoformat(f"{text}+00:00")
    athena.put("t/part-0.parquet", [{"at": moment}], pa.schema([("at", pa.timestamp("us", tz="UTC"))]))
    athena.run(f"CREATE EXTERNAL TABLE t (at timestamp) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")

    assert athena.rows("SELECT at FROM t") == [(shown,)]


def test_decimals_keep_their_digits_and_are_not_computed_with(athena: Athena) -> None:
    values = [Decimal("0.000000001"), Decimal("12345678901234567890.5"), Decimal(-7)]
    athena.put("t/part-0.parquet", [{"x": value} for value in values], pa.schema([("x", pa.decimal128(38, 9))]))
    athena.run(f"CREATE EXTERNAL TABLE t (x decimal(38,9)) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")

    shown = [("-7.000000000",), ("0.000000001",), ("12345678901234567890.500000000",)]
    assert athena.rows("SELECT x FROM t ORDER BY x") == shown
    assert athena.rows("SELECT sum(x) AS x FROM t WHERE x < 1.5") == [("-6.999999999",)]
    athena.run("CREATE TABLE u AS SELECT x FROM t")
    assert athena.rows("SELECT x FROM u ORDER BY x") == shown
    with pytest.raises(Failed, match=r"X \* 2, as x is a decimal|x \* 2, as x is a decimal"):
        athena.run("SELECT x * 2 AS y FROM t")


def test_arrays_and_rows_are_read_and_shown(athena: Athena) -> None:
    lines = pa.list_(pa.struct([("article", pa.string()), ("at", pa.timestamp("us", tz="UTC"))]))
    at = datetime.datetime(1969, 12, 31, 23, 59, 59, 998_600, datetime.UTC)
    rows = [
        {"n": 1, "tags": ["a", None], "lines": [{"article": "x", "at": at}, {"article": None, "at": None}]},
        {"n": 2, "tags": [], "lines": None},
    ]
    schema = pa.schema([("n", pa.int64()), ("tags", pa.list_(pa.string())), ("lines", lines)])
    athena.put("t/part-0.parquet", rows, schema)
    columns = (
        "n bigint, tags array<string>, `lines` array<struct<`article`:string,`at`:timestamp,`more`:decimal(38,9)>>"
    )
    athena.run(f"CREATE EXTERNAL TABLE t ({columns}) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")
    first = "[{article=x, at=1969-12-31 23:59:59.999, more=null}, {article=null, at=null, more=null}]"
    shown = [("[a, null]", first), ("[]", None)]
    assert athena.rows("SELECT tags, lines FROM t ORDER BY n") == shown
    athena.run("CREATE VIEW v AS SELECT n, tags, lines FROM t")
    assert athena.rows("SELECT tags, lines FROM v ORDER BY n") == shown
    described = athena.glue.get_table(DatabaseName=athena.name, Name="v")["Table"]["StorageDescriptor"]["Columns"]
    assert described[2]["Type"] == "array<struct<article:string,at:timestamp,more:decimal(38,9)>>"
    athena.run(f"CREATE EXTERNAL TABLE u (tags array<bigint>) STORED AS PARQUET LOCATION 's3://{athena.name}/t/'")
    with pytest.raises(Failed, match=r"HIVE_BAD_DATA: Field tags's type VARCHAR\[\] .* type BIGINT\[\]"):
        athena.rows("SELECT tags FROM u")


def test_columns_of_an_iceberg_table_are_added_and_widened(athena: Athena) -> None:
    location = f"LOCATION 's3://{athena.name}/t/' TBLPROPERTIES ('table_type' = 'ICEBERG')"
    athena.run(f"CREATE TABLE t (a int, b float, c decimal(10,2)) {location}")
    athena.run("INSERT INTO t (a) VALUES (7)")
    athena.run("ALTER TABLE t ADD COLUMNS (`d` array<struct<`x`:int>>)")
    wider = "array<struct<`x`:bigint,`y`:struct<`z`:string>>>"
    for name, kind in (("a", "bigint"), ("b", "double"), ("c", "decimal(38,2)"), ("d", wider)):
        athena.run(f"ALTER TABLE t CHANGE COLUMN `{name}` `{name}` {kind}")
    assert athena.rows("SELECT a, b, c, d FROM t") == [("7", None, None, None)]
    for sql, why in (
        ("ALTER TABLE t ADD COLUMNS (a bigint)", "Duplicate column name: a"),
        ("ALTER TABLE t CHANGE COLUMN a a decimal(38,9)", r"Cannot change column type: a: bigint -> decimal\(38,9\)"),
        ("ALTER TABLE t CHANGE COLUMN c c decimal(38,3)", "Cannot change column type"),
        ("ALTER TABLE t CHANGE COLUMN d d array<struct<x:bigint>>", "Cannot change column type: d"),
        ("ALTER TABLE t CHANGE COLUMN x x bigint", "COLUMN_NOT_FOUND"),
        ("INSERT INTO t (x) VALUES (1)", "COLUMN_NOT_FOUND"),
    ):
        with pytest.raises(Failed, match=why):
            athena.run(sql)


def test_a_view_is_a_query_by_name(tracks: Athena) -> None:
    tracks.run("CREATE VIEW days AS SELECT dt, sum(plays) AS plays FROM tracks GROUP BY dt")
    assert tracks.rows("SELECT plays FROM days WHERE dt = '2026-01-01'") == [("3",)]
    with pytest.raises(Failed, match="View already exists"):
        tracks.run("CREATE VIEW days AS SELECT 1 AS x")
    tracks.run("CREATE OR REPLACE VIEW days AS SELECT DISTINCT dt FROM tracks")
    tracks.run("CREATE VIEW of_days AS SELECT max(dt) AS last FROM days")
    assert tracks.rows("SELECT last FROM of_days") == [("2026-01-02",)]
    tracks.run("DROP VIEW days")
    with pytest.raises(Failed, match="TABLE_NOT_FOUND"):
        tracks.rows("SELECT last FROM of_days")
    with pytest.raises(Failed, match="is no view"):
        tracks.run("DROP VIEW tracks")


# --- writing -----------------------------------------------------------------------------------


def test_create_table_as_writes_parquet_and_a_table_and_runs_once(tracks: Athena) -> None:
    create = f"""
        CREATE TABLE best WITH (
            format = 'PARQUET', external_location = 's3://{tracks.name}/best/', partitioned_by = ARRAY['dt']
        ) AS
        SELECT track, rank() OVER (PARTITION BY dt ORDER BY score DESC) AS place, dt FROM tracks
    """
    tracks.run(create)

    assert tracks.rows("SELECT dt, track FROM best WHERE place = 1 ORDER BY dt") == [
        ("2026-01-01", "b"),
        ("2026-01-02", "b"),
    ]
    assert {key.split("/")[1] for key in tracks.keys("best/")} == {"dt=2026-01-01", "dt=2026-01-02"}
    with pytest.raises(Failed, match="TABLE_ALREADY_EXISTS"):
        tracks.run(create)
    tracks.run("DROP TABLE best")
    with pytest.raises(Failed, match=r"HIVE_PATH_ALREADY_EXISTS.*Athena will not delete data"):
        tracks.run(create)


def test_insert_adds_rows_and_registers_new_partitions(tracks: Athena) -> None:
    tracks.run("INSERT INTO tracks SELECT track, plays, score, '2026-02-01' FROM tracks WHERE dt = '2026-01-01'")
    tracks.run("INSERT INTO tracks VALUES ('c', 9, 1E0, '2026-02-01')")

    assert tracks.rows("SELECT count(*), sum(plays) FROM tracks WHERE dt = '2026-02-01'") == [("3", "12")]


@pytest.mark.parametrize("values", ["('c', 9, 1E0)", "('c', 'nine', 1E0, '2026-02-01')", "(1, 9, 1E0, '2026-02-01')"])
def test_an_insert_that_does_not_fit_is_refused(tracks: Athena, values: str) -> None:
    with pytest.raises(Failed, match="TYPE_MISMATCH"):
        tracks.run(f"INSERT INTO tracks VALUES {values}")


def test_more_than_100_partitions_at_once_are_refused(athena: Athena) -> None:
    values = ", ".join(f"({n}, 'd{n}')" for n in range(101))

    with pytest.raises(Failed, match="HIVE_TOO_MANY_OPEN_PARTITIONS"):
        athena.run(f"CREATE TABLE t WITH (partitioned_by = ARRAY['d']) AS SELECT * FROM (VALUES {values}) AS v (n, d)")


# --- results -----------------------------------------------------------------------------------


def test_values_are_shown_as_athena_shows_them(athena: Athena) -> None:
    sql = """
        SELECT 4E0 AS a, 1.5E10 AS b, 1E-5 AS c, TRUE AS d, DATE '2026-01-02' AS e, NULLIF(1, 1) AS f,
               CAST(7 AS double) / 2 AS g, sum(x), 'it''s "x"' AS h
        FROM (VALUES 1, 2) AS t (x)
    """
    execution = athena.run(sql)
    results = athena.api.get_query_results(QueryExecutionId=execution["QueryExecutionId"])["ResultSet"]

    values = [one.get("VarCharValue") for one in results["Rows"][1]["Data"]]
    assert values == ["4.0", "1.5E10", "1.0E-5", "true", "2026-01-02", None, "3.5", "3", 'it\'s "x"']
    assert [one["Type"] for one in results["ResultSetMetadata"]["ColumnInfo"]] == [
        *("double", "double", "double", "boolean", "date", "integer", "double", "bigint", "varchar"),
    ]
    assert results["Rows"][0]["Data"][7]["VarCharValue"] == "_col7"
    location = execution["ResultConfiguration"]["OutputLocation"]
    body = athena.s3.get_object(Bucket=athena.name, Key=location.partition(f"{athena.name}/")[2])["Body"].read()
    assert body.decode().splitlines()[1].endswith('"2026-01-02",,"3.5","3","it\'s ""x"""')


def test_results_come_in_pages(athena: Athena) -> None:
    values = ", ".join(f"({n})" for n in range(2500))

    rows = athena.rows(f"SELECT n FROM (VALUES {values}) AS t (n) ORDER BY n")

    assert rows == [(str(n),) for n in range(2500)]


def test_one_token_starts_one_query(athena: Athena) -> None:
    token = "t" * 40 + athena.name

    assert athena.start("SELECT 1", ClientRequestToken=token) == athena.start("SELECT 1", ClientRequestToken=token)


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT approx_distinct(x) FROM (VALUES 1) AS t (x)", r"APPROX_DISTINCT\(x\)"),
        ("SELECT made_up(1)", r"MADE_UP\(1\)"),
        ("SELECT * FROM read_parquet('/etc/passwd')", "the table function READ_PARQUET"),
        ("SELECT x FROM (VALUES 1) AS t (x) GROUP BY ALL", "ALL of GROUP"),
        ("SELECT * EXCLUDE (x) FROM (VALUES 1) AS t (x)", "of STAR"),
        ("SELECT 1 FROM (VALUES 1) AS a (x) NATURAL JOIN (VALUES 1) AS b (x)", "METHOD of JOIN"),
        ("SELECT 7 / 2", r"the division 7 / 2\. Write CAST\(x AS double\)"),
        ("SELECT 1.5 * 2", r"the decimal 1\.5"),
        ("SELECT CAST(2.5E0 AS bigint)", "the cast"),
        ("SELECT ARRAY[1]", "ARRAY"),
        ("UPDATE t SET x = 1", "the statement 'UPDATE t SET x = 1'"),
        ("CREATE VIEW v AS SELECT ARRAY[1] AS x", "ARRAY"),
        ("CREATE TABLE t WITH (format = 'ORC') AS SELECT 1 AS x", "format = 'ORC'"),
        ("CREATE EXTERNAL TABLE t (x bigint) LOCATION 's3://b/'", "not STORED AS PARQUET"),
        (
            "CREATE EXTERNAL TABLE t (x map<string,int>) STORED AS PARQUET LOCATION 's3://b/'",
            "the type map<string,int>",
        ),
        ("ALTER TABLE t ADD COLUMNS (y bigint)", "TABLE_NOT_FOUND"),
        ("VACUUM t", "the statement 'VACUUM t'"),
        ("SELECT NULL AS x", "of unknown type, x"),
        ("SELECT x FROM missing", r"TABLE_NOT_FOUND: Table 'awsdatacatalog\.\w+\.missing'"),
        ("SELECT x FROM (SELECT 1 AS y) AS t", '"x" not found'),
    ],
)
def test_what_is_not_known_fails_by_name(athena: Athena, sql: str, words: str) -> None:
    with pytest.raises(Failed, match=words):
        athena.run(sql)


@pytest.mark.parametrize("sql", ["SELECT FROM WHERE", "SELECT 1; SELECT 2", "not sql at all"])
def test_what_is_no_sql_is_refused_at_once(athena: Athena, sql: str) -> None:
    with pytest.raises(ClientError, match="InvalidRequestException"):
        athena.start(sql)


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("api", "list_work_groups", {}),
        ("api", "create_named_query", {"Name": "n", "Database": "d", "QueryString": "SELECT 1"}),
        ("glue", "start_job_run", {"JobName": "j"}),
    ],
)
def test_a_call_that_is_not_served_says_so(athena: Athena, service: str, call: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="do not serve"):
        getattr(getattr(athena, service), call)(**arguments)


def test_a_query_without_a_place_for_its_results_is_refused(athena: Athena) -> None:
    with pytest.raises(ClientError, match="No output location"):
        athena.api.start_query_execution(QueryString="SELECT 1")


# --- crawlers ----------------------------------------------------------------------------------


def crawl(athena: Athena, name: str, exclusions: list[str]) -> dict[str, Any]:
    target = {"Path": f"s3://{athena.name}/landed/tracks/", "Exclusions": exclusions}
    athena.glue.create_crawler(
        Name=name, Role="crawler", DatabaseName=athena.name, TablePrefix="found_", Targets={"S3Targets": [target]}
    )
    athena.glue.start_crawler(Name=name)
    eventually(lambda: athena.glue.get_crawler(Name=name)["Crawler"]["State"] == "READY", "it has crawled")
    return dict(athena.glue.get_crawler(Name=name)["Crawler"]["LastCrawl"])


def test_a_crawler_finds_table_columns_and_partitions(athena: Athena) -> None:
    athena.put("landed/tracks/dt=2026-01-01/run=x/part-0.parquet", TRACKS)
    athena.put("landed/tracks/dt=2026-01-02/run=y/part-0.parquet", TRACKS)
    athena.s3.put_object(Bucket=athena.name, Key="landed/tracks/dt=2026-01-01/run=x/_manifest.json", Body=b"{}")

    assert crawl(athena, f"good{athena.name}", ["**/_manifest.json"])["Status"] == "SUCCEEDED"

    counts = "SELECT dt, run, count(*), sum(plays) FROM found_tracks GROUP BY dt, run ORDER BY dt"
    assert athena.rows(counts) == [("2026-01-01", "x", "2", "3"), ("2026-01-02", "y", "2", "3")]


def test_a_crawler_says_what_it_cannot_read(athena: Athena) -> None:
    athena.put("landed/tracks/part-0.parquet", TRACKS)
    athena.s3.put_object(Bucket=athena.name, Key="landed/tracks/_manifest.json", Body=b"{}")

    last = crawl(athena, f"bad{athena.name}", [])

    assert last["Status"] == "FAILED"
    assert "_manifest.json is no Parquet file" in last["ErrorMessage"]


# --- durability --------------------------------------------------------------------------------


def test_queries_and_tables_survive_a_kill_and_without_s3_a_query_may_be_tried_again(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"aws", "athena"}, var) as settings:
        with Athena.fresh(clients(settings)) as athena:
            athena.run(f"CREATE TABLE kept WITH (external_location = 's3://{athena.name}/kept/') AS SELECT 1 AS x")
            finished = athena.run("SELECT x FROM kept")["QueryExecutionId"]
        for name in ("emulators.athena", "emulators.ministack"):
            victim = pid_of(var, name)
            os.kill(victim, signal.SIGKILL)
            eventually(lambda pid=victim: not is_alive(pid), "it is dead")
        cloud = LocalCloud(settings, os.environ, {"aws", "athena"})
        eventually(lambda: set(cloud.states().values()) == {"healthy"}, "both are healthy again")

        results = athena.api.get_query_results(QueryExecutionId=finished)["ResultSet"]["Rows"]
        assert results[1]["Data"] == [{"VarCharValue": "1"}]
        assert athena.rows("SELECT x FROM kept") == [("1",)]

        (aws,) = (supervisord.program(service) for service in cloud.services if service.name == "aws")
        supervisord.connect(settings).supervisor.stopProcess(aws)
        asked = {"QueryString": "SELECT x FROM kept", "QueryExecutionContext": {"Database": athena.name}}
        output = {"ResultConfiguration": {"OutputLocation": f"s3://{athena.name}/results/"}}
        failed = athena.api.start_query_execution(**asked, **output)["QueryExecutionId"]

        def state() -> dict[str, Any]:
            return dict(athena.api.get_query_execution(QueryExecutionId=failed)["QueryExecution"]["Status"])

        eventually(lambda: state()["State"] == "FAILED", "the query has failed")
        assert state()["AthenaError"]["Retryable"] is True
