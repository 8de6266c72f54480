"""A plan that tests drive: events go in, and what it wants done is written down."""

from dataclasses import replace

import numpy as np

from shuffle.jobs.descriptor import Output, Server
from shuffle.jobs.events import (
    Action,
    Cancel,
    Event,
    Full,
    MapDone,
    MergeDone,
    Rules,
    StartMap,
    StartMerge,
    StartReduce,
)
from shuffle.jobs.plan import Plan

PARTITIONS = 5
HOSTS = ("a", "b", "c")


def server(host: str, incarnation: int = 0) -> Server:
    return Server(incarnation=f"{host}{incarnation}", control_url="", urls={f"/{host}": f"http://{host}/"})


def output(number: int, host: str = "a", attempt: str = "1", digest: str = "same") -> Output:
    sizes = np.full(PARTITIONS, 10 + number, np.int64)
    return Output(
        maps=(number,),
        attempt=attempt,
        host=host,
        path=f"/{host}/map-{number}-{attempt}",
        rows=PARTITIONS,
        byte_count=int(sizes.sum()),
        sizes=sizes,
        digest=digest,
        server=server(host),
    )


class Driven:
    """A plan, and what it wants done."""

    def __init__(self, maps: int = 3, **rules: object) -> None:
        chosen = Rules(**{"running": 100, "merges": "never", **rules})  # type: ignore[arg-type]
        self.plan = Plan([maps], PARTITIONS, chosen)
        self.started: dict[int, StartMap | StartMerge | StartReduce] = {}
        self.actions: list[Action] = []
        self._do(self.plan.start())

    def tell(self, event: Event) -> list[Action]:
        if isinstance(event, MergeDone | Full):
            self.started.pop(event.task, None)
        actions = self.plan.handle(event)
        self._do(actions)
        return actions

    def _do(self, actions: list[Action]) -> None:
        self.actions += actions
        for action in actions:
            if isinstance(action, StartMap | StartMerge | StartReduce):
                self.started[action.task] = action
            elif isinstance(action, Cancel):
                self.started.pop(action.task, None)

    def map_tasks(self, number: int) -> list[int]:
        return [task for task, start in self.started.items() if isinstance(start, StartMap) and start.map == number]

    def run_maps(self, *hosts: str) -> None:
        for number, host in enumerate(hosts):
            self.tell(MapDone(self.map_tasks(number)[0], output(number, host)))

    def merges(self) -> list[StartMerge]:
        return [start for start in self.started.values() if isinstance(start, StartMerge)]

    def reduces(self) -> list[StartReduce]:
        return [start for start in self.started.values() if isinstance(start, StartReduce)]


def wanted(actions: list[Action], kind: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def map_outputs(driven: Driven, *numbers: int, host: str = "a") -> None:
    for number in numbers:
        driven.tell(MapDone(driven.map_tasks(number)[-1], output(number, host)))


def merged(merge: StartMerge) -> Output:
    """What a merge answers."""
    maps = tuple(source.map for source in merge.sources)
    return replace(output(maps[0], merge.host), maps=maps, path=f"/{merge.host}/merge-{maps[0]}")
