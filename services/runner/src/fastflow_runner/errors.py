"""The root of every exception the runner raises on purpose. Nothing else may live here."""

from fastflow_contracts.errors import FastFlowError


class RunnerError(FastFlowError):
    """The runner cannot do its work. The message says what to do. A failing script is not such an error."""
