"""What a job did, for people and programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StageName = Literal["map", "merge", "reduce"]


@dataclass(slots=True)
class Stage:
    """What the tasks of one stage did.

    Attributes:
        tasks: that had to be done; maps whose output was lost count again.
        attempts: that were started.
        rows: written by map tasks, merged, or given to ``reduce``.
        bytes_local: of ranges written, merged, or mapped from files.
        bytes_fetched: of ranges, from servers.
        seconds: from the first start to the last answer.
        task_seconds: of all tasks that counted, as workers saw them.
    """

    tasks: int = 0
    attempts: int = 0
    rows: int = 0
    bytes_local: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0
    task_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Why something was done again.

    Attributes:
        stage: map, merge or reduce.
        number: of the map task or the reduce task.
        seconds: since the job began.
        reason: in words.
    """

    stage: StageName
    number: int
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """When a task ran.

    Attributes:
        stage, number: which task.
        host: where; empty if it is not known, as of a task that never answered.
        start, stop: seconds since the job began.
        outcome: ``done``, ``failed``, or ``late``: another attempt was faster.
    """

    stage: StageName
    number: int
    host: str
    start: float
    stop: float
    outcome: Literal["done", "failed", "late"]


@dataclass(slots=True)
class JobReport:
    """What a job did.

    Attributes:
        job: its name.
        partition_count: P.
        stages: by name: map, merge, reduce.
        maps_lost: outputs of map tasks that were lost and computed again.
        retries: what was done again, and why.
        skewed: partitions of more than eight times the mean size, the largest first.
        spans: when which task ran where.
        seconds: from the beginning to the last answer.
    """

    job: str
    partition_count: int
    stages: dict[StageName, Stage] = field(
        default_factory=lambda: {"map": Stage(), "merge": Stage(), "reduce": Stage()}
    )
    maps_lost: int = 0
    retries: list[Retry] = field(default_factory=list)
    skewed: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)

    def timeline(self) -> str:
        """A page of HTML that shows which task ran when on which host."""
        from shuffle.jobs.timeline import timeline_page

        return timeline_page(self)

    def __str__(self) -> str:
        """The report in one line."""
        parts = [
            f"{name} {stage.tasks} tasks in {stage.seconds:.3f} s" for name, stage in self.stages.items() if stage.tasks
        ]
        again = f", {self.maps_lost} map outputs lost, {len(self.retries)} retries" if self.retries else ""
        return f"{self.partition_count} partitions in {self.seconds:.3f} s: {', '.join(parts) or 'nothing'}{again}"
