"""What one message is to its trigger: passed over, refused, or the start of a run. Asks the evaluator, no other I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus.foreign import EventMessage
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator, ExpressionFailed, Value
from fastflow_contracts.pipelines.expressions.frames import Question
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.parameters.settle import BadParameters, settle
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.stream_events import event_trigger
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from fastflow_contracts.starting.turns import question
from fastflow_scheduler.events.lines import line

KEY_CHARACTERS_MAX: Final = 1_024


class Wanted(NamedTuple):
    """A message that the trigger wants."""

    message: EventMessage
    """For a batch only its line."""
    trigger: Trigger
    key: str | None


class Refused(NamedTuple):
    """A message for which the trigger has no answer. It must be kept, with the reason."""

    message: EventMessage
    trigger: Trigger
    reason: str


class Sieve:
    """The expressions of one trigger of one version."""

    def __init__(
        self, name: PipelineName, spec: TriggerSpec, config: RunConfig, evaluator: ExpressionEvaluator
    ) -> None:
        self._name = name
        self._spec = spec
        self._config = config
        self._evaluator = evaluator
        try:
            settled = settle(config, {}, ())
            self._texts, self._json = settled.texts, settled.json
        except BadParameters:  # the start says so
            self._texts, self._json = {}, ()

    async def sift(self, messages: Sequence[EventMessage]) -> list[Wanted | Refused]:
        """Return what is wanted and what is refused, in order."""
        found: list[Wanted | Refused] = []
        answers = await self._answers(self._spec.when, messages)
        candidates: list[EventMessage] = []
        faults: dict[int, str] = {}
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, ExpressionFailed):
                faults[message.sequence] = f"when: {answer}"
            elif not isinstance(answer, bool):
                faults[message.sequence] = "when: its value is not true or false."
            if message.sequence in faults or answer:
                candidates.append(message)
        asked = [each for each in candidates if each.sequence not in faults]
        keys = dict(
            zip((each.sequence for each in asked), await self._answers(self._spec.key, asked, default=""), strict=True)
        )
        for message in candidates:
            trigger = self.trigger(message)
            reason, key = faults.get(message.sequence), keys.get(message.sequence)
            if reason is None and self._spec.key is not None:
                reason = _key_fault(key)
            data = message.data if self._spec.batch is None else line(message.data)
            if reason is None and len(data) > EVENT_BYTES_MAX:
                reason = f"the event is larger than {EVENT_BYTES_MAX:,} bytes; send a reference to it instead."
            if reason is not None:
                found.append(Refused(message, trigger, reason))
            elif self._spec.batch is not None:  # headers and white space may be large, and no batch has them
                bare = message._replace(data=data, headers={})
                found.append(Wanted(bare, self.trigger(bare), None))
            else:
                found.append(Wanted(message, trigger, key if isinstance(key, str) and self._spec.key else None))
        return found

    def trigger(self, message: EventMessage) -> Trigger:
        """Return the start that *message* asks for."""
        return event_trigger(message, self._spec.id, self._spec.run_config_id)

    async def _answers(
        self, expression: str | None, messages: Sequence[EventMessage], *, default: Value = True
    ) -> Sequence[Value | ExpressionFailed]:
        if expression is None:
            return [default] * len(messages)
        return await self._evaluator.evaluate_many([self._question(expression, each) for each in messages])

    def _question(self, expression: str, message: EventMessage) -> Question:
        trigger = self.trigger(message)
        trigger = replace(trigger, parameters=self._texts, json_parameters=self._json)
        return question(expression, self._name, self._config, trigger)


def _key_fault(key: Value | ExpressionFailed | None) -> str | None:
    if isinstance(key, ExpressionFailed):
        return f"key: {key}"
    if not isinstance(key, str) or not key:
        return "key: its value is no text, or an empty one; use string(…)."
    if len(key) > KEY_CHARACTERS_MAX:
        return f"key: its value has {len(key):,} characters; at most {KEY_CHARACTERS_MAX:,} are accepted."
    return None
