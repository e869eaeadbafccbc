"""What a contributor reads and what CI runs: commands that there are, actions that cannot change, one version."""

import hashlib
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

import windrow

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = [ROOT / ".github/ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]
HOOKS = ROOT / ".pre-commit-config.yaml"
GUIDES = ("README.md", "CONTRIBUTING.md")


def read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def parsed(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(read(path))
    return {"on" if key is True else key: value for key, value in content.items()}  # YAML 1.1 takes `on` for true


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in parsed(path)["jobs"].items():
            yield f"{path.stem}/{name}", job


def steps() -> Iterator[dict[str, Any]]:
    for _, job in jobs():
        yield from job["steps"]


def hooks() -> list[dict[str, Any]]:
    return [hook for repo in parsed(HOOKS)["repos"] for hook in repo["hooks"]]


# --- commands ----------------------------------------------------------------------------------


def targets() -> set[str]:
    """The targets that somebody may call: those that are phony."""
    lines = re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    return {target for line in lines for target in line.split()}


def commands(text: str) -> list[str]:
    """Find the calls of make; each with its arguments, up to the end of the command."""
    return re.findall(r"(?:^|(?<=[\s`=;&|(]))make +[^`#;&|\n]+", text, re.MULTILINE)


def called(command: str) -> list[str]:
    words = re.sub(r"\w+=(\"(?:[^\"\\]|\\.)*\"|\S*)", "", command).split()[1:]
    return [word for word in words if not word.startswith("-")]


def in_markdown(text: str) -> str:
    """What is set as code: blocks and words between backticks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`(make [^`\n]+)`", text)])


def callers() -> Iterator[tuple[str, str]]:
    yield ".ci/run", read(".ci/run")
    yield HOOKS.name, "\n".join(hook["entry"] for hook in hooks())
    yield "workflows", "\n".join(step.get("run", "") for step in steps())
    yield from ((guide, in_markdown(read(guide))) for guide in GUIDES)


@pytest.mark.parametrize(("where", "text"), list(callers()), ids=lambda value: value if len(value) < 20 else "")
def test_each_target_that_is_called_is_one(where: str, text: str) -> None:
    found = [target for command in commands(text) for target in called(command)]

    assert found
    assert set(found) - targets() == set(), where


def test_calls_are_found_as_they_are_written() -> None:
    text = 'make quick\n- run: A=b make test T="a b" K=c  # why\nexec make demo && make down; x=$(make -s help)'

    assert [called(command) for command in commands(text)] == [["quick"], ["test"], ["demo"], ["down"], ["help)"]]
    assert called("make setup quick PYTHON=python") == ["setup", "quick"]
    assert commands("makes nothing, and cmake x") == []


def test_the_tests_that_are_named_are_there() -> None:
    values = [value for _, text in callers() for value in re.findall(r"\bT=(\"[^\"]*\"|\S+)", text)]
    named = [path for value in values for path in value.strip('"').split()]

    assert len(named) >= 4
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_ci_runs_quick_integrity_and_the_whole_suite() -> None:
    runs = [step["run"] for step in steps() if "run" in step]

    assert ".ci/run" in runs
    assert {
        "quick",
        "integrity",
        "test",
        "fresh",
        "deploy-check",
        "deploy-test",
        "bench-check",
        "chaos",
        "test-fab",
    } == {target for run in runs for command in commands(run) for target in called(command)}


# --- workflows ---------------------------------------------------------------------------------


def check(schema: str, path: Path) -> str:
    return CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, str(path)]).output


@pytest.mark.parametrize(
    ("schema", "path"),
    [("vendor.github-workflows", path) for path in WORKFLOWS]
    + [("vendor.github-issue-forms", path) for path in FORMS]
    + [("vendor.github-issue-config", ROOT / ".github/ISSUE_TEMPLATE/config.yml")],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_it_follows_the_schema(schema: str, path: Path) -> None:
    assert "ok -- validation done" in check(schema, path)


def test_each_action_is_pinned_to_a_commit_and_names_its_version() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    lines = re.findall(r"uses: (.*)$", "\n".join(read(path) for path in WORKFLOWS), re.MULTILINE)

    assert len(used) == len(lines) >= 5
    assert [line for line in lines if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert len(set(lines)) == 2, "checkout and setup-python, each at one version"


def test_no_workflow_may_write_or_run_for_hours() -> None:
    for path in WORKFLOWS:
        assert parsed(path)["permissions"] == {"contents": "read"}, path.name
        assert "concurrency" in parsed(path), path.name
    assert [name for name, job in jobs() if "permissions" in job or not 0 < job["timeout-minutes"] <= 60] == []
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_quick_runs_on_each_python_and_on_all_of_it() -> None:
    job = dict(jobs())["ci/quick"]

    assert job["strategy"]["matrix"] == {"python": ["3.11", "3.12", "3.13"]}
    assert "${{ matrix.python }}" in [step.get("with", {}).get("python-version") for step in job["steps"]]
    runs = [command for step in job["steps"] for command in commands(step.get("run", ""))]
    assert all("PYTHON=python" in command for command in runs)


def test_the_real_stores_are_those_that_the_tests_are_told_of() -> None:
    job = dict(jobs())["ci/real-stores"]
    compose = yaml.safe_load(read("docker-compose.yaml"))["services"]

    matrix = job["strategy"]["matrix"]
    assert [image.partition(".")[0] for image in matrix["mongo"]] == ["mongo:7", "mongo:8"]
    assert compose["mongo"]["image"].partition("$")[0] in matrix["mongo"]
    assert matrix["replicas"] == ["", "rs0"], "alone, and as a replica set"
    assert job["services"]["redis"]["image"].startswith("redis:")
    start = next(step for step in job["steps"] if step.get("name") == "Start MongoDB")
    assert "--publish 127.0.0.1:27017:27017 " in start["run"]  # elsewhere the tests refuse to go
    assert job["env"]["MONGO_URL"].startswith("mongodb://127.0.0.1:27017/${{ matrix.replicas && '?replicaSet=rs0")
    (port,) = job["services"]["redis"]["ports"]
    assert job["env"]["REDIS_URL"].endswith(f"//127.0.0.1:{port.split(':')[0]}")
    run = job["steps"][-1]["run"]
    files = [read(path) for path in re.findall(r"tests/\S+\.py", run)]
    assert any("Staging" in text for text in files)
    assert any("REDIS_URL" in text for text in files)


def test_deploy_test_runs_when_what_it_tests_has_changed() -> None:
    on = parsed(ROOT / ".github/workflows/deploy-test.yml")["on"]

    assert on["push"]["paths"] == on["pull_request"]["paths"]
    assert {"deploy/**", "docker-compose.yaml", "requirements.txt"} <= set(on["push"]["paths"])
    assert "workflow_dispatch" in on


# --- hooks -------------------------------------------------------------------------------------


def test_hooks_are_of_the_projects_own_environment() -> None:
    assert [repo["repo"] for repo in parsed(HOOKS)["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks()} == {"system"}
    programs = {hook["entry"].split()[0] for hook in hooks()}
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy", "make"}
    assert all((ROOT / program).is_file() for program in programs - {"make"})


# --- licence and version -----------------------------------------------------------------------


def test_the_licence_is_the_official_text() -> None:
    """As Google ships it with its client: the text of apache.org, whole and unchanged."""
    licences = [file for file in distribution("google-cloud-bigquery").files or [] if file.name == "LICENSE"]
    (official,) = [licence.read_binary() for licence in licences]

    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).digest() == hashlib.sha256(official).digest()
    assert b"APPENDIX: How to apply the Apache License to your work." in official


def test_the_notice_names_all_files_of_others() -> None:
    vendored = [path.relative_to(ROOT) for path in (ROOT / "plugins").rglob("vendor/*") if path.suffix != ".txt"]

    assert len(vendored) == 2
    assert [path for path in vendored if str(path) not in read("NOTICE")] == []


def test_the_newest_version_in_the_changelog_is_the_version() -> None:
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(windrow.__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_readme_leads_to_what_a_contributor_needs() -> None:
    files = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "NOTICE")

    assert all((ROOT / file).is_file() and f"({file})" in read("README.md") for file in files)


@pytest.mark.parametrize("guide", [*GUIDES, "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_to_files(guide: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read(guide))

    assert [link for link in links if not (ROOT / link).exists()] == []


# --- make deploy-test --------------------------------------------------------------------------


def test_without_an_engine_deploy_test_says_what_to_do(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    docker.chmod(0o755)

    told = subprocess.run(
        [ROOT / "deploy/test.sh"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 2
    assert told.stdout == ""
    assert re.fullmatch(r"make deploy-test needs a running Docker engine .*: install Docker.*\n", told.stderr)
