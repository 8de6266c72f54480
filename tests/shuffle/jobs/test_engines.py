"""Executors as engines of a job: which are replaced, and where a task can be placed."""

from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

import pytest

from shuffle.jobs.engines import Engine
from shuffle.testing import SimulatedHosts

pytestmark = pytest.mark.process


class Broken(Executor):
    """An executor of which nobody knows how another one is made."""

    def __init__(self, secret: str) -> None:
        del secret

    def submit(self, *_: Any, **_keywords: Any) -> Future[Any]:
        raise BrokenExecutor("a worker died")


def test_an_executor_that_cannot_be_made_again_stays_broken() -> None:
    with pytest.raises(BrokenExecutor, match="the executor broke, and Broken cannot be made again"):
        Engine(Broken("x")).submit(dict)


def test_a_task_is_not_placed_where_nobody_works() -> None:
    hosts = SimulatedHosts("ab")
    with pytest.raises(ValueError, match="no worker is left on host c"):
        Engine(hosts).submit(dict, host="c")
    with pytest.raises(ValueError, match="every host is full"):
        Engine(hosts).submit(dict, avoid={"a", "b"})
    with pytest.raises(ValueError, match="no worker is on any of these hosts"):
        hosts.submit_on(["nowhere"], dict)
    hosts.shutdown()
