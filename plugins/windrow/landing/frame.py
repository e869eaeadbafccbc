"""Landed records as a pandas DataFrame, from a folder or a bucket."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from windrow.landing.files import MANIFEST
from windrow.model.errors import BadParameter, ManifestMissing
from windrow.model.plan import slug

if TYPE_CHECKING:
    import pandas as pd


def frame(dataset: str, run: str = "", at: str | Path = "data") -> "pd.DataFrame":
    """Return the records of a run that were landed.

    :param dataset: like ``desk_tickets``.
    :param run: the run id; empty for the newest run.
    :param at: the folder of `windrow harvest`, or a bucket like ``gs://windrow-landing`` or ``s3://windrow-landing``.
        Its credentials are those that pyarrow finds.
    :returns: one row for each record, with the columns of the contract and the lineage. DATE and NUMERIC are
        Python objects, and so are integers of a column with nulls.
    :raises BadParameter: the dataset or the run has not landed there.
    :raises ManifestMissing: the landing is not complete.
    """
    source, _, noun = dataset.partition("_")
    address = str(at)
    if "://" in address:
        filesystem, root = fs.FileSystem.from_uri(address)
    else:
        filesystem, root = fs.LocalFileSystem(), str(Path(address).resolve())
    folder = f"{root}/{source}/{noun}"
    entries = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    manifests = {entry.path: entry.mtime_ns or 0 for entry in entries if entry.base_name == MANIFEST}
    runs = {path.rsplit("/", 2)[-2].removeprefix("run="): path for path in manifests}
    if run and slug(run) not in runs:
        if any(f"/run={slug(run)}/" in entry.path for entry in entries):
            raise ManifestMissing(
                f"The landing of the run {run!r} of {dataset} in {at} is not complete.",
                advice="Run `windrow harvest` again, or clear the task 'land' with all tasks downstream.",
            )
    elif runs:
        manifest = runs[slug(run)] if run else max(manifests, key=lambda path: manifests[path])
        with filesystem.open_input_stream(manifest) as file:
            parts = [part["name"] for part in orjson.loads(file.read())["parts"]]
        tables = [pq.read_table(f"{root}/{name}", filesystem=filesystem, partitioning=None) for name in parts]
        found: pd.DataFrame = pa.concat_tables(tables or [pa.table({})]).to_pandas(integer_object_nulls=True)
        return found
    known = ", ".join(sorted(runs)[:5]) or "none"
    others = [] if runs or "://" in address else [f"{one.parent.name}_{one.name}" for one in Path(at).glob("*/[a-z]*/")]
    near = get_close_matches(dataset, others, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise BadParameter(
        f"{dataset} has no landed run{f' {run!r}' if run else ''} in {at}.{meant}",
        advice=f"Landed runs there: {known}. `windrow harvest {dataset}` lands one.",
    )
