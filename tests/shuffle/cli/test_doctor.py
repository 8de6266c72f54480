"""``shuffle doctor``: for people and for programs, on real file systems, with nothing left behind."""

import errno
import os
import re
from pathlib import Path

import pytest

import shuffle.inspecting.doctor as doctor_module
from shuffle.inspecting.doctor import RANGE_BYTES
from shuffle.options import METHOD_NAMES
from tests.helpers.commands import error_of, json_of, run, run_process, succeeded


@pytest.fixture(autouse=True)
def small_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "SAMPLE_BYTES", 4 << 20)
    monkeypatch.setattr(doctor_module, "_ROUNDS", 1)


@pytest.mark.mount
@pytest.mark.parametrize("fixture", ["ext4_dir", "xfs_dir", "tmpfs_dir"])
def test_text_names_what_there_is_and_what_auto_will_choose(fixture: str, request: pytest.FixtureRequest) -> None:
    directory: Path = request.getfixturevalue(fixture)
    text = succeeded("shuffle doctor .", directory)
    clones = fixture == "xfs_dir"
    for pattern in [
        rf"^kernel +Linux {re.escape(os.uname().release)}$",
        rf"^file system +{fixture.removesuffix('_dir')}$",
        r"^block +4\.0 KiB$",
        r"^free +[\d.]+ [MGT]iB$",
        r"^shares blocks +yes$" if clones else rf"^shares blocks +no \({errno.errorcode[errno.EOPNOTSUPP]}: .+\)$",
        r"^unnamed files +yes$",
        r"^copy_file_range +yes$",
        r"^sendfile +yes$",
        r"^open sources +[\d,]+ at the same time \(ulimit -n\)$",
        r"^threads +\d+ cores?$",
        rf"^ranges of +{' +'.join(METHOD_NAMES)} +auto +auto, sources just written$",
        rf"^ +1\.0 MiB.* +{'clone' if clones else 'gather'} +gather$",
    ]:
        assert re.search(pattern, text, re.MULTILINE), (pattern, text)
    assert os.listdir(directory) == []


@pytest.mark.mount
def test_json_holds_the_same(xfs_dir: Path) -> None:
    diagnosis = json_of("shuffle doctor . --json", xfs_dir)
    assert diagnosis["file_system"] == "xfs"
    assert diagnosis["methods"]["clone"] == {"works": True, "answer": "yes"}
    assert [choice["range_bytes"] for choice in diagnosis["choices"]] == list(RANGE_BYTES)
    assert {rate["method"] for rate in diagnosis["rates"]} == set(METHOD_NAMES)
    assert os.listdir(xfs_dir) == []


def test_a_directory_that_is_missing_is_an_error_in_one_line(tmp_path: Path) -> None:
    assert error_of(run("shuffle doctor missing", tmp_path)).endswith("missing: No such file or directory")


@pytest.mark.root
def test_a_directory_that_may_not_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir(mode=0o555)
    completed = run_process("shuffle doctor others", tmp_path, obey_permissions=True)
    assert error_of(completed).endswith("others: Permission denied")
    assert os.listdir(tmp_path / "others") == []
