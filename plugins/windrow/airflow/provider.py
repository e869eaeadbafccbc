"""What Airflow's connection form shows for connections of type Windrow API."""

from typing import Any

from windrow import __version__
from windrow.connect.fields import COMMON, FIELDS, KINDS, STANDARD, Field


def provider_info() -> dict[str, Any]:
    """Return the connection type, in the format of Airflow's providers.

    The entry point in ``plugins/windrow.dist-info`` names this function. Airflow finds it if the plugins folder is on
    PYTHONPATH, without an installed package.
    """
    kinds = "; ".join(f"{name}: {', '.join(kind.fields) or 'no fields'}" for name, kind in KINDS.items())
    auth = Field(
        "Auth", f"kind of auth, and the fields that it uses. {kinds}. See docs/connections.md", choices=tuple(KINDS)
    )
    extra = {name: field for name, field in FIELDS.items() if name not in STANDARD}
    return {
        "package-name": "windrow",
        "name": "Windrow",
        "description": "HTTP APIs for harvests.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "windrow",
                "hook-class-name": "windrow.airflow.hooks.api.ApiHook",
                "hook-name": "Windrow API",
                "ui-field-behaviour": {
                    "relabeling": {name: _sentence(FIELDS[name].meaning) for name in STANDARD},
                    "placeholders": {"host": "api.example.com, or https://api.example.com/v2", "schema": "https"},
                },
                "conn-fields": {name: _form(name, field) for name, field in {"auth": auth, **extra, **COMMON}.items()},
            }
        ],
    }


def _form(name: str, field: Field) -> dict[str, Any]:
    used_by = [kind for kind, one in KINDS.items() if name in one.fields]
    schema: dict[str, Any] = {"type": [field.type, "null"]}
    if field.choices:
        schema["enum"] = [*field.choices, None]
    if field.secret and field.type == "string":
        schema["format"] = "password"
    of = f" For auth {', '.join(used_by)}." if used_by else ""
    return {"label": field.label, "description": f"{_sentence(field.meaning)}.{of}", "schema": schema}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
