"""What a source has to say about one of its streams. The loop that harvests it is in `windrow.engine`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from windrow.contract import Contract
from windrow.query import Query


class Stream(ABC):
    """One kind of record of an API: how to list the calls, and how to read the answers. Pure: no I/O, no Airflow.

    ``dataset`` is ``<source>_<noun>``: the name of the DAG, the staging collection and the landing prefix.
    """

    dataset: ClassVar[str]
    contract: ClassVar[Contract]
    one_record_an_answer: ClassVar[bool] = False
    """True where each answer holds exactly one record; the receipt then demands as many records as answers."""

    def discovery(self, params: Mapping[str, object]) -> Sequence[Query]:
        """Name the calls whose answers list what to ask for. None by default."""
        return ()

    @abstractmethod
    def plan(self, params: Mapping[str, object], discovered: Sequence[object]) -> Iterable[Query]:
        """Name the calls to make. The same query may be named twice; it is asked once.

        :param params: the DAG run's params, already validated against their declaration.
        :param discovered: the parsed answers to ``discovery(params)``, in its order.
        :raises Unreadable: the discovered answers are not what the API promises.
        :raises BadParameter: a parameter cannot be meant.
        """

    @abstractmethod
    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the records in the parsed answer to a query, checked by the contract.

        :raises Unreadable: it is not what the API promises.
        """
