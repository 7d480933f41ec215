"""Settings of services that know the installation's limits on runs. No I/O.

The syncer refuses by them, the scheduler applies them, and the gateway shows them, so all three need the same values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastflow_contracts.pipelines.expressions.check import BadExpression
from fastflow_contracts.pipelines.format.limit_policy import LimitPolicy
from fastflow_contracts.pipelines.format.value_parsers import (
    CORES_MAX,
    MEMORY_PATTERN,
    SECONDS_MAX,
    check_event_subject,
    memory_of,
)
from fastflow_contracts.service.settings import BadSettings, Env, ServiceSettings

_LIKE = "512m or 1.5g, and at least 6m"


class LimitSettings(ServiceSettings, frozen=True, kw_only=True):
    """Limits for pipelines that set none, and the most that a pipeline may set."""

    cpu_default: Annotated[
        float,
        Env(
            "DEFAULT_CPU_LIMIT",
            "CPU limit in cores of pipelines that set no `cpu_hard_limit`; 0 = none.",
            least=0,
            most=CORES_MAX,
        ),
    ] = 0.0
    memory_default: Annotated[
        str,
        Env(
            "DEFAULT_MEM_LIMIT",
            "Memory limit of pipelines that set no `mem_hard_limit`, such as 512m; default: none.",
            pattern=MEMORY_PATTERN,
            like=_LIKE,
        ),
    ] = ""
    container_timeout_s: Annotated[
        float,
        Env(
            "CONTAINER_TIMEOUT",
            "Timeout of an attempt in seconds if the pipeline sets none; 0 = no limit.",
            least=0,
            most=SECONDS_MAX,
            also="DEFAULT_TIMEOUT",
        ),
    ] = 0.0
    cpu_max: Annotated[
        float,
        Env(
            "MAX_CPU_LIMIT",
            "Most cores that a pipeline may set, and gets if it sets none; 0 = no maximum.",
            least=0,
            most=CORES_MAX,
        ),
    ] = 0.0
    memory_max: Annotated[
        str,
        Env(
            "MAX_MEM_LIMIT",
            "Most memory that a pipeline may set, and gets if it sets none, such as 4g; default: no maximum.",
            pattern=MEMORY_PATTERN,
            like=_LIKE,
        ),
    ] = ""
    timeout_max_s: Annotated[
        float,
        Env(
            "MAX_TIMEOUT",
            "Longest timeout in seconds that a pipeline may set, and gets if it sets none; 0 = no maximum.",
            least=0,
            most=SECONDS_MAX,
        ),
    ] = 0.0

    trigger_subjects: Annotated[
        str,
        Env(
            "FASTFLOW_TRIGGER_SUBJECTS",
            "Subjects on which messages of other programs may start runs (`triggers`), separated by commas, such as "
            "`orders.>,mqtt.>`; default: all that a stream stores.",
        ),
    ] = ""

    def __post_init__(self) -> None:
        _ = self.policy

    @property
    def policy(self) -> LimitPolicy:
        """The limits as rules.

        Raises:
            BadSettings: A size is out of range, a default exceeds its maximum, or a subject is not valid.
        """
        policy = LimitPolicy(
            cpu_default=self.cpu_default or None,
            memory_default=_memory("DEFAULT_MEM_LIMIT", self.memory_default),
            timeout_default=self.container_timeout_s,
            cpu_max=self.cpu_max or None,
            memory_max=_memory("MAX_MEM_LIMIT", self.memory_max),
            timeout_max=self.timeout_max_s or None,
            trigger_subjects=tuple(_subjects("FASTFLOW_TRIGGER_SUBJECTS", self.trigger_subjects)),
        )
        pairs = (
            ("DEFAULT_CPU_LIMIT", policy.cpu_default, "MAX_CPU_LIMIT", policy.cpu_max),
            ("DEFAULT_MEM_LIMIT", policy.memory_default, "MAX_MEM_LIMIT", policy.memory_max),
            ("CONTAINER_TIMEOUT", policy.timeout_default, "MAX_TIMEOUT", policy.timeout_max),
        )
        wrong = [
            f"{name} is more than {maximum}; lower it or raise {maximum}."
            for name, default, maximum, most in pairs
            if default is not None and most is not None and default > most
        ]
        if wrong:
            raise BadSettings(*wrong)
        return policy


def _subjects(name: str, text: str) -> Iterator[str]:
    for each in filter(None, map(str.strip, text.split(","))):
        try:
            yield check_event_subject(each)
        except BadExpression as error:
            raise BadSettings(f"{name} {each!r}: {error}.") from None


def _memory(name: str, size: str) -> int | None:
    if not size:
        return None
    try:
        return memory_of(size)
    except ValueError:
        raise BadSettings(f"{name} {size!r}: it must be like {_LIKE}.") from None
