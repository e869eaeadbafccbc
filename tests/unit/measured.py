"""What a landing measures of records."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from windrow.landing.profile import ProfileCount
from windrow.model.stream import Stream

LINEAGE = {"_key": "k", "_run_id": "one", "_fetched_at": 0}


def measured(stream: Stream, records: Sequence[Mapping[str, object] | None]) -> dict[str, Any]:
    """Return the profile of records."""
    count = ProfileCount(stream)
    rows = [{**(record or {}), **LINEAGE} for record in records]
    count.add(pa.RecordBatch.from_pylist(rows, stream.contract.arrow_schema))
    return count.figures()
