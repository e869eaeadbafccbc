"""approve: a run whose plans exceed a budget waits for the approval of a person."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from windrow.airflow.operators.alert import send
from windrow.model import registry
from windrow.model.cost import Budget, Cost
from windrow.model.redact import blot

_SUBJECT = "{{ dag.dag_id }}: this run exceeds its budget. Approve its calls?"


class ApproveOperator(ApprovalOperator):
    """Waits for a person under Required Actions, if the plans of a run exceed the budget; otherwise it continues.

    Approved: the run continues. Refused: all tasks downstream are skipped, and the run is a success. Not answered in
    time: as the budget says, and an alert reports it. While it waits, it holds no worker slot.

    :param costs: what `CostOperator` returns: ``cost.output``.
    :returns: what was decided, as a sentence.
    """

    advice = "None of the planned calls was made. Clear this task with all tasks downstream: it asks again."
    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "costs")
    inherits_from_skipmixin = True

    def __init__(self, *, budget: Budget, costs: Any, subject: str = _SUBJECT, **kwargs: Any) -> None:
        super().__init__(
            subject=subject,
            defaults=self.APPROVE if budget.unanswered == "continue" else self.REJECT,
            response_timeout=budget.answer_within,
            ignore_downstream_trigger_rules=True,
            **kwargs,
        )
        self.budget = budget
        self.costs = costs

    def execute(self, context: Context) -> str:
        """Continue, or wait for a person.

        :raises TaskAwaitingInput: the plans exceed the budget. Airflow continues with `execute_complete`.
        """
        costs = [Cost(**one) for one in self.costs]
        exceeded = self.budget.exceeded(costs)
        if not exceeded:
            self.log.info("The plans are within the budget.")
            return "The plans are within the budget."
        self.body = "\n\n".join(self._body(costs, exceeded))
        self.log.warning("The run waits for an approval under Required Actions: %s", "; ".join(exceeded))
        then = "continues" if self.budget.unanswered == "continue" else "ends without its calls"
        send(
            context,
            f"Run '{blot(context['run_id'])}' of {self.dag_id} would make {'; '.join(exceeded)}. | What to do: answer "
            f"under Required Actions within {self.budget.wait}. Without an answer the run {then}.",
        )
        return str(super().execute(context))

    def _body(self, costs: Sequence[Cost], exceeded: Sequence[str]) -> list[str]:
        """Return paragraphs of Markdown with the figures."""
        lines = ["This run would make", "\n".join(f"* **{one}**" for one in exceeded)]
        lines.append("\n".join(f"* {one}" for one in costs))
        if any(registry.stream(one.dataset).is_paged for one in costs):
            lines.append("An answer may have several pages: each further page is one more call.")
        then = "continues" if self.budget.unanswered == "continue" else "ends without these calls"
        lines.append(
            "None of these calls has been made. Approve: the run continues. Reject: it ends, and is a success. "
            f"If nobody answers within {self.budget.wait}, it {then}."
        )
        return lines

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Continue as a person has decided, or as the budget says if nobody has.

        :raises DownstreamTasksSkipped: the calls are not approved.
        """
        person: Mapping[str, Any] = event.get("responded_by_user") or {}
        is_approved = event.get("chosen_options") == [self.APPROVE]
        then = "The run continues." if is_approved else "The run ends without its calls, and is a success."
        if event.get("timedout"):
            said = f"Nobody has answered within {self.budget.wait} whether this run may exceed its budget. {then}"
            send(context, f"Run '{blot(context['run_id'])}' of {self.dag_id}: {said}")
        else:
            said = f"{'Approved' if is_approved else 'Refused'} by {person.get('name') or 'an unknown user'}. {then}"
        self.log.info("%s", said)
        if not is_approved:  # to skip tasks is to raise, and the result would be lost
            context["ti"].xcom_push("return_value", said)
        super().execute_complete(context, event)
        return said
