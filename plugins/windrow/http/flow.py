"""Lead a conversation that is no plan: ask its queries one by one, and return what it comes to."""

from collections.abc import Generator, Iterable
from typing import TypeVar

from windrow.http.client import Client
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import QueryRefused, RateLimited, WindrowError
from windrow.model.query import Query

T = TypeVar("T")
E = TypeVar("E", bound=WindrowError)


async def converse(client: Client, conversation: Generator[Query, Answer, T]) -> T:
    """Ask each query that a conversation yields, and send its answer back; return what it returns.

    Where the API refuses a query or knows no such thing, `QueryRefused` is thrown into the conversation; where it
    wants to be left alone for long, `RateLimited`: another endpoint may still be open.

    :param client: entered by the caller.
    :raises WindrowError: what `Client.ask` raises, and the conversation itself.
    """
    try:
        query = next(conversation)
        while True:
            try:
                settled = await client.ask(query, lambda query, answer: None)
            except RateLimited as limit:
                query = conversation.throw(limit)
                continue
            if isinstance(settled, Answer) and settled.outcome is Outcome.ANSWERED:
                query = conversation.send(settled)
            else:
                reason = "no such thing" if isinstance(settled, Answer) else settled.reason
                query = conversation.throw(_refused(query, settled.status, reason))
    except StopIteration as end:
        result: T = end.value
        return result


async def converse_each(
    client: Client, conversations: Iterable[Generator[Query, Answer, T]], *, tolerated: tuple[type[E], ...]
) -> list[T | E]:
    """Lead conversations one after the other; return what each comes to, or the error that ended it alone.

    :param client: entered and left here.
    :param tolerated: errors that concern one conversation and not the next.
    :raises WindrowError: any other that `converse` raises.
    """
    results: list[T | E] = []
    async with client:
        for conversation in conversations:
            try:
                results.append(await converse(client, conversation))
            except tolerated as error:
                results.append(error)
    return results


def _refused(query: Query, status: int, reason: str) -> QueryRefused:
    return QueryRefused(
        f"{query.key!r} cannot be had: {reason} (HTTP {status})",
        advice="Check what was asked for, and the path of the API in its Airflow connection.",
        key=query.key,
        status=status,
    )
