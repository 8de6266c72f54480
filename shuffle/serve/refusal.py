"""What a request is refused with, by whoever finds out that it has to be."""
# PURE

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request is answered with an error's status and one line of text.

    Attributes:
        status: of the answer.
        reason: its text.
        headers: its fields beyond that text's own.
    """

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers: dict[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def closes(self) -> bool:
        """Whether the connection is closed behind the answer."""
        return self.headers.get("Connection") == "close"
