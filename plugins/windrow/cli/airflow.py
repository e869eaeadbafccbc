"""The API of an Airflow, and the pages of Windrow in it, with the token of a user: Airflow checks the permissions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from windrow.harvest.actions import DAG
from windrow.model.errors import ApiUnreachable, BadParameter, CredentialsRejected
from windrow.model.redact import blot, know

URL, TOKEN = "WINDROW_AIRFLOW_URL", "WINDROW_AIRFLOW_TOKEN"
_TIMEOUT_S, _LARGEST = 30.0, 100_000_000
_HARVEST = "windrow/harvest/"


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is an error: the token must not follow it."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Airflow:
    """The API of an Airflow, as a user."""

    url: str
    token: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Airflow":
        """Read the address and the token.

        :raises BadParameter: one of them is missing or invalid.
        """
        url, token = environment.get(URL, "").rstrip("/"), environment.get(TOKEN, "")
        if urlsplit(url).scheme not in {"http", "https"} or not token:
            raise BadParameter(
                f"{URL} or {TOKEN} is missing or invalid.",
                advice=f"Set {URL} like https://airflow.example.com, and {TOKEN} to your token for Airflow's API.",
            )
        know(token)
        return cls(url, token)

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return what the API answers, as values. With a body it is a POST.

        :raises CredentialsRejected: Airflow does not accept the token, or the user has no permission.
        :raises BadParameter: Airflow does not know what is asked for, or refuses it.
        :raises ApiUnreachable: Airflow does not answer, or not with JSON.
        """
        may = f"ask for the permission to trigger {DAG} and clear tasks"
        there = f"that the DAG {DAG} is there and not paused"
        try:
            return json.loads(self._send(f"api/v2/{path}", body, may, there))
        except ValueError:
            raise self._silent("invalid JSON") from None

    def look(self, page: str, **params: str) -> bytes:
        """Return the JSON of a read route of the Harvest pages.

        :raises CredentialsRejected: Airflow does not accept the token.
        :raises BadParameter: this Airflow has no such route, or the user may not see what is asked for.
        :raises ApiUnreachable: Airflow does not answer.
        """
        asked = f"?{urlencode(params, quote_via=quote)}" if params else ""
        may, there = "ask for the permission to read DAGs", "that this Airflow has the same version of Windrow"
        return self._send(f"{_HARVEST}{page}{asked}", None, may, there)

    def _send(self, path: str, body: Mapping[str, Any] | None, may: str, there: str) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        request = Request(f"{self.url}/{path}", data, headers | {"Content-Type": "application/json"})  # noqa: S310
        try:
            with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_S) as answer:
                read: bytes = answer.read(_LARGEST + 1)
        except HTTPError as error:
            said = blot(error.read(2_000).decode(errors="replace"))[:300]
            if error.code in {401, 403}:
                raise CredentialsRejected(
                    f"Airflow answered HTTP {error.code}: {said}", advice=f"Set {TOKEN} to a new token, or {may}."
                ) from None
            raise BadParameter(
                f"Airflow answered HTTP {error.code} to {path}: {said}", advice=f"Check {URL}, the names, and {there}."
            ) from None
        except (URLError, OSError, ValueError) as error:
            raise self._silent(type(error).__name__) from None
        if len(read) > _LARGEST:
            raise self._silent(f"the answer has more than {_LARGEST:,} bytes")
        return read

    def _silent(self, why: str) -> ApiUnreachable:
        return ApiUnreachable(f"Airflow did not answer at {self.url}: {why}.", advice=f"Check {URL} and the network.")
