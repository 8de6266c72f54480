"""Options: their defaults, and what they refuse."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle import FetchOptions, HashPartitioner, MapOptions, MapWriter, MergeOptions, ServeOptions
from shuffle.http_options import FetchKeywords, ServeKeywords
from shuffle.machine.cores import usable_cores
from shuffle.options import TRANSFER_TO_VARIABLE, MapKeywords, MergeKeywords


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRANSFER_TO_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transfer_to": "maybe"}, "transfer_to must be one of auto, on, off, not 'maybe'"),
        ({"transfer_to": ""}, "transfer_to must be one of auto, on, off, not ''"),
        ({"method": "rsync"}, "method must be one of auto, .*buffered, not 'rsync'"),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
        ({"threads": -1}, "threads must be 1 or more, not -1"),
        ({"transfer_to": "off", "method": "sendfile"}, "method sendfile copies inside the kernel, and transfer_to is"),
        ({"transfer_to": "off", "method": "copy_file_range"}, "copies inside the kernel, and transfer_to is off"),
        ({"compact": True, "method": "gather"}, "decodes, so that nothing is copied with method gather"),
        (
            {"compact": True, "memory_bytes": (1 << 20) - 1},
            "memory_bytes must be 1048576 bytes or more, not 1048575",
        ),
    ],
)
def test_merge_options_out_of_bounds_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MergeOptions(**arguments)  # type: ignore[arg-type]


def test_kernel_copying_switched_off_goes_with_buffered_copying() -> None:
    assert MergeOptions(transfer_to="off", method="buffered").method == "buffered"


def test_a_map_task_needs_some_memory() -> None:
    assert MapOptions(memory_bytes=1 << 20).memory_bytes == 1 << 20
    with pytest.raises(ValueError, match="memory_bytes must be 1048576 bytes or more, not 1048575"):
        MapOptions(memory_bytes=(1 << 20) - 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", "2"), ("threads", True), ("threads", None), ("threads", 1.5), ("overwrite", "no"), ("durable", 1)],
)
def test_an_option_of_another_type_is_refused_by_its_name(name: str, value: object) -> None:
    kinds: list[Any] = [MapOptions, MergeOptions]
    for kind in kinds:
        with pytest.raises(TypeError, match=f"{name} must be .*, not {value!r}"):
            kind(**{name: value})


KINDS = [
    (MergeOptions, MergeKeywords),
    (MapOptions, MapKeywords),
    (ServeOptions, ServeKeywords),
    (FetchOptions, FetchKeywords),
]


@pytest.mark.parametrize(("kind", "keywords"), KINDS)
def test_each_option_is_a_keyword(kind: type, keywords: type) -> None:
    assert [field.name for field in dataclasses.fields(kind)] == list(keywords.__annotations__)


@pytest.mark.parametrize("name", ["delete_sources", "compact", "merge", "overwrit"])
def test_an_option_that_does_not_apply_is_refused(name: str, tmp_path: Path) -> None:
    schema = pa.schema([("key", pa.int64())])

    with pytest.raises(TypeError, match=f"no option '{name}' here; the options are memory_bytes, "):
        MapWriter(tmp_path / "a.arrow", schema, HashPartitioner(["key"], 2), **{name: True})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compact": False, "memory_bytes": "2MiB"}, "memory of a compacting merge, and compact is off"),
        ({"spills_only": True, "verify": True}, "makes no target, so verify has nothing to do"),
        ({"spills_only": True, "method": "gather"}, "makes no target, so method has nothing to do"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    kind: Any = MapOptions if "spills_only" in arguments else MergeOptions
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("value", ["auto", "on", "off"])
def test_the_environment_sets_the_default_and_an_argument_overrides_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRANSFER_TO_VARIABLE, value)
    assert MergeOptions().transfer_to == value
    assert MapOptions().merge.transfer_to == value
    assert MergeOptions(transfer_to="on").transfer_to == "on"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRANSFER_TO_VARIABLE, "")
    assert MergeOptions().transfer_to == "auto"


def test_a_wrong_variable_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRANSFER_TO_VARIABLE, "yes")
    with pytest.raises(ValueError, match="SHUFFLE_TRANSFER_TO must be one of auto, on, off, not 'yes'"):
        MergeOptions()


def test_threads_are_those_that_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
        assert MergeOptions().threads == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_options_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MergeOptions().threads = 2  # type: ignore[misc]
