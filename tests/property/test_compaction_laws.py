"""Laws of compacting: for any rows, cut anyhow into batches and sources."""

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shuffle import MergeOptions, merge
from shuffle.merging.rebatching import BATCH_BYTES
from shuffle.testing import assert_same_rows, write_spill
from shuffle.testing.strategies import alignments, compressions, partitions, schemas
from spill_format import SpillFile

# Of rows in KiB: some batches of 1 MiB are full, and some rows pass them alone.
row_kib = st.sampled_from([0, 1, 30, 300, 900, 1024, 1500])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), schema=schemas(), alignment=alignments, compression=compressions)
def test_rows_and_order_are_a_plain_merges_and_compacting_again_changes_no_byte(
    data: st.DataObject, schema: pa.Schema, alignment: int, compression: str | None
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        sources = [
            write_spill(
                data.draw(partitions(schema)),
                Path(directory, f"{number}.spill.arrow"),
                schema=schema,
                partition_count=6,
                alignment=alignment,
                compression=compression,
            )
            for number in range(data.draw(st.integers(1, 3)))
        ]
        plain, compacted, again = (Path(directory, f"{name}.arrow") for name in ("plain", "compacted", "again"))
        merge(sources, plain)
        merge(sources, compacted, MergeOptions(compact=True))
        assert_same_rows(compacted, plain)
        merge([compacted], again, MergeOptions(compact=True))
        assert again.read_bytes() == compacted.read_bytes()
        with SpillFile(compacted) as file:
            file.verify()
            assert set(file.batch_counts.tolist()) <= {0, 1}  # these are few rows


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(row_kib, st.booleans(), st.integers(0, 2)), max_size=12),
    threads=st.integers(1, 4),
    memory_mib=st.sampled_from([1, 8, 256]),
)
def test_batches_are_full_unless_their_partition_ends(
    rows: list[tuple[int, bool, int]], threads: int, memory_mib: int
) -> None:
    """Each row has a length, and is in a batch of its own or not, and in some source."""
    schema = pa.schema([("number", pa.int64()), ("text", pa.binary())])
    options = MergeOptions(compact=True, threads=threads, memory_bytes=memory_mib << 20)
    with tempfile.TemporaryDirectory() as directory:
        batches: list[list[pa.RecordBatch]] = [[], [], []]
        for number, (kib, is_alone, source) in enumerate(rows):
            batch = pa.record_batch([[number], [bytes([number]) * (kib << 10)]], schema)
            if batches[source] and not is_alone:
                batch = pa.concat_batches([batches[source].pop(), batch])
            batches[source].append(batch)
        sources = [
            write_spill({1: some}, Path(directory, f"{number}.spill.arrow"), schema=schema, partition_count=3)
            for number, some in enumerate(batches)
        ]
        plain, compacted, again = (Path(directory, f"{name}.arrow") for name in ("plain", "compacted", "again"))
        merge(sources, plain)
        merge(sources, compacted, options)
        assert_same_rows(compacted, plain)
        with SpillFile(compacted) as file:
            file.verify()
            sizes = [(batch.num_rows, _content_bytes(batch)) for batch in file.batches(1)]
        for row_count, size in sizes[:-1]:
            assert size >= BATCH_BYTES
            assert size < BATCH_BYTES + (1500 << 10) + 13 * row_count
        merge([compacted], again, options)
        assert again.read_bytes() == compacted.read_bytes()


def _content_bytes(batch: pa.RecordBatch) -> int:
    """Values, offsets, and bits of validity."""
    texts: list[bytes] = batch["text"].to_pylist()
    return sum(map(len, texts)) + (8 + 4) * len(texts) + 2 * len(texts) // 8
