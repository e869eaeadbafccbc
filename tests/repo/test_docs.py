"""What documents say of the code: files that they name are there, and links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "plugins/windrow"
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "model|http|store|harvest|landing|airflow|sources|ui|cli"


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(text: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = text.parent / path if path else text
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_files_of_the_library_that_are_named_are_there(text: Path) -> None:
    named = re.findall(rf"`(?:plugins/windrow/)?((?:{FOLDERS})/[\w/]*(?:\.py)?)`", text.read_text(encoding="utf-8"))
    assert [path for path in named if not (LIBRARY / path).exists()] == []


def test_each_term_of_the_glossary_has_a_sentence_and_a_place() -> None:
    rows = re.findall(
        r"^\| (?!term|---)(.+) \|$", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    terms = [row.split(" | ") for row in rows]
    assert len(terms) > 40
    assert all(len(term) == 3 and term[1].endswith(".") and term[2] for term in terms)
    names = [term[0].lower() for term in terms]
    assert names == sorted(set(names)), "each once, in the order of the alphabet"
    classes = {name for term in terms for name in re.findall(r"`([A-Z]\w+)`", term[2])}
    code = "".join(path.read_text(encoding="utf-8") for path in LIBRARY.rglob("*.py"))
    assert [name for name in classes if f"class {name}" not in code and f"\n{name} = " not in code] == []


def test_the_page_of_costs_has_the_table_of_its_script() -> None:
    spec = importlib.util.spec_from_file_location("costs", ROOT / "docs/costs.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run .venv/bin/python docs/costs.py"
