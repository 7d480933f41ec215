"""The roots of the exceptions that this system raises on purpose, and nothing else."""


class FastFlowError(Exception):
    """An error that the reader can act on. Its message is a sentence that says what to do."""


class Fatal(FastFlowError):
    """No restart can mend this: the service ends, and a person must act."""
