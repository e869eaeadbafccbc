"""Check the commands of the pages about clouds, for `make deploy-check`; nothing reaches a cloud.

The shell blocks of a page run in bash, one after the other. Programs of clouds and clusters are replaced by functions
that note how they were called, so variables, loops and quotes are those of the shell. Where gcloud is installed, it
parses what was noted for it: commands, flags and values, without a network.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/clouds.md",
    "deploy/kubernetes/README.md",
    "deploy/terraform/README.md",
    *(f"include/functions/{name}/README.md" for name in ("fetch_passenger", "posts_to_bigquery", "top_tracks")),
)
REPLACED = ("aws", "bq", "docker", "gcloud", "google-oauthlib-tool", "helm", "kubectl", "make", "python", "terraform")
_FIELD, _CALL = "\x1f", "\x1e"


def run(
    page: str, *, folder: Path, replaced: Iterable[str] = REPLACED, environ: Mapping[str, str] | None = None
) -> list[list[str]]:
    """Run the shell blocks of a page and return the calls of the replaced programs.

    :param folder: an empty folder. It gets links to the project's files, an .env, and what the blocks write.
    :param replaced: programs that are noted and not run.
    :param environ: variables beside those of this process.
    :raises RuntimeError: a command failed, or a variable was not set; the error has the end of what was printed.
    """
    text = (ROOT / page).read_text(encoding="utf-8").replace(".venv/bin/google-oauthlib-tool", "google-oauthlib-tool")
    blocks = re.findall(r"^( *)```(?:sh|bash)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n"
    for program in replaced:
        script += f"{program}() {{ printf '%s\\x1f' {program} \"$@\" >&9; printf '\\x1e' >&9; echo {program}-said; }}\n"
    script += "\n".join(re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks)
    for path in ROOT.iterdir():
        if path.name not in {".env", "build"} and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^# (AIRFLOW_(?:CONN|VAR)_\w+)=(.*)$", example, re.MULTILINE))
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    noted = folder / "noted"
    done = subprocess.run(
        ["bash", "-c", f"exec 9>{shlex.quote(str(noted))}\n{script}"],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        input="typed\n" * 10,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{page}: code {done.returncode}: {done.stdout[-2000:]}")
    calls = noted.read_text(encoding="utf-8").split(_CALL)[:-1]
    return [call.split(_FIELD)[:-1] for call in calls]


def refused_by_gcloud(calls: Iterable[list[str]]) -> list[str]:
    """Return what gcloud says of the calls that it cannot parse.

    :raises CalledProcessError: gcloud does not know the command for it.
    """
    asked = [
        {"command_string": text} for text in dict.fromkeys(map(shlex.join, calls))
    ]  # gcloud leaves out repetitions
    with TemporaryDirectory() as folder:
        file = Path(folder, "commands.json")
        file.write_text(json.dumps(asked), encoding="utf-8")
        done = subprocess.run(
            ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
            env={**os.environ, "CLOUDSDK_CONFIG": folder, "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    told = json.loads(done.stdout)
    assert len(told) == len(asked)  # noqa: S101 - none was left out
    return [f"{one['command_string']}: {one['error_message']}".strip() for one in told if not one["success"]]


def main() -> int:
    """Check all pages, print what was checked, and return how many commands are wrong."""
    calls = []
    for page in PAGES:
        with TemporaryDirectory() as folder:
            calls += [call for call in run(page, folder=Path(folder)) if call[0] == "gcloud"]
    for path in (*ROOT.glob("docs/*.md"), *(ROOT / page for page in PAGES)):
        found = re.findall(r"(?<!`)`(gcloud [^`]+)`", path.read_text(encoding="utf-8"))
        calls += [shlex.split(command) for command in found if " -" in command]
    if not shutil.which("gcloud"):
        print(f"not checked: {len(calls)} commands of gcloud, which is not installed")
        return 0
    try:
        wrong = refused_by_gcloud(calls)
    except subprocess.CalledProcessError:  # the command for it is an internal one, which may be gone
        print(f"not checked: {len(calls)} commands of gcloud, which does not lint them any more")
        return 0
    print(*wrong, f"gcloud parsed {len(calls)} commands; {len(wrong)} are wrong", sep="\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
