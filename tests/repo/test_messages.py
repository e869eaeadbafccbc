"""Messages are in plain English: none has a phrase of the idiom that this project was once written in."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("plugins/windrow", "dags", "include/functions", "local_cloud")
IDIOM = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(is|are|with) no (address|text|number|id|list|JSON|object|release|date|name|token|request|push|plan)\b",
        r"\bthat (is|are) (none|one|no \w+)\b",
        r"\bcannot be (meant|had)\b",
        r"\bmend(s|ed)?\b",
        r"\bdo(es)? not do its part\b",
        r"\bknows? (no|of no|none)\b",
        r"\bturn(s|ed)? (\w+ )?(down|away)\b",
        r"\bno more\b(?! (than|calls|queries|posts))",
        r"\bnobody\b|\bsomebody\b|\bwhoever\b",
        r"\b(is|are) (not )?told\b|\btells? (more|of)\b",
        r"\b(names|lacks|holds) (a|an|no|two|one|its)\b",
        r"\bthe (last|most|least) (of|that) (is|are)\b",
        r"\bstands? (in|by|where)\b|\bbears? with\b|\bspeaks?\b",
        r"\bgoes on\b|\bgo on by itself\b|\bonce the cause is gone\b",
        r"\bshould (be|look like|have)\b",
        r"\bone a line\b|\banew\b",
        r"\bhas fewer? .* than\b.*\bnone is left\b",
        r"\bworth (a|another) (try|look)\b",
        r"\bby name of\b|\bof its own\b|\bleaves? the pool\b",
        r"\bThere (is|are) no (such|connection|bucket|board|subscription|Airflow|function|quota|field|time zone)\b",
    )
)


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages", ROOT / "docs" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _idiom(text: str) -> str | None:
    return next((found[0] for pattern in IDIOM if (found := pattern.search(text))), None)


def test_no_message_needs_a_second_reading() -> None:
    messages = _script().messages
    found = [
        f"{path.relative_to(ROOT)}:{line}: '{phrase}' in: {text}"
        for path in _files()
        for line, text in messages(path)
        if (phrase := _idiom(text))
    ]
    assert not found, "write these as the documentation of Airflow would:\n" + "\n".join(found)


def test_no_documentation_of_a_dag_needs_a_second_reading() -> None:
    docs = {path.name: ast.get_docstring(ast.parse(path.read_text())) or "" for path in (ROOT / "dags").glob("*.py")}
    found = {name: phrase for name, doc in docs.items() if (phrase := _idiom(doc))}
    assert docs
    assert not found


def test_env_example_needs_no_second_reading() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    prose = " ".join(line.removeprefix("#").strip() for line in lines if not re.match(r"# [A-Z_]+=", line))
    assert _idiom(prose) is None


@pytest.mark.parametrize(
    "text",
    [
        "MongoDB does not do its part: AutoReconnect",
        "The Airflow connection 'shop' has a host that is no address.",
        "The Airflow connection 'shop' has a quota that cannot be meant: units",
        "The API 'shop' turns down every token of the pool: it has none.",
        "Mend the SQL file, or the table that it names; then clear this task.",
        "X knows no such path",
        "The queue windrow is PAUSED: nothing happens until somebody resumes it.",
        "X_API_URL is no address.",
        "names must be a list of texts; it begins 5. It should look like this",
        "There is no bucket 'nowhere'.",
    ],
)
def test_the_idiom_is_found(text: str) -> None:
    assert _idiom(text)


@pytest.mark.parametrize(
    "text",
    [
        "MongoDB operation failed: AutoReconnect",
        "X_API_URL is not a valid URL.",
        "The Airflow connection 'shop' has no host.",
        "The API 'shop' did not answer 'items?page=1' in 8 attempts. Last response: HTTP 503",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert _idiom(text) is None
