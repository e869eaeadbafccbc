"""What GitHub's OpenAPI specification says about the calls of Windrow: fields, types, and parameters.

Written from version 23.0.2 of https://github.com/octokit/openapi, which is https://github.com/github/rest-api-description
without gaps. Fields that an answer may have, and that Windrow does not read, are left out. Where the prose
documentation says something else, docs/github.md says which is followed.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator

from windrow.model.query import Query

Schema = dict[str, Any]
_TYPES: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "uri": {"type": "string", "pattern": r"^https?://[^ ]+$"},
    "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
    "object": {"type": "object"},
}


def record(fields: str, optional: str = "", **nested: Schema) -> Schema:
    """Make the schema of an object from fields like ``id:int name:str?``; the question mark allows null."""
    properties = {}
    for text in f"{fields} {optional}".split():
        name, _, kind = text.partition(":")
        schema = (_TYPES | nested)[kind.rstrip("?")]
        properties[name] = {"anyOf": [schema, {"type": "null"}]} if kind.endswith("?") else schema
    return {"type": "object", "required": [text.partition(":")[0] for text in fields.split()], "properties": properties}


def array(items: Schema) -> Schema:
    """Make the schema of a list."""
    return {"type": "array", "items": items}


_ACCOUNT = (
    "avatar_url:uri events_url:str followers_url:uri following_url:str gists_url:str gravatar_id:str? html_url:uri "
    "id:int node_id:str login:str organizations_url:uri received_events_url:uri repos_url:uri site_admin:bool "
    "starred_url:str subscriptions_url:uri type:str url:uri"
)
SIMPLE_USER = record(_ACCOUNT, "name:str? email:str? user_view_type:str")
PUBLIC_USER = record(
    f"{_ACCOUNT} bio:str? blog:str? company:str? email:str? followers:int following:int hireable:bool? location:str? "
    "name:str? public_gists:int public_repos:int created_at:time updated_at:time",
    "twitter_username:str? user_view_type:str",
)
CONTRIBUTOR = record(
    "contributions:int type:str",
    "login:str id:int node_id:str avatar_url:uri gravatar_id:str? url:uri site_admin:bool email:str name:str",
)
"""An author without an account has neither id nor login."""
STARGAZER = record("starred_at:time user:account?", account=SIMPLE_USER)
"""The user is null where the account was deleted."""
_REPOSITORY = (
    "archive_url:str assignees_url:str blobs_url:str branches_url:str collaborators_url:str comments_url:str "
    "commits_url:str compare_url:str contents_url:str contributors_url:uri deployments_url:uri description:str? "
    "downloads_url:uri events_url:uri fork:bool forks_url:uri full_name:str git_commits_url:str git_refs_url:str "
    "git_tags_url:str hooks_url:uri html_url:uri id:int node_id:str issue_comment_url:str issue_events_url:str "
    "issues_url:str keys_url:str labels_url:str languages_url:uri merges_url:uri milestones_url:str name:str "
    "notifications_url:str owner:account private:bool pulls_url:str releases_url:str stargazers_url:uri "
    "statuses_url:str subscribers_url:uri subscription_url:uri tags_url:uri teams_url:uri trees_url:str url:uri"
)
MINIMAL_REPOSITORY = record(_REPOSITORY, "created_at:time? updated_at:time? pushed_at:time?", account=SIMPLE_USER)
FULL_REPOSITORY = record(
    f"{_REPOSITORY} clone_url:str default_branch:str forks:int forks_count:int git_url:str has_issues:bool "
    "has_projects:bool has_wiki:bool has_pages:bool has_discussions:bool homepage:str? language:str? archived:bool "
    "disabled:bool mirror_url:str? open_issues:int open_issues_count:int license:object? pushed_at:time size:int "
    "ssh_url:str stargazers_count:int svn_url:uri watchers:int watchers_count:int created_at:time updated_at:time "
    "network_count:int subscribers_count:int",
    account=SIMPLE_USER,
)
_WINDOW = record("limit:int remaining:int reset:int used:int")
RATE_LIMIT = record("rate:window resources:all", window=_WINDOW, all=record("core:w search:w", "graphql:w", w=_WINDOW))
INSTALLATION_TOKEN = record("token:str expires_at:str", "permissions:object repository_selection:str")
ERROR = record("", "message:str documentation_url:str url:str status:str")
"""The specification requires none of them."""


@dataclass(frozen=True)
class Operation:
    """A call. ``params`` are patterns of the values that a query parameter may have; ``answers`` are by status."""

    path: str
    answers: dict[int, Schema | None]
    params: dict[str, str] = field(default_factory=dict)
    method: str = "GET"


_PAGE = {"per_page": "[1-9][0-9]?|100", "page": "[1-9][0-9]*"}
_NAMED, _NUMBERED = "/repos/{owner}/{repo}", "/repositories/{repository_id}"
OPERATIONS = (
    Operation(_NAMED, {200: FULL_REPOSITORY, 301: ERROR, 403: ERROR, 404: ERROR}),
    *(
        operation
        for at in (_NAMED, _NUMBERED)  # the second is where links of the first lead
        for operation in (
            Operation(
                f"{at}/contributors",
                {200: array(CONTRIBUTOR), 204: None, 403: ERROR, 404: ERROR},
                {"anon": "1|true", **_PAGE},
            ),
            Operation(f"{at}/stargazers", {200: array(STARGAZER), 422: ERROR}, _PAGE),
            Operation(
                f"{at}/forks",
                {200: array(MINIMAL_REPOSITORY), 400: ERROR},
                {"sort": "newest|oldest|stargazers|watchers", **_PAGE},
            ),
        )
    ),
    Operation("/user/{account_id:int}", {200: PUBLIC_USER, 404: ERROR}),
    Operation("/users/{username}", {200: PUBLIC_USER, 404: ERROR}),
    Operation("/rate_limit", {200: RATE_LIMIT, 304: None, 404: ERROR}),
    Operation(
        "/app/installations/{installation_id:int}/access_tokens",
        {201: INSTALLATION_TOKEN, 401: ERROR, 403: ERROR, 404: ERROR},
        method="POST",
    ),
)


def operation(path: str, method: str = "GET") -> Operation:
    """Return the operation at a path; raises AssertionError if the specification has none."""
    for each in OPERATIONS:
        template = re.sub(r"\{(\w+:int)\}", "[0-9]+", each.path)
        if each.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return each
    raise AssertionError(f"the specification has no {method} {path}")


def complaints(schema: Schema, answer: object) -> list[str]:
    """Return what the schema does not allow in an answer."""
    errors = Draft202012Validator(schema).iter_errors(answer)
    return [f"{'/'.join(map(str, error.path))}: {error.message}"[:200] for error in errors]


def check_request(query: Query) -> None:
    """Check the path and the parameters of a request; raises AssertionError."""
    params = operation(query.path).params
    for name, value in query.params:
        assert name in params, f"{query.path} has no parameter {name}"
        assert re.fullmatch(params[name], value), f"{query.path} does not take {name}={value}"
