"""The two kinds of files that are merged, for tests of what both promise."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.helpers.spark_files import assert_spark_output, ranges_of_spark, write_spark
from tests.helpers.spills import assert_merge_of, random_spill

FamilyName = Literal["arrow", "spark"]
FAMILIES: tuple[FamilyName, ...] = ("arrow", "spark")


@dataclass(frozen=True)
class Family:
    """Sources of one kind in ``maps``, and what their merge must be, in a directory for the target alone."""

    name: FamilyName
    home: Path

    @property
    def target(self) -> Path:
        return self.home / "outputs" / f"merged.{'arrow' if self.name == 'arrow' else 'data'}"

    @property
    def outputs(self) -> list[str]:
        """What there is besides the sources."""
        return sorted(path.name for path in self.target.parent.iterdir())

    def write(self, *sizes: Sequence[int]) -> list[Path]:
        """A source for each list of sizes of partitions: rows in Arrow files, bytes in Spark's."""
        for name in ("maps", "outputs"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        sources = []
        for number, counts in enumerate(sizes):
            if self.name == "arrow":
                sources.append(random_spill(self.home / "maps" / f"map-{number}.spill.arrow", counts))
            else:
                generator = random.Random(number)
                ranges = [generator.randbytes(count) for count in counts]
                sources.append(write_spark(self.home / "maps" / f"shuffle_0_{number}_0.data", ranges))
        return sources

    def assert_merged(self, sources: Sequence[Path]) -> None:
        """The target is whole, and nothing else is there."""
        if self.name == "arrow":
            assert_merge_of(sources, self.target)
            assert self.outputs == [self.target.name]
        else:
            merged = [b"".join(parts) for parts in zip(*map(ranges_of_spark, sources), strict=True)]
            assert_spark_output(self.target, merged)
            assert len(self.outputs) == 3
