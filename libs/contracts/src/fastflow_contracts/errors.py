"""The root of every exception that this system raises on purpose, and nothing else."""


class FastFlowError(Exception):
    """An error that the reader can act on. Its message is a sentence that says what to do."""
