"""Processes that publish the same targets at once: one wins, or, overwriting, all succeed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER_COUNT = 4
ROUND_COUNT = 200

# Each round: all open, all write, all publish at once. Who won is told by an empty file "won-<round>-<worker>".
RACERS = f"""
import multiprocessing, os, sys
from spill_format.errors import TargetExistsError
from spill_format.storage.publication import open_pending
outputs, wins, *options = sys.argv[1:]
if "named" in options:
    del os.O_TMPFILE
context = multiprocessing.get_context("fork")
barrier = context.Barrier({WORKER_COUNT})

def race(worker):
    for number in range({ROUND_COUNT}):
        barrier.wait(60)
        with open_pending(f"{{outputs}}/{{number}}", overwrite="overwrite" in options) as pending:
            os.write(pending.descriptor, b"%d" % worker * 10_000)
            if "overwrite" not in options:
                barrier.wait(60)  # else the early check would decide; overwriting is raced with opening, which sweeps
            try:
                pending.publish()
            except TargetExistsError:
                continue
        os.close(os.open(f"{{wins}}/{{number}}-{{worker}}", os.O_CREAT))

workers = [context.Process(target=race, args=(worker,)) for worker in range({WORKER_COUNT})]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
sys.exit(any(worker.exitcode for worker in workers))
"""


def race(outputs: Path, wins: Path, *options: str) -> list[list[str]]:
    """Let processes race for each of many targets; return who won each."""
    wins.mkdir()
    outputs.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-c", RACERS, str(outputs), str(wins), *options], check=True)
    assert sorted(os.listdir(outputs)) == sorted(str(number) for number in range(ROUND_COUNT))
    winners: list[list[str]] = [[] for _ in range(ROUND_COUNT)]
    for win in os.listdir(wins):
        number, worker = win.split("-")
        winners[int(number)].append(worker)
    for target_number, candidates in enumerate(winners):
        written = (outputs / str(target_number)).read_text()
        assert len(written) == 10_000
        assert set(written) <= set(candidates)
        assert len(set(written)) == 1
    return winners


@pytest.mark.parametrize("options", [[], ["named"]])
def test_of_those_who_race_for_a_target_one_wins(tmp_path: Path, options: list[str]) -> None:
    winners = race(tmp_path / "outputs", tmp_path / "wins", *options)
    assert {len(candidates) for candidates in winners} == {1}


@pytest.mark.parametrize("options", [["overwrite"], ["named", "overwrite"]])
def test_of_those_who_overwrite_at_once_all_succeed_and_none_sweeps_another(tmp_path: Path, options: list[str]) -> None:
    winners = race(tmp_path / "outputs", tmp_path / "wins", *options)
    assert {len(candidates) for candidates in winners} == {WORKER_COUNT}
