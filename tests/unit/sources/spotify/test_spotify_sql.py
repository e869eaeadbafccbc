"""The tables of Athena hold the columns that the streams declare."""

import re

import pytest

from windrow.declare import athena
from windrow.model.contract import LINEAGE
from windrow.model.registry import stream

NAMES = ("artists", "albums", "top_tracks", "audio_features")


@pytest.mark.parametrize("name", NAMES)
def test_a_landed_table_has_the_columns_of_its_stream(name: str):
    text = athena.create(type(stream(f"spotify_{name}")), "bucket")
    declared = re.findall(r"^  `(\w+)` (\w+) COMMENT '(.*)'", text, re.MULTILINE)
    columns = (*stream(f"spotify_{name}").contract.columns, *LINEAGE)
    assert declared == [(column.name, column.kind.athena, column.description) for column in columns]
    assert f"spotify_landed`.`{name}` (" in text
    assert f"/spotify/{name}/'" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_partition_is_where_the_run_landed(name: str):
    text = athena.register(type(stream(f"spotify_{name}")), "{{ var.value.windrow_s3_bucket }}")
    place = "dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}/"
    assert f"s3://{{{{ var.value.windrow_s3_bucket }}}}/spotify/{name}/{place}" in text
    assert "IF NOT EXISTS" in text
