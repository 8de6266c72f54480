"""The compiled functions: chosen, switched off, free of undefined behaviour, and without a trace in what is written."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shuffle import HashPartitioner, MapWriter
from shuffle.native import SWITCH, compiled, is_native

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "shuffle" / "native"


def test_the_functions_are_compiled_here() -> None:
    if compiled("gather") is None or compiled("reading") is None:
        pytest.skip("there was no compiler when the project was installed")
    assert is_native()


@pytest.mark.parametrize("switch", ["off", "on"])
def test_the_switch_chooses_the_functions(monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    module = compiled("gather")
    monkeypatch.setenv(SWITCH, switch)
    assert compiled("gather") is (None if switch == "off" else module)


def test_another_value_of_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(ValueError, match="SHUFFLE_NATIVE must be on or off, not 'yes'"):
        compiled("gather")


@pytest.mark.parametrize("memory", ["1MiB", "256MiB"])
@pytest.mark.parametrize("partition_count", [7, 5000])
def test_the_file_is_the_same_without_compiled_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: str, partition_count: int
) -> None:
    random = np.random.default_rng(1)
    table = pa.table(
        {
            "key": random.integers(0, 10_000, 50_000),
            "text": pa.array(random.integers(0, 2000, 50_000)).cast(pa.string()),
            "few": pa.array(["a", None, "long" * 20]).take(pa.array(random.integers(0, 3, 50_000))).dictionary_encode(),
            "flag": pa.array(random.random(50_000) < 0.5, mask=random.random(50_000) < 0.1),
        }
    )
    for switch in ("on", "off"):
        monkeypatch.setenv(SWITCH, switch)
        with MapWriter(
            tmp_path / f"{switch}.arrow", table.schema, HashPartitioner(["key"], partition_count), memory_bytes=memory
        ) as writer:
            writer.write(table)
        assert writer.report is not None
        assert writer.report.native is is_native()
    assert (tmp_path / "on.arrow").read_bytes() == (tmp_path / "off.arrow").read_bytes()


def test_sanitizers_find_no_fault_in_the_compiled_functions(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    options = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    include = f"-I{sysconfig.get_paths()['include']}"
    for name in ("gather", "reading"):
        module = tmp_path / f"_{name}.so"
        subprocess.run(["gcc", *options, *warnings, include, SOURCES / f"{name}.c", "-o", module], check=True)
    library = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    completed = subprocess.run(
        [
            sys.executable,
            ROOT / "tests" / "shuffle" / "arrays" / "sanitized.py",
            tmp_path,
            "tests/shuffle/arrays/test_gather.py",
            "tests/shuffle/machine/test_pread_runs.py",
            "tests/shuffle/mapping/test_blocks.py",
        ],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0", SWITCH: "on"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout[-5000:] + completed.stderr[-5000:]
    assert " passed" in completed.stdout
