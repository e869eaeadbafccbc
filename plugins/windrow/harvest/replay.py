"""Read what is in the quarantine again, without a call: for a reader that was fixed since."""

from collections.abc import Collection

from windrow.model.answer import Answer, Outcome
from windrow.model.errors import Unreadable
from windrow.model.plan import Run
from windrow.model.stream import Stream
from windrow.store.staging import Staging


def replay(staging: Staging, run: Run, stream: Stream, keys: Collection[str] | None = None) -> int:
    """Stage every quarantined answer of a run that is readable now; return how many.

    An answer is staged before it leaves the quarantine, so it is always in one of the two. A staged answer is not
    replaced.

    :param keys: only of these queries.
    """
    replayed = 0
    for number, rejected in staging.each_quarantined(run, keys):
        if number < 0:  # it is not in the plan
            continue
        if staging.is_settled(run, rejected.query.key):
            staging.release(run, rejected.query.key)
            continue
        if rejected.incomplete or not 200 <= rejected.status <= 299:  # it is only a part of an answer
            continue
        try:
            text = rejected.text_as(stream.format)
            answer = Answer(rejected.query, Outcome.ANSWERED, rejected.status, text, rejected.fetched_at)
            stream.records(rejected.query, answer.parsed_as(stream.format))
            if stream.next_page(rejected.query, answer) is not None:  # the pages after it were never called
                continue
        except Unreadable:
            continue
        staging.stage(run, [(number, answer)])
        staging.release(run, rejected.query.key)
        replayed += 1
    return replayed
