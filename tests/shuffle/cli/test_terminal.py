"""What commands print where, and what they do not load to do it."""

import os
import pty
import shlex
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shuffle.cli import COMMANDS
from shuffle.cli.terminal import describe
from shuffle.rows.errors import InputError
from spill_format import SpillWriter
from spill_format.errors import PositionError, TargetExistsError
from tests.helpers.commands import SCRIPTS, command_line, environment_with, error_of, run, run_process, succeeded
from tests.helpers.spills import random_spills


@pytest.mark.parametrize(
    "arguments",
    [
        "merge spills -o merged.arrow --no-progress",
        "merge spills --dry-run --json",
        "inspect spills --no-progress",
        "verify spills --no-progress --fast",
        "--help",
        "partition --help",
    ],
)
def test_what_decodes_no_rows_loads_neither_arrow_nor_bars(tmp_path: Path, spills: list[Path], arguments: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "shuffle", *arguments.split()],
        cwd=tmp_path,
        env=environment_with(),
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in completed.stderr.splitlines()}
    assert "numpy" in modules
    assert not modules & {"pyarrow", "tqdm", "crc32c.tests", "asyncio", "multiprocessing"}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("shuffle-merge spills -o merged.arrow", False),
        ("shuffle-merge spills -o merged.arrow --progress", True),
        ("shuffle verify spills", False),
        ("shuffle verify spills --progress", True),
        ("shuffle inspect spills --progress", True),
        ("shuffle read spills/spill-0.spill.arrow -o rows.csv --progress", True),
        ("shuffle partition spills --by key --partitions 3 -o new.arrow --progress", True),
        ('shuffle partition spills --range key --where "key > 0" --partitions 3 -o new.arrow --progress', True),
        ("shuffle partition spills --round-robin --partitions 3 -o new.arrow --spills-only --progress", True),
        ("shuffle partition spills --by key --partitions 3 -o new.arrow", False),
    ],
)
def test_a_bar_is_on_stderr_and_only_where_it_is_asked_for(
    tmp_path: Path, spills: list[Path], command: str, shown: bool
) -> None:
    completed = run(command, tmp_path)
    assert completed.returncode == 0
    assert ("%|" in completed.stderr) == shown
    assert "%|" not in completed.stdout


@pytest.mark.parametrize(("flags", "shown"), [("", True), ("--no-progress", False), ("--quiet", False)])
def test_a_bar_is_shown_on_a_terminal(tmp_path: Path, spills: list[Path], flags: str, shown: bool) -> None:
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (25, 80))
    words = command_line(f"shuffle-merge spills -o merged.arrow {flags}")
    subprocess.run(words, cwd=tmp_path, env=environment_with(), stderr=terminal, check=True)
    os.write(terminal, b"(end)")
    os.close(terminal)
    printed = b""
    while not printed.endswith(b"(end)"):
        printed += os.read(reader, 1 << 16)
    os.close(reader)
    assert (b"merging" in printed) == shown


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    random_spills(tmp_path, [200_000])
    reading = " ".join(command_line("shuffle read spill-0.spill.arrow"))
    for format_name in ("arrow", "csv", "parquet"):
        pipe = f"{reading} --format {format_name} | head -c 10 > /dev/null; echo ${{PIPESTATUS[0]}}"
        completed = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert (completed.stdout, completed.stderr) == ("141\n", ""), format_name


@pytest.mark.parametrize(
    "command", ["shuffle read spills/spill-0.spill.arrow", "shuffle inspect spills", "shuffle --help"]
)
def test_a_full_disk_behind_stdout_is_an_error(tmp_path: Path, spills: list[Path], command: str) -> None:
    with open("/dev/full", "w") as full:
        completed = subprocess.run(
            command_line(command), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert completed.returncode == 2
    assert completed.stderr.splitlines() == ["shuffle: error: stdout: No space left on device"]


def test_closed_streams_are_errors_where_they_are_needed_and_no_file_takes_their_place(
    tmp_path: Path, spills: list[Path]
) -> None:
    for command, code in (
        ("shuffle read spills/spill-0.spill.arrow", 2),
        ("shuffle inspect spills", 2),
        ("shuffle verify spills --json", 2),
        ("shuffle-merge spills -o merged.arrow", 0),
    ):
        line = " ".join(command_line(command))
        completed = run_shell(f"{line} >&-", tmp_path)
        assert completed.returncode == code
        assert completed.stderr.endswith("error: stdout: Bad file descriptor\n") == (code == 2)
        (tmp_path / "merged.arrow").unlink(missing_ok=True)
        assert run_shell(f"{line} <&- >&- 2>&-", tmp_path).returncode == code
    program = "from shuffle import __main__ as m; m._commands('x'); print(open('a', 'w').fileno(), file=open('b', 'w'))"
    run_shell(f'{sys.executable} -c "{program}" <&- >&- 2>&-', tmp_path)
    assert int((tmp_path / "b").read_text()) > 2


def run_shell(line: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("shuffle-merge spills -o merged.arrow", 0),
        ("shuffle verify spills --progress", 0),
        ("shuffle verify cut.arrow", 1),
        ("shuffle verify nowhere", 2),
    ],
)
def test_a_full_disk_behind_stderr_leaves_the_exit_code_true(
    tmp_path: Path, spills: list[Path], command: str, code: int
) -> None:
    (tmp_path / "cut.arrow").write_bytes(spills[0].read_bytes()[:-100])
    with open("/dev/full", "w") as full:
        completed = subprocess.run(command_line(command), cwd=tmp_path, stderr=full, check=False)
    assert completed.returncode == code


