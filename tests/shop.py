"""A made-up API for tests of what is not any API's own: orders of a shop, one call each."""

from collections.abc import Sequence

from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import Unreadable
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.stream import PlanFlow, Planned, Request, Stream


class Orders(Stream):
    """One record an order. Its plan are the numbers in the param ``numbers``."""

    dataset = "shop_orders"
    one_record_an_answer = True
    contract = Contract((
        Column("number", "Number", Kind.STRING, "Number of the order.", required=True),
        Column("total", "Total", Kind.FLOAT, "What it costs.", required=True),
    ))
    quotas = (
        Quota("shop.search", Period.PACIFIC_DAY, 10_000, ("/search",)),
        Quota("shop.data", Period.PACIFIC_DAY, 10_000, ("/",)),
    )

    def plan(self, request: Request) -> PlanFlow:
        yield Planned(Query.of("/order", {"number": number}) for number in request.params["numbers"])

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        record = self.contract.record(answer)
        if record["number"] != dict(query.params)["number"]:
            raise Unreadable("the answer is about another order")
        return (record,)
