"""List what users may read, a line each with its place: `make messages` writes build/messages.txt.

It finds the texts of errors with their advice, log lines, and the titles and descriptions of params. A value that is
put in is shown as `{name}`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("plugins", "dags", "include/functions", "local_cloud")
STAND_INS = {"apis", "emulators"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
NAMED = {"advice", "description", "title", "remedy"}
WORDS = re.compile(r"[a-zA-Z]{2}\S* \S*[a-zA-Z]{2}")
CALLS = {"say", "warn", "print", "_unusable", "HTTPException"}


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in LEVELS | CALLS or name.endswith("Exception") or name[:1].isupper():
                texts += node.args
            texts += [word.value for word in node.keywords if word.arg in NAMED]
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "advice" for target in node.targets):
            texts.append(node.value)
        for text in texts:
            if WORDS.search(line := " ".join(_text(text).split())):
                yield text.lineno, line


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
        case ast.IfExp(body=one, orelse=other):
            return f"{_text(one)} / {_text(other)}"
    return ""


def main() -> int:
    """Write the list; return the exit code."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not STAND_INS & {*path.parts}]
    lines = sorted({f"{path.relative_to(ROOT)}:{line}: {text}" for path in files for line, text in messages(path)})
    target = ROOT / "build" / "messages.txt"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} messages in {target.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
