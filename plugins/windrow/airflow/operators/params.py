"""Params that DAGs have in common: fields of the trigger form. Each call makes a new one."""

from airflow.sdk import Param


def connections() -> Param:
    """How many calls are in flight, for `HarvestOperator`."""
    return Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=256,
        title="Calls in flight",
        description="Calls under way at once. Empty: what the Airflow connection of the API says.",
    )


def max_gaps(default: int = 0) -> Param:
    """How many gaps a run accepts, for `ProveOperator`."""
    return Param(
        default,
        type="integer",
        minimum=0,
        title="Accepted gaps",
        description="How many queries the API may answer with 'no such thing' before the run counts as failed.",
    )


def plan_only() -> Param:
    """Whether a run ends with its plan, for `CostOperator`."""
    return Param(
        False,
        type="boolean",
        title="Plan only",
        description="Say how many calls, quota units and hours the run would take, and make none of these calls.",
    )


def day(title: str, description: str) -> Param:
    """A day, or nothing."""
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def dispatch() -> Param:
    """Who makes the calls, for `DispatchOperator`."""
    return Param(
        "airflow",
        enum=["airflow", "cloud_tasks"],
        type="string",
        title="Dispatch",
        description="Who makes the calls: a task of Airflow, or a Cloud Tasks queue with a Cloud Function.",
    )


def crawl() -> Param:
    """Whether a Glue crawler runs, for `CrawlOperator`."""
    return Param(
        False,
        type="boolean",
        title="Crawl",
        description="Let a Glue crawler find tables and partitions of the landing, beside the declared ones.",
    )
