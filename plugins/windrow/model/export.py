"""An export job as data: the API writes the rows to a file, and says where it is.

The query of the plan starts the job. Its answer has the id of the job, which is stored before anything else happens: a
task that is killed does not start a second job. The state is then requested until the job has ended, and the file is
downloaded from a storage host that the connection allows, without the credential of the API.
"""

from dataclasses import dataclass
from urllib.parse import quote

from windrow.model.errors import Unreadable
from windrow.model.paging import at
from windrow.model.query import Query


@dataclass(frozen=True, slots=True)
class ExportJob:
    """How to run a job. Paths of fields have dots, like ``job.id``.

    :param status: path of the call that returns the state, with ``{job}`` for the id, like ``/exports/{job}``.
    :param job: path of the id in the answer that starts the job.
    :param state: path of the state in the answer to ``status``.
    :param done: states of a job whose file can be downloaded.
    :param failed: states of a job that has no file. Any other state is that of a job which is not finished.
    :param url: path of the URL of the file, or of a list of URLs.
    :param poll_s: seconds between two calls of ``status``.
    :param most_s: seconds after which a job is given up.
    """

    status: str
    job: str = "id"
    state: str = "status"
    done: tuple[str, ...] = ("completed",)
    failed: tuple[str, ...] = ("failed",)
    url: str = "url"
    poll_s: float = 30.0
    most_s: float = 6 * 3600.0

    def __post_init__(self) -> None:
        if "{job}" not in self.status:
            raise ValueError(
                f"ExportJob: status must have {{job}} for the id, like /exports/{{job}}, not {self.status!r}"
            )

    def status_query(self, query: Query, started: object) -> Query:
        """Return the query for the state of the job that this answer to the query of the plan has started.

        :raises Unreadable: the answer has no id.
        """
        job = at(started, self.job)
        if not isinstance(job, str | int) or isinstance(job, bool) or job == "":
            raise Unreadable(f"the id of the export job at {self.job!r} must be a string, not {job!r:.60}")
        return Query.of(self.status.format(job=quote(str(job), safe="")), cost=query.cost, headers=dict(query.headers))

    def state_of(self, status: object) -> str:
        """Return the state of the job.

        :raises Unreadable: the answer has none.
        """
        state = at(status, self.state)
        if not isinstance(state, str) or not state:
            raise Unreadable(f"the state of the export job at {self.state!r} must be a string, not {state!r:.60}")
        return state

    def urls(self, status: object) -> list[str]:
        """Return the URLs of the files of a job that is done. The list is empty if the job has no rows.

        :raises Unreadable: the answer has none.
        """
        found = at(status, self.url)
        urls = found if isinstance(found, list) else [found]
        if not all(isinstance(url, str) and url.lower().startswith(("https://", "http://")) for url in urls):
            raise Unreadable(f"the export job is done, but {self.url!r} is not a URL, or a list of URLs")
        return urls
