"""The root of every exception the runner raises on purpose. Nothing else may live here."""

from fastflow_contracts.errors import FastFlowError


class RunnerError(FastFlowError):
    """The runner cannot do its work; the message says what to do. A script that fails is not an error."""
