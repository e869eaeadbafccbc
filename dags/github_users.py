"""### GitHub: contributors, stargazers and forks of chosen repositories

Lists contributors, stargazers and forks, fetches each user once, and updates the dataset `github` in BigQuery.

| task | does | safe to clear |
|---|---|---|
| `estimate` | finds the repositories, estimates calls and hours for both APIs; with `plan_only` the run ends | yes |
| `discover` | lists page by page; writes the plan to MongoDB, and passes it to the workers through Redis | yes |
| `workers`, `fetch` | parallel tasks, each with its own tokens, fetch the users from Redis | yes |
| `sweep` | makes the calls that are missing, usually none | yes; it fetches no user twice |
| `list_members` | makes the plan of the members from the same pages, without new calls | yes |
| `users.*`, `members.*` | write Parquet; load, check and merge a landing table of this run; count again | yes |
| `check`, marts | check for duplicates; companies and places, overlap, growth of stars | yes |

If the hourly limit of all tokens is used up, a task *defers* and continues automatically. Deleted users are gaps, up
to `max_gaps`; so are pages and repositories that GitHub does not return, up to `max_missing_pages` (docs/github.md).
Clear a task *with all tasks downstream*. If a task failed, the last line of its log says what to do.
"""

from datetime import timedelta

from airflow.providers.google.cloud.operators.bigquery import BigQueryCheckOperator
from airflow.sdk import Asset, CronTriggerTimetable, Param, TaskGroup, chain, dag, task

from windrow.airflow.operators import params
from windrow.airflow.operators.bigquery import SqlFileOperator
from windrow.airflow.operators.defaults import TASK_DEFAULTS, TEMPLATES
from windrow.airflow.operators.discover import DiscoverOperator
from windrow.airflow.operators.estimate import EstimateOperator
from windrow.airflow.operators.fetch import FetchOperator
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.land import LandOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.airflow.operators.prove import ProveOperator
from windrow.airflow.operators.warehouse import load_and_merge
from windrow.sources.github.lists import LISTS
from windrow.sources.github.streams import GithubStream, Memberships, Users

BUCKET = "{{ var.value.windrow_bucket }}"
RUN = "dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}"
SQL = "bigquery/github"
DEFAULTS = {"repositories": "{{ var.value.get('windrow_github_repositories', '[]') }}"}
LISTING = {"conn_id": "github", "defaults": DEFAULTS}
ASKING = {"conn_id": "github", "connections": "{{ params.connections }}", "execution_timeout": None}  # TASK_DEFAULTS


@dag(
    # without a start date, and with no past run wanted, a DAG that is switched on waits for its next Monday
    schedule=CronTriggerTimetable("0 3 * * 1", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["harvest", "github", "bigquery"],
    doc_md=__doc__,
    default_args=TASK_DEFAULTS,
    params={
        "repositories": Param(None, type=["null", "array"], items={"type": "string"}, title="Repositories",
                              description="owner/name, one per line. Empty: the variable windrow_github_repositories."),
        "lists": Param(list(LISTS), type="array", items={"enum": list(LISTS)}, title="Lists",
                       description="Which lists of each repository to read."),
        "api": Param("rest", type="string", enum=["rest", "graphql"], title="API for stargazers",
                     description="graphql: 100 users with details per point, but without their counts."),
        **params.harvest(workers=2, gaps=100),
        "max_missing_pages": Param(0, type="integer", minimum=0, title="Accepted missing pages",
                                   description="How many list pages and repositories GitHub may not return."),
    },
    **TEMPLATES,
)  # fmt: skip
def github_users() -> None:  # noqa: D103 - the module's text is the DAG's
    estimate = EstimateOperator(task_id="estimate", dataset=Users.dataset, **LISTING)
    discover = DiscoverOperator(task_id="discover", dataset=Users.dataset, **LISTING)
    workers = task(task_id="workers")(_numbers)()
    fetch = FetchOperator.partial(
        task_id="fetch", dataset=Users.dataset, workers="{{ params.workers }}", discover="discover", **ASKING
    ).expand(worker=workers)
    sweep = HarvestOperator(task_id="sweep", dataset=Users.dataset, **ASKING)
    list_members = PlanOperator(task_id="list_members", dataset=Memberships.dataset, **LISTING)
    users = _into_bigquery("users", Users, accepted="max_gaps")
    members = _into_bigquery("members", Memberships, accepted="max_missing_pages")

    chain(estimate, [discover, workers])
    chain([discover, fetch], sweep, users)
    chain(discover, list_members, members)

    check = BigQueryCheckOperator(task_id="check", sql=f"{SQL}/memberships/check.sql", use_legacy_sql=False)
    marts = [
        SqlFileOperator(task_id=f"mart_{mart}", path=f"{SQL}/{mart}/query.sql")
        for mart in ("companies", "overlap", "stars_by_week")
    ]
    chain([users, members], check, marts)


def _numbers(params: dict[str, int]) -> list[int]:
    """Number the workers."""
    return list(range(params["workers"]))


def _into_bigquery(group: str, stream: type[GithubStream], *, accepted: str) -> TaskGroup:
    """Land the harvest, load, check and merge it, and compare the counts, except for accepted gaps."""
    table = f"{SQL}/{stream.dataset.removeprefix('github_')}"
    landed = {"dataset": stream.dataset, "to": f"gs://{BUCKET}", "prefix": f"github/{group}/{RUN}"}
    with TaskGroup(group) as tasks:
        land = LandOperator(task_id="land", **landed)
        prove = ProveOperator(
            task_id="prove", sql=f"{table}/prove.sql", max_gaps=f"{{{{ params.{accepted} }}}}",
            outlets=[Asset(stream.dataset)], **landed,
        )  # fmt: skip
        chain(land, *load_and_merge(stream, land, bucket=BUCKET, sql=table), prove)
    return tasks


github_users()
