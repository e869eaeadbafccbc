"""Find the artists of a run of `spotify_artists`, and fail for names without an artist."""

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
    """Finds the artists of the run: those of its param ``artists``, or all known ones.

    Known are those of the Airflow variable, a JSON array of names, ids or addresses, and those in the chatbot's table.
    A name is looked up here, once for all streams. An unknown or ambiguous name, or an invalid address, does not stop
    the others: `RequireAllNamesOperator` fails for it.

    :param conn_id: the Airflow connection of the API.
    :param variable: the variable's name.
    :param aws_conn_id: the Airflow connection of AWS.
    :returns: XComs: ``artists`` (their ids), ``unmet`` (names without an artist, with the reason).
    """

    advice = "Nothing was fetched yet. Fix the cause, then clear this task with all tasks downstream."
    template_fields = (*HarvestStep.template_fields, "conn_id", "aws_conn_id")

    def __init__(self, *, conn_id: str, variable: str, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)
        self.conn_id = conn_id
        self.variable = variable
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, object]:
        """List the artists, and look up the names.

        :raises BadParameter: a param or the variable is invalid; no call was made. Or no artist was found.
        :raises Unusable: no artist was found, and the API's answer about one of them cannot be used.
        """
        refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        ids, unmet, trouble = [], {}, None
        for text, meant in self._meant(context, self._listed(context)).items():
            if isinstance(meant, WindrowError):
                self.log.warning("%r is omitted: %s", text, meant)
                unmet[text] = meant.what
                trouble = meant if isinstance(meant, Unusable) else trouble
            else:
                ids.append(meant)
        if unmet and not ids:
            raise trouble or BadParameter(
                _told(unmet),
                advice="Correct the names in the Airflow variable or the param, or use ids. Nothing was harvested.",
            )
        return {"artists": list(dict.fromkeys(ids)), "unmet": unmet}

    def _listed(self, context: Context) -> list[str]:
        """Return the names, ids and addresses as given."""
        named = context["params"].get("artists")
        if named:
            return list(named)
        listed = Variable.get(self.variable, default=[], deserialize_json=True)
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise BadParameter(
                f"The Airflow variable {self.variable!r} must be a list of names or ids.",
                advice='Set it to a JSON array like ["Halden Pike", "4Z8W4fKeB5YxbusRsdQVPb"].',
            )
        asked_for = sorted(item[ARTIST_ID] for item in DynamoTable(self.aws_conn_id, TOP_TRACKS, key=ARTIST_ID).all())
        return [*listed, *asked_for]

    def _meant(self, context: Context, listed: Sequence[str]) -> dict[str, str | WindrowError]:
        """Return the id for each text, or why there is none."""
        given = {text: artist_id_in(text) for text in listed}
        names = [text for text, artist_id in given.items() if artist_id is None]
        looked_up = self._looked_up(context, names) if names else {}
        return {text: artist_id or looked_up[text] for text, artist_id in given.items()}

    def _looked_up(self, context: Context, names: Sequence[str]) -> dict[str, str | WindrowError]:
        """Look up each name; defer while the quota of the search is used up."""
        with staging(self.mongo_conn_id, self.dataset) as state:
            driver = RunDriver(ApiHook(self.conn_id).client(self.stream, state), state, self.run_of(context))
            try:
                found = driver.run(driver.lead_each(map(look_up, names), tolerated=(BadParameter, Unusable)))
            except RateLimited as limit:
                raise self.deferral(limit) from None
        ids = [one.id if isinstance(one, Artist) else one for one in found]
        return dict(zip(names, ids, strict=True))


class RequireAllNamesOperator(BaseOperator):
    """Fails if a name is unknown or ambiguous, so that the run is marked as failed; no task waits for it.

    :param unmet: the reason by name, from `KnownArtistsOperator`.
    """

    advice = "The artists of all other names are harvested. Correct these names, and trigger a new run."
    template_fields = ("unmet",)

    def __init__(self, *, unmet: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unmet = unmet

    def execute(self, context: Context) -> None:
        """Return if there is no such name.

        :raises BadParameter: the message has all names.
        """
        if self.unmet:
            raise BadParameter(
                _told(self.unmet),
                advice="Correct the names in the Airflow variable or the param, or use ids. The others are harvested.",
            )


def _told(unmet: Mapping[str, str]) -> str:
    """Return one line with the omitted artists, and the reasons."""
    return f"{len(unmet)} of the artists {'is' if len(unmet) == 1 else 'are'} omitted. {' '.join(unmet.values())}"
