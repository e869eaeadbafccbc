"""GitHub: everything that only this API has. ``STREAMS`` names the class of each dataset."""

STREAMS = {
    "github_memberships": "windrow.sources.github.streams:Memberships",
    "github_users": "windrow.sources.github.streams:Users",
}
