"""The result of one place among many: its rows, or an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuffle.client.place import Place
from shuffle.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fetched:
    """The rows of a place, or an error.

    Attributes:
        place: the partitions.
        error: a ``FetchError`` where the rows did not arrive, a ``SpillError`` where they are damaged, a ``ValueError``
            where a wanted column is missing, a ``MemoryError`` where they do not fit; None where all is well.
    """

    place: Place
    error: Exception | None
    _rows: pa.Table | None

    @property
    def table(self) -> pa.Table:
        """The rows.

        Raises:
            FetchError, SpillError, ValueError, MemoryError: ``error``.
        """
        if self.error is not None:
            raise self.error
        return self._rows

    def __repr__(self) -> str:
        came = counted(self._rows.num_rows, "row") if self._rows is not None else repr(self.error)
        return f"<Fetched {self.place.url}: {came}>"
