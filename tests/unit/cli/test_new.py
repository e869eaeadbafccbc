"""`windrow new`, `windrow record`, and tests that replay what was recorded."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_api import Reply, ScriptedApi
from tests.unit.cli.conftest import EXAMPLES, KEY
from windrow.declare.files import load
from windrow.testing import Recording, replay

ROOT = Path(__file__).resolve().parents[3]


def test_what_new_writes_passes_and_is_formatted(windrow: Any, folder: Path):
    code, shown = windrow("new", "shop_orders")
    assert code == 0, shown
    files = ["dags/shop_orders.py", "tests/sources/shop_orders.json", "tests/sources/test_shop_orders.py"]
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == files
    assert len(replay("dags/shop_orders.py", "tests/sources/shop_orders.json")) == 3
    assert "assert len(records) == 3" in (folder / "tests/sources/test_shop_orders.py").read_text()
    for check in (["format", "--check"], ["check"]):
        ruff = [Path(sys.executable).with_name("ruff"), *check, "--config", ROOT / "pyproject.toml", "dags", "tests"]
        checked = subprocess.run(ruff, cwd=folder, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
    source = (folder / files[0]).read_text().splitlines()
    assert len([line for line in source if line.strip()]) <= 60


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ShopOrders", "Did you mean 'shop_orders'?"),
        ("shop-orders", "Did you mean 'shop_orders'?"),
        ("orders", "Did you mean 'orders_records'?"),
        ("../evil_x", "Did you mean 'evil_x'?"),
        ("titanic_passengers", "The dataset 'titanic_passengers' exists."),
    ],
)
def test_a_wrong_name_gets_the_nearest(windrow: Any, folder: Path, name: str, line: str):
    code, shown = windrow("new", name)
    assert (code, shown.count("\n"), line in shown) == (2, 1, True), shown
    assert list(folder.iterdir()) == []


def test_new_changes_no_file_and_leaves_none_half_written(windrow: Any, folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "tests").write_text("in the way")
    code, shown = windrow("new", "shop_orders")
    assert (code, shown.count("\n")) == (2, 1), shown
    (folder / "tests").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", lambda path, text: (_ for _ in ()).throw(KeyboardInterrupt))
        assert windrow("new", "shop_orders")[0] == 130
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert windrow("new", "shop_orders")[0] == 0
    code, shown = windrow("new", "shop_orders")
    assert (code, "dags/shop_orders.py exists" in shown) == (2, True)


def test_record_scrubs_and_a_test_replays(windrow: Any, scripted: ScriptedApi, folder: Path):
    code, shown = windrow("record", str(EXAMPLES / "desk_tickets.py"), "--scrub", "name", "--scrub", "e_mail")
    assert code == 0, shown
    assert "scrubbed: name" in shown
    assert "not found, so not scrubbed: e_mail" in shown
    text = (folder / "tests/sources/desk_tickets.json").read_text()
    assert KEY not in text
    assert "Ann" not in text
    recording = Recording.read(folder / "tests/sources/desk_tickets.json")
    assert (len(recording.calls), recording.is_cut) == (2, True)
    found = replay(EXAMPLES / "desk_tickets.py", recording)
    assert (len(found), found[0]["ticket_id"], found[39]["_extra"]) == (
        40,
        "T-00001",
        '{"requester":{"name":"scrubbed"}}',
    )
    (declared,) = load(EXAMPLES / "desk_tickets.py")
    stream = declared.stream
    with pytest.raises(AssertionError, match="recorded calls that are not made"):
        replay(type("Other", (stream,), {"dataset": "desk_other", "post": "/v3/tickets"}), recording)


def test_record_removes_secrets_in_answers(windrow: Any, scripted: ScriptedApi, folder: Path):
    row = {
        "id": "T-1", "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z", "deleted": False,
        "access_token": "s3cr3t-of-another", "requester": {"id": 77, "name": ["Ann", {"first": "Ann"}]},
        "echo": f"your key was {KEY}",
    }  # fmt: skip
    scripted.answers(Reply({"results": [row], "next_cursor": None}, headers={"Set-Cookie": "session=abc"}))
    source = (EXAMPLES / "desk_tickets.py").read_text()
    (folder / "desk.py").write_text(source.replace('"limit": 20', f'"limit": 20, "key": "{KEY}"'))
    assert windrow("record", "desk.py", "--scrub", "name", "--scrub", "id")[0] == 0
    text = (folder / "tests/sources/desk_tickets.json").read_text()
    for secret in ("s3cr3t", "Ann", KEY, "session", '"id": 77', "T-1"):
        assert secret not in text, secret
    assert json.loads(text)["is_cut"] is False


def test_a_file_that_is_no_recording(tmp_path: Path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(Exception, match=r"is not a recording.*windrow record"):
        replay(EXAMPLES / "desk_tickets.py", tmp_path / "x.json")


def test_a_shell_completes_commands_and_options() -> None:
    def completed(line: str) -> list[str]:
        asked = subprocess.run(
            ["/bin/bash", "-c", f"{ROOT}/bin/windrow 8>&1 9>/dev/null >/dev/null 2>&1"], capture_output=True, text=True,
            check=False, env={
                "PATH": "/usr/bin:/bin", "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line,
                "COMP_POINT": str(len(line)), "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            },
        )  # fmt: skip
        return asked.stdout.split("\n")

    assert {one.strip() for one in completed("windrow plan --c")} == {"--calls", "--conn-id"}
