"""What surrounds the ranges of a merged file: the same as of a file that was written whole, and made from little."""

import tracemalloc
from pathlib import Path

import numpy as np

from shuffle.merging.arrow_target import target_header, target_index
from shuffle.merging.formats.arrow import ARROW
from shuffle.merging.plan import MergePlan, plan_merge
from spill_format.structure import FileStructure
from spill_format.trailer import TrailerContent
from tests.helpers.spills import random_spill


def structures_of(directory: Path, *rows: list[int], alignments: tuple[int, ...] = (64,)) -> list[FileStructure]:
    structures = []
    for number, counts in enumerate(rows):
        path = directory / f"{number}.spill.arrow"
        random_spill(path, counts, alignment=alignments[number % len(alignments)], batch_rows=7)
        structure = ARROW.open_source(path).structure
        assert structure is not None
        structures.append(structure)
    return structures


def plan_of(structures: list[FileStructure]) -> MergePlan:
    return plan_merge([structure.index.layout for structure in structures], len(target_header(structures)))


def test_of_one_source_they_are_its_own(tmp_path: Path) -> None:
    (structure,) = structures_of(tmp_path, [20, 0, 3, 7, 8])
    raw = Path(structure.path).read_bytes()
    index = target_index([structure], plan_of([structure]))
    content = TrailerContent(index)
    assert raw.startswith(target_header([structure]))
    assert b"".join(content) == raw[int(index.layout.offsets[-1]) :]


def test_messages_are_those_of_the_sources_partition_by_partition(tmp_path: Path) -> None:
    structures = structures_of(tmp_path, [20, 0, 3], [0, 0, 9], [1, 8, 15], alignments=(64, 4096, 8))
    index = target_index(structures, plan_of(structures))
    lengths, rows = [], []
    for partition in range(3):
        for structure in structures:
            borders = structure.index.first_messages[partition : partition + 2].tolist()
            lengths += structure.index.message_lengths[slice(*borders)].tolist()
        rows.append(sum(structure.index.layout.rows.tolist()[partition] for structure in structures))  # type: ignore[union-attr]
    assert index.message_lengths.tolist() == lengths
    assert index.layout.rows is not None
    assert index.layout.rows.tolist() == rows
    assert index.message_offsets[-1] == index.layout.offsets[-1]
    assert index.alignment == 8


def test_the_content_may_be_asked_for_again(tmp_path: Path) -> None:
    structures = structures_of(tmp_path, [20, 0, 3], [7, 8, 9])
    content = TrailerContent(target_index(structures, plan_of(structures)))
    expected = b"".join(content)
    assert b"".join(content) == expected
    assert len(content) == len(expected)


def test_an_index_without_messages_has_a_trailer(tmp_path: Path) -> None:
    structures = structures_of(tmp_path, [0, 0], [0, 0])
    content = TrailerContent(target_index(structures, plan_of(structures)))
    assert len(b"".join(content)) == len(content)


def test_the_trailer_takes_16_bytes_a_message_however_many_there_are(tmp_path: Path) -> None:
    (structure,) = structures_of(tmp_path, [1] * 5000)
    structures = [structure] * 100
    plan = plan_of(structures)
    tracemalloc.start()
    try:
        content = TrailerContent(target_index(structures, plan))
        for _piece in content:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    message_count = 5000 * 100
    assert len(content) > 36 * message_count  # which is not held
    assert peak < 16 * message_count + (4 << 20)
    assert np.all(np.diff(target_index(structures, plan).message_offsets) > 0)
