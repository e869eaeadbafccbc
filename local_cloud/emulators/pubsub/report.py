"""What the subscriptions hold, for whoever looks."""

import dataclasses
from typing import Any

from local_cloud.emulators.pubsub.backlog import Backlog
from local_cloud.emulators.pubsub.registry import Registry


def report(registry: Registry) -> dict[str, Any]:
    """Return the counts of each subscription, by name."""
    attached = registry.subscriptions
    return {name: _shown(attached[name].backlog) for name in sorted(attached)}


def _shown(backlog: Backlog) -> dict[str, Any]:
    return {
        "waiting": len(backlog) - backlog.leased,
        "leased": backlog.leased,
        "leased_for_s": round(backlog.leased_for_s, 3),
        "oldest_s": round(backlog.oldest_s, 3),
        **dataclasses.asdict(backlog.totals),
    }