def test_a_full_disk_under_the_log_is_one_warning(tmp_path: Path, spills: list[Path]) -> None:
    completed = subprocess.run(
        command_line("shuffle-merge spills -o merged.arrow --quiet --log /dev/full"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0
    assert completed.stderr.splitlines() == [
        "shuffle-merge: warning: /dev/full: the log could not be written: No space left on device"
    ]


def test_names_are_escaped_in_csv_and_in_a_log(tmp_path: Path, spills: list[Path]) -> None:
    spills[0].rename(tmp_path / "two\nlines\x1b[2J")
    (tmp_path / "log").touch()
    for command in ("shuffle inspect --csv", "shuffle-merge missing -o merged.arrow --log log"):
        line = [*command_line(command), "two\nlines\x1b[2J"]
        completed = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "\x1b" not in completed.stdout + completed.stderr + (tmp_path / "log").read_text()
        if "csv" in command:
            assert completed.stdout.splitlines()[1].startswith(r"two\nlines\x1b[2J,0,")


@pytest.mark.parametrize("format_name", ["arrow", "parquet"])
def test_bytes_are_not_written_to_a_terminal(tmp_path: Path, spills: list[Path], format_name: str) -> None:
    reader, terminal = pty.openpty()
    completed = subprocess.run(
        command_line(f"shuffle read spills/spill-0.spill.arrow --format {format_name}"),
        cwd=tmp_path,
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(reader)
    assert completed.returncode == 2
    assert "not for terminals: give -o OUT" in completed.stderr


def test_a_warning_is_one_line_and_no_failure(tmp_path: Path, spills: list[Path]) -> None:
    (tmp_path / "spills").chmod(0o500)
    completed = run_process(
        "shuffle-merge spills -o merged.arrow --delete-sources --quiet", tmp_path, obey_permissions=True
    )
    assert completed.returncode == 0
    assert completed.stderr.splitlines() == [
        f"shuffle-merge: warning: the source spills/spill-{number}.spill.arrow could not be deleted: Permission denied"
        for number in (0, 1, 2)
    ]


def test_an_unexpected_error_is_one_line_that_names_debug(tmp_path: Path, spills: list[Path]) -> None:
    # A defect, made by a module that cannot be imported.
    (tmp_path / "shuffle_defect").mkdir()
    (tmp_path / "shuffle_defect" / "sitecustomize.py").write_text(
        "import shuffle.merging.merge\n\ndef broken(*_arguments, **_keywords):\n    raise KeyError('lost')\n\n"
        "import sys\nsys.modules['shuffle.merging.merge'].prepare_merge = broken\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path / "shuffle_defect"), os.environ.get("PYTHONPATH")]))
    message = error_of(run_process("shuffle-merge spills -o merged.arrow", tmp_path, PYTHONPATH=path))
    assert message == "unexpected KeyError: 'lost'; this is a defect of shuffle: --debug shows where"


@pytest.mark.parametrize("command", ["shuffle --version", "shuffle-merge --version"])
def test_the_version_is_told(tmp_path: Path, command: str) -> None:
    assert succeeded(command, tmp_path).startswith("shuffle-merge 0.")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_an_example(tmp_path: Path, name: str) -> None:
    text = succeeded(f"shuffle {name} --help", tmp_path)
    assert "Examples:" in text
    assert "  shuffle" in text.split("Examples:")[1]
    assert name in succeeded("shuffle --help", tmp_path)


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("shuffle ins", ["plain,inspect"]),
        ("shuffle inspect --plo", ["plain,--plot"]),
        ("shuffle inspect --sort ba", ["plain,batches"]),
        ("shuffle verify spi", ["file,spi"]),
        ("shuffle-merge --method g", ["plain,gather"]),
    ],
)
def test_words_are_completed(tmp_path: Path, words: str, completions: list[str]) -> None:
    script, *_ = words.split()
    variable = f"_{script.replace('-', '_').upper()}_COMPLETE"
    count = str(len(words.split()) - 1)
    asked: dict[str, Any] = {variable: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
    completed = run(script, tmp_path, **asked)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.splitlines() == completions


@pytest.mark.parametrize("script", ["shuffle", "shuffle-merge"])
def test_bash_takes_the_completion_that_help_names(tmp_path: Path, script: str) -> None:
    line = f'eval "$(_{script.replace("-", "_").upper()}_COMPLETE=bash_source {script})"'
    assert line in succeeded("shuffle --help", tmp_path)
    path = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    completed = subprocess.run(
        ["bash", "-c", f"{line}; complete -p {script}"],
        env=environment_with(PATH=path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.rstrip().endswith(f" {script}")


def test_errors_are_red_on_a_terminal_alone(tmp_path: Path) -> None:
    words = command_line("shuffle verify gone.arrow")
    for variables, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        reader, terminal = pty.openpty()
        environment = environment_with(TERM="xterm", **variables)
        if not variables:
            environment.pop("NO_COLOR", None)
        subprocess.run(words, cwd=tmp_path, env=environment, stderr=terminal, check=False)
        os.close(terminal)
        assert (b"\x1b[31m" in os.read(reader, 1 << 16)) == is_coloured
        os.close(reader)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            TargetExistsError("there", path="k=True", advice="let overwrite=True do it"),
            "k=True: there; let --overwrite do it",
        ),
        (PositionError("lost", path="a", advice='transfer_to="off" helps'), "a: lost; --transfer-to off helps"),
        (InputError("no column 'x'", "columns"), "--columns: no column 'x'"),
        (InputError("columns=True"), "columns=True"),
    ],
    ids=str,
)
def test_a_command_advises_flags_where_a_function_advises_keywords(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_the_first_word_of_an_error_is_the_program(tmp_path: Path) -> None:
    assert run("shuffle-merge nowhere -o a.arrow", tmp_path).stderr.startswith("shuffle-merge: error: nowhere")
    assert run("shuffle merge nowhere -o a.arrow", tmp_path).stderr.startswith("shuffle: error: nowhere")


def test_a_command_without_arguments_is_help(tmp_path: Path) -> None:
    completed = run("shuffle", tmp_path)

    assert (completed.returncode, completed.stdout) == (2, "")
    assert completed.stderr == succeeded("shuffle --help", tmp_path)


def test_an_interrupt_while_modules_are_imported_is_quiet() -> None:
    program = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from shuffle.__main__ import main
sys.exit(main())
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (completed.returncode, completed.stdout, completed.stderr) == (130, b"", b"")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(
            (f"shuffle read rows.arrow -o new.{suffix}", f"new.{suffix}")
            for suffix in ("csv", "jsonl", "parquet", "arrow")
        ),
        ("shuffle read rows.arrow --format csv", "stdout"),
        ("shuffle read rows.arrow --raw -o new", "new"),
        ("shuffle repair rows.arrow -o new.arrow", "new.arrow"),
        ("shuffle-merge rows.arrow -o new.arrow", "new.arrow"),
        ("shuffle partition rows.arrow --by key --partitions 2 -o new.arrow", "new.arrow"),
    ],
)
def test_an_error_of_writing_names_the_file(tmp_path: Path, command: str, name: str) -> None:
    rows = pa.table({"key": range(100_000)})
    with SpillWriter(tmp_path / "rows.arrow", rows.schema, partition_count=1) as writer:
        writer.write(0, rows)
    limited = f"ulimit -f 100; {shlex.join(command_line(command))} > stdout"
    completed = subprocess.run(["bash", "-c", limited], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert completed.returncode == 2
    (line,) = completed.stderr.splitlines()
    assert f"{name}: File too large" in line


def test_a_command_starts_without_pandas_which_takes_long(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['shuffle', '--version']; from shuffle.__main__ import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", f"import atexit; atexit.register(lambda: __import__('pandas')); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModuleNotFoundError: commands do without pandas" in completed.stderr


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("MemoryError", "out of memory"),
        ("ImportError('many lines\\n\\nlibrary: failed to map')", "library: failed to map"),
    ],
)
def test_a_command_that_cannot_start_says_so_and_finds_no_damage(tmp_path: Path, fault: str, reason: str) -> None:
    (tmp_path / "click.py").write_text(f"raise {fault}\n")
    completed = subprocess.run(
        [sys.executable, "-m", "shuffle", "verify", "some.arrow"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (2, f"shuffle: error: cannot start: {reason}\n")
