"""Read what is in the quarantine again, without a call: for a reader that was mended since."""

import orjson

from windrow.model.answer import Answer, Outcome
from windrow.model.errors import Unreadable
from windrow.model.plan import Run
from windrow.model.stream import Stream
from windrow.store.staging import Staging


def replay(staging: Staging, run: Run, stream: Stream) -> int:
    """Stage every quarantined answer of a run that can be read now, and return how many.

    An answer is staged before it leaves the quarantine, so it is always in one of the two. Where one is staged
    already, it is the whole one, and stays.
    """
    replayed = 0
    for number, rejected in staging.each_quarantined(run):
        if number < 0:  # it is no part of the plan
            continue
        if staging.is_settled(run, rejected.query.key):
            staging.release(run, rejected.query.key)
            continue
        if rejected.incomplete or not 200 <= rejected.status <= 299:  # there is no whole answer to read
            continue
        answer = Answer(rejected.query, Outcome.ANSWERED, rejected.status, rejected.body, rejected.fetched_at)
        try:
            stream.records(rejected.query, answer.parsed)
            if stream.next_page(rejected.query, answer) is not None:  # pages behind the bad one were never asked for
                continue
        except (orjson.JSONDecodeError, Unreadable):
            continue
        staging.stage(run, [(number, answer)])
        staging.release(run, rejected.query.key)
        replayed += 1
    return replayed
