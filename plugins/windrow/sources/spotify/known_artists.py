"""Who a run of `spotify_artists` is about, and what becomes of a name that means nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context, Variable

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.airflow.operators.plan import refuse_unknown
from windrow.harvest.flow import RunDriver
from windrow.model.errors import BadParameter, RateLimited, Unusable, WindrowError
from windrow.sources.spotify.artists import Artist, artist_id_in, look_up
from windrow.sources.spotify.top_tracks import ARTIST_ID, TOP_TRACKS


class KnownArtistsOperator(HarvestStep):
    """Finds out who the run is about: the artists of its param ``artists``, or all that are known.

    Known are those of the Airflow variable, a JSON array of names, ids or addresses, and those that the chatbot's
    table holds. A name is looked up here, once for all streams. One that means nobody, or several, holds up nobody
    else: `RequireAllNamesOperator` fails for it.

    :param conn_id: the Airflow connection of the API.
    :param variable: the variable's name.
    :param aws_conn_id: the Airflow connection of AWS.
    :returns: XComs of these names: ``artists`` (their ids), ``unmet`` (by name, why it means nobody).
    """

    advice = "Nothing was fetched yet. Clear this task with all tasks downstream once the cause is gone."
    template_fields = (*HarvestStep.template_fields, "conn_id", "aws_conn_id")

    def __init__(self, *, conn_id: str, variable: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id
        self.variable = variable
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """List them, and look up the names.

        :raises BadParameter: a param is unknown, or something listed is no artist's; no call was made. Or no name
            means anybody.
        :raises Unusable: none does, and of one the API gives nothing that can be read.
        """
        refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        ids, unmet, trouble = [], {}, None
        for text, meant in self._meant(context, self._listed(context)).items():
            if isinstance(meant, WindrowError):
                self.log.warning("%r is left out: %s", text, meant)
                unmet[text] = meant.what
                trouble = meant if isinstance(meant, Unusable) else trouble
            else:
                ids.append(meant)
        if unmet and not ids:
            raise trouble or BadParameter(
                _told(unmet),
                advice="Mend the names in the Airflow variable or the param, or give ids. Nothing was harvested.",
            )
        return {"artists": list(dict.fromkeys(ids)), "unmet": unmet}

    def _listed(self, context: Context) -> list[str]:
        """Return the names, ids and addresses as they are given."""
        named = context["params"].get("artists")
        if named:
            return list(named)
        listed = Variable.get(self.variable, default=[], deserialize_json=True)
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise BadParameter(
                f"The Airflow variable {self.variable!r} is no list of names or ids.",
                advice='It should look like ["Halden Pike", "4Z8W4fKeB5YxbusRsdQVPb"].',
            )
        asked_for = sorted(item[ARTIST_ID] for item in DynamoTable(self.aws_conn_id, TOP_TRACKS, key=ARTIST_ID).all())
        return [*listed, *asked_for]

    def _meant(self, context: Context, listed: Sequence[str]) -> dict[str, str | WindrowError]:
        """Return the id that each text means, or why it means nobody."""
        given = {text: artist_id_in(text) for text in listed}
        names = [text for text, artist_id in given.items() if artist_id is None]
        looked_up = self._looked_up(context, names) if names else {}
        return {text: artist_id or looked_up[text] for text, artist_id in given.items()}

    def _looked_up(self, context: Context, names: Sequence[str]) -> dict[str, str | WindrowError]:
        """Ask for each name; wait without a slot while the search is closed."""
        with staging(self.mongo_conn_id, self.dataset) as state:
            driver = RunDriver(ApiHook(self.conn_id).client(self.stream, state), state, self.run_of(context))
            try:
                found = driver.run(driver.lead_each(map(look_up, names), tolerated=(BadParameter, Unusable)))
            except RateLimited as limit:
                raise self.deferral(limit) from None
        ids = [one.id if isinstance(one, Artist) else one for one in found]
        return dict(zip(names, ids, strict=True))


class RequireAllNamesOperator(BaseOperator):
    """Fails where a name means nobody, or several, so that the run is red; nothing waits for it.

    :param unmet: by name, why: of `KnownArtistsOperator`.
    """

    advice = "The artists of all other names are harvested. Correct these names, and trigger a new run."
    template_fields = ("unmet",)

    def __init__(self, *, unmet: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unmet = unmet

    def execute(self, context: Context) -> None:
        """Return if there is none.

        :raises BadParameter: naming each, and what to do.
        """
        if self.unmet:
            raise BadParameter(
                _told(self.unmet),
                advice="Mend the names in the Airflow variable or the param, or give ids. The others are harvested.",
            )


def _told(unmet: Mapping[str, str]) -> str:
    """Say in one line who is left out, and why."""
    return f"{len(unmet)} of the artists {'is' if len(unmet) == 1 else 'are'} left out. {' '.join(unmet.values())}"
