"""What the caller of a job can choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args

from shuffle.option_kinds import Count, Flag, Seconds, Size, check_choice, check_options
from shuffle.options import MapOptions

ChangedRows = Literal["raise", "rerun"]


class JobKeywords(TypedDict, total=False):
    """The keywords of ``JobOptions``."""

    attempts: int
    map: MapOptions
    stall_seconds: float
    silent_seconds: float
    lease_seconds: float
    resume_seconds: float
    merge_from: int
    keep_order: bool
    unit_bytes: int | str
    slice_bytes: int | str
    changed_rows: ChangedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job runs its tasks.

    Attributes:
        attempts: How often a task may be started before its error ends the job.
        map: options of each map task; those of its ``merge`` also apply to host merges.
        stall_seconds: A task without an answer for this long, and for three times as long as the slowest finished task
            of its stage, gets a second attempt. The first attempt to answer wins.
        silent_seconds: A server without a sign of life for this long is looked after. The server is started again, or
            its host is given up.
        lease_seconds: The files of a driver that dies are removed after this time.
        resume_seconds: The same for a job with ``resume``, whose files wait for the next driver.
        merge_from: Outputs of one host that are worth a host merge. Fewer are read as they are, and so are outputs
            whose partitions have 1 MiB or more on average. Merges begin when a worker has no map to do.
        keep_order: With ``Exchange.hosts``, merges on hosts lose the order of the inputs in a partition; True keeps the
            order and merges nothing. ``Exchange.directory`` always keeps the order.
        unit_bytes: Neighbouring small partitions are reduced by one task, up to this many bytes.
        slice_bytes: A partition of more bytes is cut into slices if the job has a ``combine`` function.
        changed_rows: What happens if a map task gives other rows when it runs again, after partitions were reduced:
            ``"raise"`` ends the job; ``"rerun"`` reduces all partitions again.
    """

    attempts: Count = 4
    map: MapOptions = field(default_factory=MapOptions)
    stall_seconds: Seconds = 60
    silent_seconds: Seconds = 10
    lease_seconds: Seconds = 120
    resume_seconds: Seconds = 24 * 3600
    merge_from: Count = 4
    keep_order: Flag = False
    unit_bytes: Size = 64 << 20
    slice_bytes: Size = 256 << 20
    changed_rows: ChangedRows = "raise"

    if TYPE_CHECKING:

        def __init__(self, **keywords: Unpack[JobKeywords]) -> None: ...

    def __post_init__(self) -> None:
        check_options(self)
        check_choice("changed_rows", self.changed_rows, get_args(ChangedRows))
        if self.merge_from < 2:
            raise ValueError(f"merge_from must be 2 or more, not {self.merge_from}: one output is not worth a merge")
        if self.map.spills_only:
            raise ValueError("spills_only leaves map tasks without outputs, which the job reads")
