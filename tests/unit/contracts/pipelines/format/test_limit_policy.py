"""What an installation gives to pipelines that set no limits, and the most that they may demand."""

from __future__ import annotations

import json

import pytest

from fastflow_contracts.limit_settings import LimitSettings
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.bundle import BUNDLE_BYTES_MAX
from fastflow_contracts.pipelines.folder.limits import CEILING
from fastflow_contracts.pipelines.format.limit_policy import LimitPolicy
from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RunInput
from fastflow_contracts.service.settings import BadSettings, load
from fastflow_contracts.starting.admission import Admitted, Cause, Defaults, admit, again
from fastflow_runner.settings import RunnerSettings
from tests.support.ids import fresh_run_id
from tests.support.records import T0

POLICY = LimitPolicy(
    cpu_default=1.0,
    memory_default=512 * 1024**2,
    timeout_default=60.0,
    cpu_max=2.0,
    memory_max=1024**3,
    timeout_max=3600.0,
)


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, []),
        ({"cpu_hard_limit": 2, "mem_hard_limit": "1g", "timeout": 3600}, []),
        ({"cpu_hard_limit": 2.1}, ["cpu_hard_limit"]),
        ({"mem_hard_limit": "1025m"}, ["mem_hard_limit"]),
        ({"timeout": 0}, ["timeout"]),
        ({"timeout": 3601}, ["timeout"]),
        ({"cpu_soft_limit": 99, "mem_soft_limit": "99g"}, []),
        (
            {"schedules": [{"id": "a", "cpu_hard_limit": 3, "timeout": 0}]},
            ["schedules[0].cpu_hard_limit", "schedules[0].timeout"],
        ),
    ],
)
def test_more_than_the_maximum_is_a_problem_of_the_version(document: dict[str, object], fields: list[str]) -> None:
    """With its field, its line and the setting that says so. What warns only is not limited."""
    manifest = read_manifest(json.dumps(document).encode(), file_name="pipeline.json", policy=POLICY)
    assert [problem.field for problem in manifest.problems] == fields
    assert all("MAX_" in problem.accepted and problem.line == 1 for problem in manifest.problems)
    assert read_manifest(json.dumps(document).encode(), file_name="pipeline.json").problems == ()


@pytest.mark.parametrize(
    ("policy", "own", "effective"),
    [
        (LimitPolicy(), (None, None, None), (None, None, 0.0)),
        (LimitPolicy(), (4.0, 7, 0.0), (4.0, 7, 0.0)),
        (POLICY, (None, None, None), (1.0, 512 * 1024**2, 60.0)),
        (POLICY, (2.0, 1024**3, 5.0), (2.0, 1024**3, 5.0)),
        (POLICY, (4.0, 2 * 1024**3, 0.0), (2.0, 1024**3, 3600.0)),
        (LimitPolicy(cpu_max=2.0, memory_max=9, timeout_max=8.0), (None, None, None), (2.0, 9, 8.0)),
        (LimitPolicy(timeout_default=60.0), (None, None, 0.0), (None, None, 0.0)),
    ],
)
def test_every_run_has_the_limits_of_the_policy(
    policy: LimitPolicy, own: tuple[float | None, int | None, float | None], effective: tuple[object, ...]
) -> None:
    """Its own, else the default, never more than the maximum: also a version that was live before there was one."""
    spec = PipelineSpec(cpu_hard_limit=own[0], mem_hard_limit=own[1], timeout=own[2])
    record = PipelineRecord(name=PipelineName("etl"), live=Version(bundle="b", spec=spec, live_since=T0), seen_at=T0)
    admitted = admit(
        record.name,
        record,
        Trigger(triggered_by="manual"),
        run_id=fresh_run_id(),
        cause=Cause(),
        defaults=Defaults(policy=policy),
        now=T0,
    )
    assert isinstance(admitted, Admitted)
    limits = admitted.run.order.limits
    assert (limits.cpu_cores, limits.memory_bytes, limits.timeout_s) == effective


def test_the_settings_are_read_as_in_a_pipeline_json() -> None:
    """Sizes with units; nothing set is no limit."""
    assert load(LimitSettings, {}).policy == LimitPolicy()
    environ = {
        "DEFAULT_CPU_LIMIT": "0.5",
        "DEFAULT_MEM_LIMIT": "512Mi",
        "DEFAULT_TIMEOUT": "60",
        "MAX_MEM_LIMIT": "1.5g",
    }
    assert load(LimitSettings, environ).policy == LimitPolicy(
        cpu_default=0.5, memory_default=512 * 1024**2, timeout_default=60.0, memory_max=3 * 1024**3 // 2
    )


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DEFAULT_MEM_LIMIT": "much"}, "DEFAULT_MEM_LIMIT 'much'"),
        ({"MAX_MEM_LIMIT": "5m"}, "MAX_MEM_LIMIT"),
        ({"MAX_CPU_LIMIT": "-1"}, "at least 0"),
        ({"DEFAULT_CPU_LIMIT": "4", "MAX_CPU_LIMIT": "2"}, "DEFAULT_CPU_LIMIT is more than MAX_CPU_LIMIT"),
        ({"CONTAINER_TIMEOUT": "61", "MAX_TIMEOUT": "60"}, "CONTAINER_TIMEOUT is more than MAX_TIMEOUT"),
        ({"CONTAINER_TIMEOUT": "61", "DEFAULT_TIMEOUT": "60"}, "keep one"),
        ({"FASTFLOW_TRIGGER_SUBJECTS": "orders.>,ff.>"}, "'ff.>': .* belongs"),
        ({"FASTFLOW_TRIGGER_SUBJECTS": "orders.>.new"}, "last token"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(environ: dict[str, str], words: str) -> None:
    """At start, by name."""
    with pytest.raises(BadSettings, match=words):
        load(LimitSettings, environ)


def test_a_run_that_is_started_again_has_todays_limits() -> None:
    """Also one from before there was a maximum."""
    spec = PipelineSpec(cpu_hard_limit=4.0)
    record = PipelineRecord(name=PipelineName("etl"), live=Version(bundle="b", spec=spec, live_since=T0), seen_at=T0)
    trigger = Trigger(triggered_by="manual")
    former = admit(record.name, record, trigger, run_id=fresh_run_id(), cause=Cause(), defaults=Defaults(), now=T0)
    assert isinstance(former, Admitted)
    anew = again(former.run, RunInput(), record, trigger, run_id=fresh_run_id(), policy=POLICY, now=T0)
    assert isinstance(anew, Admitted)
    limits = anew.run.order.limits
    assert (limits.cpu_cores, limits.memory_bytes, limits.timeout_s) == (2.0, 512 * 1024**2, 3600.0)


def test_a_sandbox_holds_the_largest_bundle_twice() -> None:
    """Packed and unpacked, within the default of its working copy."""
    assert BUNDLE_BYTES_MAX + CEILING.total_bytes <= RunnerSettings().work_bytes
