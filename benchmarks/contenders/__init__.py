"""One module a contender, imported only in the process that measures it.

All do the same work: a token from the API, one signed GET a name, the answer parsed, and on return every answer
durable in MongoDB as a document of its own whose ``_id`` says which call it answers.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contender:
    """A function of a module of this package, and what the table calls it."""

    name: str
    label: str
    module: str
    function: str = "run"
    stages: bool = True
    """Whether it writes to MongoDB."""
    serial: bool = False
    """One call at a time: a sample of the calls tells its rate."""


ENGINE = Contender("engine", "Windrow", "engine")

CONTENDERS = (
    ENGINE,
    Contender("loop", "serial `requests` loop", "loop", serial=True),
    Contender("threads", "`requests` in as many threads", "threads"),
    Contender("dlt", "dlt, told to keep as many in flight", "dlt_pipeline"),
    Contender("dlt_default", "dlt, its default of 20 in flight", "dlt_pipeline", function="run_default"),
    Contender("bare", "bare aiohttp, no MongoDB", "bare", stages=False),
)
