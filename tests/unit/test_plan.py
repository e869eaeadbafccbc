"""Runs, their names, and plans cut into chunks."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model.plan import Chunk, Run, chunk_id, slug
from windrow.model.query import Query

RUN = Run("titanic_passengers", "manual__2026-01-02T03:04:05.678901+00:00")
run_ids = st.text() | st.text(alphabet="ab_-:+.~", min_size=1) | st.text(alphabet="a:", min_size=90, max_size=250)


def queries(number: int) -> list[Query]:
    return [Query.of(f"/{place}") for place in range(number)]


# --- slug --------------------------------------------------------------------------------------


@given(run_ids)
@example("")
@example("___")
@example("日本")
@example(RUN.run_id)
@example("scheduled__2026-01-02T00:00:00+00:00")
def test_a_slug_is_a_name_that_folders_and_tables_may_have(run_id: str):
    assert re.fullmatch("[A-Za-z0-9_]{1,128}", slug(run_id), re.ASCII)


@given(run_ids)
def test_a_slug_never_changes(run_id: str):
    assert slug(run_id) == slug(run_id)


@given(run_ids, run_ids)
@example("a-b", "a_b")
@example("a+b", "a b")
@example("x" * 100 + "1", "x" * 100 + "2")
@example("-a", "a")
@example("", "_")
@example("A", "a")
def test_two_run_ids_never_give_one_slug(one: str, other: str):
    assert (slug(one) == slug(other)) == (one == other)


def test_32_bits_are_too_few_to_tell_run_ids_apart():
    one, other = "a-:-:__~b", "a-:__+++b"  # found by trying 100,000; only the digest tells them apart
    assert slug(one) != slug(other)


def test_a_slug_can_be_read():
    assert slug(RUN.run_id).startswith("manual_2026_01_02T03_04_05_678901_00_00_")


# --- names -------------------------------------------------------------------------------------


@given(
    st.tuples(st.text(alphabet="ab_:+."), st.integers(0, 10**6)), st.tuples(st.text(alphabet="ab_:+."), st.integers())
)
@example(("a", 1), ("a", 11))
def test_every_chunk_of_a_dataset_has_its_own_id(one: tuple[str, int], other: tuple[str, int]):
    ids = [chunk_id(Run("d", run_id), number) for run_id, number in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_a_chunk_knows_its_id_and_ids_sort_like_numbers():
    ids = [Chunk(RUN, number, ()).id for number in (0, 1, 9, 10, 99_999)]
    assert ids == sorted(ids)
    assert ids[1] == chunk_id(RUN, 1) == f"{RUN.run_id}|00001"


def test_a_run_is_told_by_dataset_and_id():
    assert str(RUN) == f"titanic_passengers|{RUN.run_id}"
    assert str(Run("a", "b")) != str(Run("b", "a"))
