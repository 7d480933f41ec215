"""The root of what the scheduler raises. Nothing else may live here."""

from fastflow_contracts.errors import FastFlowError


class SchedulerError(FastFlowError):
    """Something the scheduler cannot do; the message says what to do about it."""
