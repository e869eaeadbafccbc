"""deploy/terraform is parsed, is formatted, and has the names that the code uses. `make deploy-check` does more."""

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import hcl2
import pytest

from local_cloud import aws_resources
from local_cloud.settings import ARTIST_QUEUE
from windrow.airflow.hooks.cloud_tasks import Rates
from windrow.sources.x.publisher import outlet

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "deploy/aws"
PAGE = (ROOT / "docs/clouds.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "deploy/terraform").glob("*/*.tf"))
USED = "".join(
    path.read_text(encoding="utf-8")
    for folder in ("dags", "include/sql", "plugins/windrow/sources")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".sql"}
)


def load(cloud: str) -> dict[str, dict[str, Any]]:
    """Return the resources of a cloud by address, like ``aws_sqs_queue.dead``, and the locals as ``locals``."""
    found: dict[str, dict[str, Any]] = {}
    with (ROOT / "deploy/terraform" / cloud / "main.tf").open(encoding="utf-8") as file:
        content = hcl2.load(file)
    for kinds in content["resource"]:
        for kind, named in kinds.items():
            found |= {f"{kind}.{name}".replace('"', ""): given for name, given in named.items()}
    return found | {"locals": content["locals"][0]}


def text(value: str) -> str:
    return value.strip('"')


def listed(local: str) -> set[str]:
    """Return the names that are written out in a local value."""
    return set(re.findall(r'"([a-z_]+)"', local))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_formatted(path: Path) -> None:
    """As `terraform fmt` would: two spaces a level, and the `=` of neighbours below each other."""
    depth, lines = 0, path.read_text(encoding="utf-8").splitlines()
    heredoc = False
    columns: dict[int, int] = {}
    for number, line in enumerate(lines):
        assert line == line.rstrip()
        if heredoc:
            heredoc = line.strip() != "LINES"
            continue
        heredoc = line.endswith("<<-LINES")
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line.partition(" # ")[0])
        if code.strip():
            closes = code.lstrip().startswith(("}", "]", ")"))
            assert len(line) - len(line.lstrip()) == 2 * (depth - closes), f"line {number + 1}: {line}"
        opened = sum(code.count(one) for one in "{[(") - sum(code.count(one) for one in "}])")
        depth += (opened > 0) - (opened < 0)  # one level, however many brackets a line opens
        pair = re.match(r"\s*[\w\"]+ *=", code)
        if pair and (number - 1) in columns and not code.rstrip().endswith(("{", "[", "(")):
            assert columns[number - 1] == pair.end(), f"line {number + 1}: its = is not below the one before"
        if pair and not code.rstrip().endswith(("{", "[", "(")):
            columns[number] = pair.end()
    assert depth == 0


def test_google_has_what_the_code_uses() -> None:
    google = load("google")
    datasets = {folder.name for folder in (ROOT / "include" / "sql" / "bigquery").iterdir()} | {"harvest"}
    assert listed(google["locals"]["datasets"]) == datasets
    assert text(google["google_bigquery_dataset.landing"]["dataset_id"]) == "${var.prefix}windrow_landing"

    subscription = google["google_pubsub_subscription.posts"]
    assert subscription["ack_deadline_seconds"] == outlet._ACK_DEADLINE_S
    assert text(subscription["message_retention_duration"]) == f"{outlet._RETENTION_S}s"
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert f"X_SUBSCRIPTION={text(subscription['name'])}\n" in example
    assert f"X_TOPIC={text(google['google_pubsub_topic.posts']['name'])}\n" in example

    queue = google["google_cloud_tasks_queue.passengers"]
    assert f'"queue_id": "{text(queue["name"])}"' in USED
    (rates,), (retries,) = queue["rate_limits"], queue["retry_config"]
    assert rates["max_dispatches_per_second"] == Rates().dispatches_per_s
    assert rates["max_concurrent_dispatches"] == Rates().concurrent
    assert retries["max_attempts"] == Rates().attempts


def test_the_function_has_the_settings_of_its_readme() -> None:
    (service,) = load("google")["google_cloudfunctions2_function.fetch_passenger"]["service_config"]
    secrets = {text(one["key"]) for one in service["secret_environment_variables"]}
    readme = (ROOT / "include/functions/fetch_passenger/README.md").read_text(encoding="utf-8")
    (plain,) = re.findall(r"--set-env-vars=(\S+)", readme)
    (secret,) = re.findall(r"--set-secrets=(\S+)", readme)
    assert set(service["environment_variables"]) - {"__is_block__"} == {one.split("=")[0] for one in plain.split(",")}
    assert secrets == {one.split("=")[0] for one in secret.split(",")}


def test_aws_has_what_the_code_uses() -> None:
    aws = load("aws")
    assert listed(aws["locals"]["databases"]) == set(re.findall(r"prefix\(\) }}(spotify\w*)", USED))
    tables = {name: text(key) for name, key in aws["locals"]["tables"].items() if name != "__is_block__"}
    assert tables == aws_resources.TABLES
    assert text(aws["aws_sqs_queue.requests"]["name"]) == ARTIST_QUEUE
    assert text(aws["aws_sqs_queue.dead"]["name"]) == f"{ARTIST_QUEUE}-dead"
    assert text(aws["aws_iam_role.crawler"]["name"]) in USED + (
        ROOT / "plugins/windrow/airflow/operators/athena.py"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("cloud", ["aws", "google"])
def test_its_lines_for_env_are_those_of_the_example(cloud: str) -> None:
    outputs = (ROOT / "deploy/terraform" / cloud / "outputs.tf").read_text(encoding="utf-8")
    example = set(re.findall(r"^# (AIRFLOW_\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    lines = set(re.findall(r"AIRFLOW_(?:CONN|VAR)_\w+", outputs))
    assert len(lines) == 4
    assert lines <= example


def allowed() -> dict[str, set[str]]:
    """Return the actions of the role windrow, by service."""
    statements = json.loads((POLICIES / "windrow.json").read_text(encoding="utf-8"))["Statement"]
    found: dict[str, set[str]] = {}
    for statement in statements:
        for action in statement["Action"]:
            service, _, name = action.partition(":")
            found.setdefault(service, set()).add(name)
    return found


def test_aws_allows_what_the_documentation_names() -> None:
    section = PAGE[PAGE.index("## What to create in AWS") : PAGE.index("## Connections")]
    rows = re.findall(r"^\| (`(athena|dynamodb|s3|sqs):.*?) \|", section, re.MULTILINE)
    assert len(rows) == 5
    for cell, service in rows:
        assert {name.rpartition(":")[2] for name in re.findall(r"`([\w:]+)`", cell)} <= allowed()[service]


@pytest.mark.parametrize(
    ("service", "files"),
    [
        ("dynamodb", ["hooks/dynamodb.py"]),
        ("sqs", ["hooks/sqs.py", "triggers/sqs.py"]),
        ("glue", ["operators/athena.py"]),
        ("athena", ["hooks/athena.py"]),
    ],
)
def test_the_role_may_do_what_the_code_calls(service: str, files: list[str]) -> None:
    model = botocore.session.get_session().get_service_model(service)
    operations = {botocore.xform_name(name): name for name in model.operation_names}
    code = "".join((ROOT / "plugins/windrow/airflow" / file).read_text(encoding="utf-8") for file in files)
    called = {operations[word] for word in re.findall(r"\w+", code) if word in operations}
    assert called
    assert called <= allowed()[service]


def test_each_policy_is_used_by_terraform_and_by_a_command_of_a_page() -> None:
    main = (ROOT / "deploy/terraform/aws/main.tf").read_text(encoding="utf-8")
    readme = (ROOT / "include/functions/top_tracks/README.md").read_text(encoding="utf-8")
    names = {path.stem for path in POLICIES.glob("*.json")}
    lists = listed(re.findall(r"for name in (\[.*?\])", main)[0])
    assert lists | {"trust", "lifecycle"} == names
    assert "/trust.json" in main
    filled = set(re.findall(r"\$\(fill (\w+)", PAGE)) | set(re.findall(r"deploy/aws/(\w+)\.json", PAGE + readme))
    assert filled >= names
    placeholders = set(re.findall(r"\$\{(\w+)\}", "".join(path.read_text() for path in POLICIES.glob("*.json"))))
    assert placeholders == {"account", "bucket", "kind", "prefix", "principal", "region"}
    for name in placeholders:
        assert f"\\${{{name}}}" in PAGE  # what `fill` replaces
