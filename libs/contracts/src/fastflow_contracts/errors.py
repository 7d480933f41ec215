"""The root of every exception this system raises on purpose. Nothing else may live here."""


class FastFlowError(Exception):
    """Something the reader can act on; the message is a sentence that says what to do."""
