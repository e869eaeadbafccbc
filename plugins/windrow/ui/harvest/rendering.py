"""How the Harvest pages are made: templates, their filters, and the policy that browsers get with each page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from windrow.harvest.actions import BODIES, DAG
from windrow.harvest.status.interval import State
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health
from windrow.model.cost import told
from windrow.ui.harvest import snapshots

SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
"""The Content-Security-Policy of these pages: nothing from elsewhere, no inline scripts or styles, no eval."""
LONGEST = 2_000
"""Characters of a parameter."""
AGAIN_SOON_S, _AGAIN_S, AGAIN_IDLE_S = 3, 10, 60
"""After how many seconds a page is read again."""
SHAPES = {
    State.COMPLETE: "complete",
    State.GAPS: "gaps",
    State.INCOMPLETE: "incomplete",
    State.MISSING: "missing",
    State.RUNNING: "running",
    State.WAITING: "waiting",
    State.NOT_DUE: "notdue",
    State.UNKNOWN: "unknown",
    Health.ACTION: "action",
    Health.LATE: "missing",
    Health.INCOMPLETE: "incomplete",
    Health.UNKNOWN: "unknown",
    Health.WAITING: "waiting",
    Health.RUNNING: "running",
    Health.PAUSED: "paused",
    Health.NEW: "notdue",
    Health.COMPLETE: "complete",
    Health.QUOTA: "waiting",
    Health.WARNING: "gaps",
}
"""The shape of each state: colour alone says nothing to some, and nothing on paper."""

User = Annotated[BaseUser, Depends(get_user)]
Text = Annotated[str, Query(max_length=LONGEST)]
Of = Literal["quarantine", "answer"]
"""Where a body is, see `windrow.model.body.Place`."""
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


async def nothing(snapshot: Snapshot, what: str, *, status_code: int = 404) -> HTMLResponse:
    """Say that something is not there, or may not be seen: the two look alike."""
    return await page("nothing", snapshot, what=what, status_code=status_code)


async def page(
    name: str, snapshot: Snapshot, *, status_code: int = 200, again: int | None = None, **context: Any
) -> HTMLResponse:
    """Make a page of the template with this name. After ``again`` seconds it is read again; never with 0."""
    text = await render(name, snapshot, again=again, **context)
    return respond(text, status_code=status_code)


async def render(name: str, snapshot: Snapshot, *, again: int | None = None, **context: Any) -> str:
    """Return the text of a page, see `page`."""
    if again is None:
        again = _AGAIN_S if snapshot.active or snapshot.error else AGAIN_IDLE_S
    template = _templates.get_template(f"{name}.html")
    # 50 streams take 50 ms: in a thread, so that Airflow's heartbeats do not wait for it
    return await snapshots.run(lambda: template.render(page=name, snapshot=snapshot, again=again, **context))


def respond(text: str, *, status_code: int = 200) -> HTMLResponse:
    """Return the text of a page with the headers of all pages."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": SECURITY}
    return HTMLResponse(text, status_code=status_code, headers=headers)


# --- what templates use ------------------------------------------------------------------------


def _link(page: str, **params: str | None) -> str:
    """Return the relative address of a page here. All pages are in one folder, so it works below any path."""
    given = {name: value for name, value in params.items() if value is not None}
    return f"{page or './'}?{urlencode(given, quote_via=quote)}" if given else page or "./"


def _out(*parts: str) -> str:
    """Return the relative address of a page of Airflow, below whatever path it is served."""
    return "../../" + "/".join(quote(part, safe="") for part in parts)


def _number(value: int | float | None) -> str:
    """Write a number; a dash if it is unknown."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _size(octets: int) -> str:
    """Write a number of bytes in the unit that suits it."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if octets >= length:
            return f"{octets / length:,.1f} {unit}"
    return f"{octets} B"


def _time(text: str) -> Mapping[str, str]:
    """Return a time for `<time>`: the machine's form and, until a script writes the viewer's, UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return {"iso": "", "utc": text}
    if "T" not in text and ":" not in text:
        return {"iso": "", "utc": text}  # a date, like a watermark: it has no zone
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return {"iso": at.astimezone(UTC).isoformat(timespec="seconds"), "utc": f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"}


_templates.globals.update(actions_dag=DAG, bodies_dag=BODIES, link=_link, out=_out, State=State, Health=Health)
_templates.filters.update(number=_number, size=_size, moment=_time, told=told, shape=SHAPES.__getitem__)
