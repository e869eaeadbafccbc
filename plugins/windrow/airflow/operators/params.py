"""Params that several DAGs use: fields of the trigger form. Each call makes a new one."""

from airflow.sdk import Param

MOST_WORKERS = 64
"""Each of them is a task."""


def harvest(*, workers: int = 1, gaps: int = 0) -> dict[str, Param]:
    """Make the params of every DAG that harvests a plan, with these defaults."""
    return {
        "plan_only": plan_only(),
        "workers": Param(
            workers,
            type="integer",
            minimum=1,
            maximum=MOST_WORKERS,
            title="Workers",
            description="Parallel tasks that make the calls and share the limits of the API. With a pool of tokens, at "
            "most one per owner.",
        ),
        "connections": connections(),
        "max_gaps": max_gaps(gaps),
    }


def connections() -> Param:
    """Maximum concurrent calls, for `HarvestOperator`."""
    return Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=256,
        title="Concurrent calls",
        description="Maximum number of concurrent calls. Empty: the value of the Airflow connection.",
    )


def max_gaps(default: int = 0) -> Param:
    """How many gaps a run accepts, for `ProveOperator`."""
    return Param(
        default,
        type="integer",
        minimum=0,
        title="Accepted gaps",
        description="How many queries the API may answer with 'not found' before the run fails.",
    )


def plan_only() -> Param:
    """Whether a run ends after its plan, for `CostOperator`."""
    return Param(
        False,
        type="boolean",
        title="Plan only",
        description="Only estimate the calls, quota units and hours of the run. The planned calls are not made.",
    )


def day(title: str, description: str) -> Param:
    """An optional date."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def dispatch() -> Param:
    """Whether Airflow or Cloud Tasks makes the calls, for `DispatchOperator`."""
    return Param(
        "airflow",
        enum=["airflow", "cloud_tasks"],
        type="string",
        title="Dispatch",
        description="What makes the calls: an Airflow task, or a Cloud Tasks queue with a Cloud Function.",
    )


def crawl() -> Param:
    """Whether a Glue crawler runs, for `CrawlOperator`."""
    return Param(
        False,
        type="boolean",
        title="Crawl",
        description="Also run a Glue crawler, which finds tables and partitions in the landed files.",
    )
