"""What the X API shows and what goes wrong, beyond the faults that all APIs have. Set by `PUT /_admin/x/scene`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class Scene(BaseModel):
    """One setting of everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_per_s: Annotated[float, Field(ge=0, le=2_000)] = 2.0
    """Posts made a second; 0 for none."""
    seed: int = 1
    """Of what the posts say."""
    off_topic_share: Share = 0.05
    """Posts that do not have the keyword."""
    repost_share: Share = 0.3
    """Posts that repeat another one: on the stream, but not in the search."""
    edit_share: Share = 0.01
    """Posts that are a new version of an earlier one."""
    duplicate_share: Share = 0.01
    """Lines of a stream that are sent twice."""
    long_share: Share = 0.02
    """Posts longer than 280 characters."""
    vocabulary: Literal["tweet", "post"] = "tweet"
    """Names of fields in the stream: those before or after the renaming of August 2026. The search answers in those it
    is asked in."""
    search_words: Literal["both", "tweet", "post"] = "both"
    """Parameters that the search accepts; the others it refuses."""
    search_relations: bool = True
    """Whether the search returns the author, versions and references of a post in the new vocabulary without being
    asked to expand them. The specification does not say."""
    heartbeat_s: Annotated[float, Field(gt=0)] = 20.0
    """An idle stream gets an empty line so often."""
    silent: bool = False
    """Streams get nothing, not even heartbeats; their connections stay."""
    refuse: Literal["credits", "spend_cap", "usage_cap", "no_rules", "connections", "unavailable"] | None = None
    """Why the stream and the search refuse every call."""
    rule_delay_s: Seconds = 0.0
    """Until a new rule matches. The real API takes up to 20 s."""
    search_lag_s: Seconds = 30.0
    """The search does not know posts that are newer."""
    search_faults: tuple[Literal["unavailable", "cut", "malformed"], ...] = ()
    """What goes wrong with the next calls for a further page of the search, one after the other."""
    line_limit: Annotated[int, Field(gt=0)] = 10_000
    """Lines that wait for a slow reader before its stream is ended."""

    def changed(self, changes: dict[str, Any]) -> "Scene":
        """Return the scene with these changes. Raises pydantic's ValidationError."""
        return Scene.model_validate({**self.model_dump(), **changes})


class Stage:
    """The scene that is on; the admin routes change it while calls are served."""

    def __init__(self) -> None:
        self.scene = Scene()

    def search_fault(self) -> str | None:
        """Take the next fault of the search from the scene."""
        first, *rest = self.scene.search_faults or (None,)
        self.scene = self.scene.changed({"search_faults": rest})
        return first
