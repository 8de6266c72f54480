"""The plan of a job: laws that hold whatever happens in whatever order."""

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shuffle.jobs.descriptor import DiskFull, Output
from shuffle.jobs.events import (
    Accept,
    Event,
    Failed,
    FetchFailed,
    Finish,
    Forget,
    Full,
    HostLost,
    HostRevived,
    HostSilent,
    MapDone,
    MergeDone,
    ReduceDone,
    Stalled,
    StartMap,
    StartMerge,
    StartReduce,
)
from tests.shuffle.jobs.plans import HOSTS, Driven, output, server

MAPS = 8


class JobMachine(RuleBasedStateMachine):
    """Whatever happens: each map counts once, reduces see each map's rows once, and the job ends.

    Several merges run while maps do, and outputs come too late for them.
    """

    merges = "host"
    hosts: tuple[str, ...] = HOSTS

    def __init__(self) -> None:
        super().__init__()
        self.driven = Driven(MAPS, merges=self.merges, merge_from=2, running=6, attempts=200, slots=4)
        self.files: dict[str, str] = {}  # path → host of files that are there
        self.accepted: Counter[int] = Counter()
        self.incarnations = dict.fromkeys((*HOSTS, ""), 0)
        self.merged: dict[int, list[int]] = {}
        self.losses = 0
        self.attempt = 0

    def tell(self, event: Event) -> None:
        start = self.driven.started.pop(event.task, None) if hasattr(event, "task") else None
        actions = self.driven.tell(event)
        for action in actions:
            if isinstance(action, Accept) and isinstance(start, StartMap):
                self.accepted[start.map] += 1
            if isinstance(action, Forget) and action.output.path is not None:
                self.files.pop(action.output.path, None)

    def tasks(self, kind: type) -> list[int]:
        return [task for task, start in self.driven.started.items() if isinstance(start, kind)]

    def make(self, number: int, host: str) -> Output:
        self.attempt += 1
        made = replace(output(number, host, str(self.attempt)), server=server(host, self.incarnations[host]))
        assert made.path is not None
        self.files[made.path] = host
        return made

    @precondition(lambda self: self.tasks(StartMap))
    @rule(data=st.data(), answers=st.booleans())
    def finish_map(self, data: st.DataObject, answers: bool) -> None:
        task = data.draw(st.sampled_from(self.tasks(StartMap)))
        start = self.driven.started[task]
        assert isinstance(start, StartMap)
        made = self.make(start.map, data.draw(st.sampled_from(self.hosts)))
        self.tell(MapDone(task, made) if answers else Failed(task, OSError("killed after publishing")))

    @precondition(lambda self: self.tasks(StartMerge))
    @rule(data=st.data(), outcome=st.sampled_from(["done", "done", "failed", "full"]))
    def finish_merge(self, data: st.DataObject, outcome: str) -> None:
        task = data.draw(st.sampled_from(self.tasks(StartMerge)))
        start = self.driven.started[task]
        assert isinstance(start, StartMerge)
        if outcome == "full":
            self.tell(Full(task, DiskFull(start.host, "no room")))
            return
        if outcome == "failed" or any(source.path not in self.files for source in start.sources):
            self.tell(Failed(task, OSError("gone")))
            return
        made = self.make(start.sources[0].map, start.host)
        self.tell(MergeDone(task, replace(made, maps=tuple(source.map for source in start.sources))))

    @precondition(lambda self: self.tasks(StartReduce))
    @rule(data=st.data())
    def finish_reduce(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(self.tasks(StartReduce)))
        start = self.driven.started[task]
        assert isinstance(start, StartReduce)
        for source in start.sides[0]:
            if source.path not in self.files:
                kind = "gone" if source.incarnation == self.incarnation(source.host) else "unreachable"
                self.tell(FetchFailed(task, source, kind, "not there"))  # type: ignore[arg-type]
                return
            if source.incarnation != self.incarnation(source.host):
                self.tell(FetchFailed(task, source, "unreachable", "refused"))
                return
        self.tell(ReduceDone(task))

    def incarnation(self, host: str) -> str:
        return f"{host}{self.incarnations[host]}"

    @precondition(lambda self: self.driven.started and self.losses < 8)
    @rule(data=st.data())
    def stall_or_fail(self, data: st.DataObject) -> None:
        self.losses += 1
        task = data.draw(st.sampled_from(sorted(self.driven.started)))
        self.tell(Failed(task, OSError("killed"))) if data.draw(st.booleans()) else self.driven.tell(Stalled(task))

    @precondition(lambda self: self.losses < 8)
    @rule(host=st.sampled_from(HOSTS), loses_files=st.booleans())
    def disturb_host(self, host: str, loses_files: bool) -> None:
        self.losses += 1
        self.incarnations[host] += 1
        if loses_files:
            self.files = {path: other for path, other in self.files.items() if other != host}
        self.tell(HostSilent(host, "refused"))

    @precondition(lambda self: self.files and self.losses < 8)
    @rule(data=st.data())
    def remove_file(self, data: st.DataObject) -> None:
        self.losses += 1
        del self.files[data.draw(st.sampled_from(sorted(self.files)))]

    @precondition(lambda self: self.driven.plan._silent)
    @rule(data=st.data())
    def answer_revival(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(sorted(self.driven.plan._silent)))
        if any(other == host for other in self.files.values()):
            self.tell(HostRevived(host, server(host, self.incarnations[host])))
        else:
            self.tell(HostLost(host, "no answer"))

    @precondition(lambda self: self.driven.plan.finished is not None)
    @rule()
    def rest(self) -> None:
        """A job that has finished stays so."""

    @invariant()
    def each_map_counts_once_more_than_it_was_lost(self) -> None:
        plan = self.driven.plan
        assert sum(self.accepted.values()) == plan.maps_lost + len(plan.files.outputs) - plan.files.missing

    @invariant()
    def what_starts_is_right(self) -> None:
        """A reduce task sees each map once; a merge beside maps takes no slot that a map wants."""
        plan = self.driven.plan
        for action in self.driven.actions:
            if isinstance(action, StartMerge):
                self.merged[action.merge] = [source.map for source in action.sources]
                assert not plan.files.missing or (not plan._waiting and len(plan._running) <= plan.rules.slots)
            elif isinstance(action, StartReduce):
                self.check_order([n for s in action.sides[0] for n in self.merged.get(s.merge or 0, [s.map])])
        self.driven.actions.clear()

    def check_order(self, maps: list[int]) -> None:
        assert sorted(maps) == list(range(MAPS))

    def teardown(self) -> None:
        """Let the job end undisturbed."""
        self.losses = 100
        for _ in range(2000):
            if self.driven.plan.finished is not None:
                break
            if self.driven.plan._silent:
                host = min(self.driven.plan._silent)
                if any(other == host for other in self.files.values()):
                    self.tell(HostRevived(host, server(host, self.incarnations[host])))
                else:
                    self.tell(HostLost(host, "no answer"))
                continue
            assert self.driven.started, f"nothing runs, and nothing is finished: {self.driven.plan}"
            task, start = next(iter(self.driven.started.items()))
            if isinstance(start, StartMap):
                self.tell(MapDone(task, self.make(start.map, self.hosts[0])))
            elif isinstance(start, StartMerge):
                self.tell(Failed(task, OSError("no merge")))
            else:
                missing = [source for source in start.sides[0] if source.path not in self.files]
                if missing:
                    self.tell(FetchFailed(task, missing[0], "gone", "not there"))
                else:
                    self.tell(ReduceDone(task))
        assert self.driven.plan.finished == Finish(), str(self.driven.plan)


class SharedJobMachine(JobMachine):
    """On a shared file system, rows also keep the order of the maps, and no host can be lost."""

    merges = "shared"
    hosts = ("",)

    def check_order(self, maps: list[int]) -> None:
        assert maps == list(range(MAPS))


TestJob = JobMachine.TestCase
TestJob.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSharedJob = SharedJobMachine.TestCase
TestSharedJob.settings = TestJob.settings
