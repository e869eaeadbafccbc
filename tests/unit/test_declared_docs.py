"""The page about declared sources: its example is a valid declaration, and it names every setting."""

import re
from datetime import timedelta
from pathlib import Path

from windrow.declare.stream import Declared
from windrow.model.cost import Budget
from windrow.model.table import Write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "declared-sources.md").read_text(encoding="utf-8")


def test_the_example_is_a_valid_declaration():
    code, *others = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (with_budget,) = [one for one in others if "budget" in one]
    declaration, _, _ = code.partition("\n\ndag = ")
    names: dict[str, object] = {}
    exec(declaration.replace("from windrow.airflow.dags import harvest_dag\n", ""), names)  # noqa: S102 - our own page
    assert names["Orders"].table.key == ("order_id",)  # type: ignore[attr-defined]
    names |= {"harvest_dag": lambda *_, **given: given["budget"], "Budget": Budget, "timedelta": timedelta}
    exec(with_budget, names)  # noqa: S102


def test_every_setting_and_write_mode_is_explained():
    settings = {name for name in vars(Declared).get("__annotations__", {}) if not name.startswith("_")}
    assert {name for name in settings if f"`{name}`" not in PAGE} == set()
    assert {mode.name for mode in Write if f"`Write.{mode.name}`" not in PAGE} == set()
