"""What a copy method answers: done, or stopped at a position because. Pure."""
# PURE

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a method could not go on, although another one may.

    Attributes:
        reason: in words.
        errno: what the system call answered, or None where it answered without an error.
    """

    reason: str
    errno: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a method came.

    Attributes:
        position: in the target; every byte of the span before it is copied, none behind it counts.
        system_calls: that moved data.
        obstacle: None when the whole span is copied.
    """

    position: int
    system_calls: int
    obstacle: Obstacle | None = None
