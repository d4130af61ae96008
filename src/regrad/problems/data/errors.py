"""The one error that data can raise: a single line saying what, which and the remedy."""


class DataError(RuntimeError):
    """Data is missing, damaged, hostile or out of reach; the message is one line and names the remedy."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))
