"""Runs all tasks of a DAG in this process, over real connections, with what Airflow gives to a task."""

import importlib.util
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from airflow.sdk import DAG, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped
from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor


def load(path: Path) -> ModuleType:
    """Import a DAG file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class AssetStates:
    """The state stores of assets, which all runs share."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, str]] = {}

    def __getitem__(self, asset: Any) -> Any:
        state = self.values.setdefault(asset.name, {})
        return SimpleNamespace(get=state.get, set=state.__setitem__)


class DagRun:
    """One run of a DAG.

    :param run_type: how it was made: manual, scheduled or backfill.
    :param states: shared by the runs of a test.
    :param ended: called after each task with the task and its instance.
    :param params: those of the trigger.
    """

    def __init__(
        self,
        dag: DAG,
        run_id: str,
        *,
        at: datetime,
        run_type: str = "manual",
        states: AssetStates | None = None,
        ended: Callable[[Any, Any], None] = lambda task, instance: None,
        **params: Any,
    ) -> None:
        self.dag = dag
        self.results: dict[str, Any] = {}
        self.pushed: dict[tuple[str, str], Any] = {}
        """XComs by task and key, but for results."""
        self.skipped: set[str] = set()
        self.states = states or AssetStates()
        self.ended = ended
        at = at.astimezone(UTC)
        run = SimpleNamespace(
            dag_id=dag.dag_id, run_id=run_id, conf=params, logical_date=at, run_after=at, start_date=at,
            run_type=SimpleNamespace(value=run_type), data_interval_start=at, data_interval_end=at,
        )  # fmt: skip
        events: dict[Any, Any] = {}
        self.context: dict[str, Any] = {
            "dag": dag, "run_id": run_id, "dag_run": run, "logical_date": at, "ds": f"{at:%Y-%m-%d}",
            "params": {**{name: getattr(param, "value", param) for name, param in dag.params.items()}, **params},
            "ti": SimpleNamespace(
                task_id="", dag_id=dag.dag_id, run_id=run_id, map_index=-1, try_number=1, xcom_pull=self._pull,
                xcom_push=self._push,
            ),
            "var": {"value": VariableAccessor(deserialize_json=False), "json": VariableAccessor(deserialize_json=True)},
            "conn": ConnectionAccessor(), "asset_state_store": self.states, "outlet_events": _Events(events),
        }  # fmt: skip

    def run(self, *only: str) -> dict[str, Any]:
        """Run all tasks in order, or only these; return what they return. A mapped task returns a list."""
        chosen = [task for task in self.dag.topological_sort() if not only or task.task_id in only]
        self.skipped.difference_update(task.task_id for task in chosen)
        for task in chosen:
            if task.task_id in self.skipped or self._is_skipped(task):
                self.skipped.add(task.task_id)
            elif task.is_mapped:
                (upstream,) = task.iter_mapped_dependencies()
                indexes = range(len(self.results[upstream.task_id]))
                self.results[task.task_id] = [self._execute(task, index) for index in indexes]
            else:
                self._settle(task)
        return self.results

    def _is_skipped(self, task: Any) -> bool:
        above = task.upstream_task_ids
        if task.trigger_rule == TriggerRule.ALL_DONE:
            return False
        if task.trigger_rule == TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS:
            return bool(above) and above <= self.skipped
        assert task.trigger_rule == TriggerRule.ALL_SUCCESS
        return not self.skipped.isdisjoint(above)

    def _settle(self, task: Any) -> None:
        """Run a task, which may skip itself or those that follow."""
        try:
            self.results[task.task_id] = self._execute(task)
        except AirflowSkipException:
            self.skipped.add(task.task_id)
        except DownstreamTasksSkipped as skip:
            self.skipped.update(one if isinstance(one, str) else one[0] for one in skip.tasks)

    def _execute(self, task: Any, map_index: int = -1) -> Any:
        own = task.prepare_for_execution()
        self.context["task"] = own
        vars(self.context["ti"]).update(task=own, task_id=own.task_id, map_index=map_index)
        own.render_template_fields(self.context)  # of a mapped task, it puts the one of this index into the context
        result = self.context["task"].execute(self.context)
        self.ended(self.context["task"], self.context["ti"])
        return result

    def _pull(self, task_ids: Any = None, key: str = "return_value", **_: Any) -> Any:
        task_id = task_ids if isinstance(task_ids, str) else task_ids[0]
        if (task_id, key) in self.pushed:
            return self.pushed[task_id, key]
        result = self.results[task_id]
        return result if key == "return_value" else result[key]

    def _push(self, key: str, value: Any) -> None:
        if key == "return_value":
            self.results[self.context["ti"].task_id] = value
        else:
            self.pushed[self.context["ti"].task_id, key] = value


class _Events(dict[Any, Any]):
    def __missing__(self, key: Any) -> Any:
        self[key] = SimpleNamespace(extra={})
        return self[key]
