"""show_body: record that a person asked to see the body of an answer."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator, Context, Param

from windrow.airflow.hooks.staging import staging_and_status
from windrow.harvest.actions import SHOW_BODY, SHOWN_FOR
from windrow.model.body import ANSWER, QUARANTINE, Place
from windrow.model.errors import BadParameter
from windrow.model.plan import Run
from windrow.store.events import Event


class ShowBodyOperator(BaseOperator):
    """Stores who asked to see which body. The pages then show it to this user for `SHOWN_FOR`; the task reads none.

    :returns: what the body is of, and until when it is shown.
    """

    advice = (
        "No body was shown, and nothing was changed. Fix the cause, then request the body on the Harvest page again."
    )

    def __init__(self, *, mongo_conn_id: str = "mongo_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Store the request as an event of the stream.

        :raises BadParameter: Airflow does not know who asked, or MongoDB has no such body.
        """
        given = context["params"]
        place = Place(Run(str(given["stream"]), str(given["run"])), str(given["key"]), str(given["of"]))
        user = str(getattr(context["dag_run"], "triggering_user_name", None) or "")
        if not user:
            raise BadParameter(
                f"Airflow does not know which user requested the body of {place}, so no user may see it.",
                advice="Request it on the Harvest page, where you are logged in.",
            )
        with staging_and_status(self.mongo_conn_id) as (state, status):
            found = status.find(place.key, [place.run])
            if not any((one.state == "quarantined") == (place.of == QUARANTINE) for one in found):
                raise BadParameter(
                    f"MongoDB has no body of {place}.",
                    advice="Look for the key under Harvest > Find a key. Bodies of older runs are in the archive.",
                )
            now = datetime.now(UTC)
            until = f"{now + SHOWN_FOR:%Y-%m-%d %H:%M:%S} UTC"
            event = Event(place.run.dataset, now, user, SHOW_BODY, str(place), f"until {until}", place.subject)
            state.add_event(event, id_=context["run_id"])
        self.log.info("%s may see the body of %s until %s.", user, place, until)
        return {"what": str(place), "result": f"shown until {until}"}


def body_params() -> dict[str, Param]:
    """Return the params of a DAG with a `ShowBodyOperator`."""

    def text(title: str, description: str) -> Param:
        return Param("", type="string", maxLength=2_000, title=title, description=description)

    return {
        "stream": text("Stream", "Dataset, like shop_orders."),
        "run": text("Run", "Run id of the harvest."),
        "key": text("Key", "Key of the query."),
        "of": Param(
            QUARANTINE,
            enum=[QUARANTINE, ANSWER],
            type="string",
            title="Of",
            description="Whether to show the body in the quarantine, or that of the answer.",
        ),
    }
