"""Finds chains whose starts are all refused, because a chain gives no parameters. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastflow_contracts.pipelines.format.diagnostics import Notice
from fastflow_contracts.pipelines.format.spec import NoSuchRunConfig, PipelineSpec
from fastflow_contracts.pipelines.parameters.settle import BadParameters, settle


def chain_notices(spec: PipelineSpec, others: Mapping[str, PipelineSpec]) -> Iterator[Notice]:
    """Yield a notice for each downstream trigger of *spec* that the schema of its pipeline, in *others*, refuses.

    It is a notice, because another pipeline's file never makes this one invalid.
    """
    for index, rule in enumerate(spec.downstream_triggers):
        target = others.get(rule.pipeline)
        if target is None:
            continue
        try:
            settle(target.run_config(rule.run_config_id), {}, ())
        except NoSuchRunConfig:
            continue
        except BadParameters as error:
            text = (
                f"starts nothing: {rule.pipeline} refuses a start without parameters, and a chain gives none. Name a "
                f"run_config_id that has them. {error}"
            )
            yield Notice(field=f"downstream_triggers[{index}]", text=text)
