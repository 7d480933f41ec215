"""The shapes of all answers and bodies: the JSON of the API, and the data of the pages. Data only.

The OpenAPI document is generated from these shapes. Every field is always present, and null when it has no value.
Times are aware and in UTC, sizes are in bytes, durations in seconds. No shape contains the value of a variable.
"""

from __future__ import annotations

from fastflow_api.shapes.base import HIDDEN, Accepted, Error, Shape
from fastflow_api.shapes.bodies import Body, JobSwitch, LinkBody, PauseBody, RedriveBody, RetryBody, RunBody, SecretBody
from fastflow_api.shapes.cells import Cell, CellAttempt, CellError, CellEvent, CellList, CellStatus, Output
from fastflow_api.shapes.graph import DownstreamTrigger, Edge, Graph, Node, Source
from fastflow_api.shapes.installation import (
    Encrypted,
    Health,
    LoginCode,
    PipelineChange,
    PushAnswer,
    Runner,
    Runners,
    SyncLogs,
    SyncReport,
    SyncStatus,
)
from fastflow_api.shapes.output import LogLine, LogStream, PartialLine, Sample, SampleList
from fastflow_api.shapes.pauses import Pause, Pauses
from fastflow_api.shapes.pipelines import (
    CrashLoop,
    DailyStats,
    Day,
    Pipeline,
    PipelineDetail,
    Schedule,
    Stats,
    VersionNotice,
    VersionProblem,
    Webhook,
)
from fastflow_api.shapes.runs import (
    Attempt,
    ErrorType,
    Limits,
    Phases,
    Run,
    RunDetail,
    RunIds,
    RunMark,
    RunPage,
    Skip,
    Status,
    TriggeredBy,
)
from fastflow_api.shapes.schedules import Catchup, Job, JobKind, NextRuns, Window
from fastflow_api.shapes.skips import Redriven, SkipDetail, SkipPage

__all__ = [
    "HIDDEN",
    "Accepted",
    "Attempt",
    "Body",
    "Catchup",
    "Cell",
    "CellAttempt",
    "CellError",
    "CellEvent",
    "CellList",
    "CellStatus",
    "CrashLoop",
    "DailyStats",
    "Day",
    "DownstreamTrigger",
    "Edge",
    "Encrypted",
    "Error",
    "ErrorType",
    "Graph",
    "Health",
    "Job",
    "JobKind",
    "JobSwitch",
    "Limits",
    "LinkBody",
    "LogLine",
    "LogStream",
    "LoginCode",
    "NextRuns",
    "Node",
    "Output",
    "PartialLine",
    "Pause",
    "PauseBody",
    "Pauses",
    "Phases",
    "Pipeline",
    "PipelineChange",
    "PipelineDetail",
    "PushAnswer",
    "RedriveBody",
    "Redriven",
    "RetryBody",
    "Run",
    "RunBody",
    "RunDetail",
    "RunIds",
    "RunMark",
    "RunPage",
    "Runner",
    "Runners",
    "Sample",
    "SampleList",
    "Schedule",
    "SecretBody",
    "Shape",
    "Skip",
    "SkipDetail",
    "SkipPage",
    "Source",
    "Stats",
    "Status",
    "SyncLogs",
    "SyncReport",
    "SyncStatus",
    "TriggeredBy",
    "VersionNotice",
    "VersionProblem",
    "Webhook",
    "Window",
]
