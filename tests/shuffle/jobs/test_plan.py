"""The plan of a job: laws that hold whatever happens in whatever order, and what follows from single events."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shuffle.jobs.descriptor import DiskFull, Output, Server
from shuffle.jobs.events import (
    Accept,
    Action,
    Cancel,
    ChangedRowsError,
    Event,
    Failed,
    FetchFailed,
    Finish,
    Forget,
    Full,
    HostDrained,
    HostLost,
    HostRevived,
    HostSilent,
    LostError,
    MapDone,
    MergeDone,
    ReduceDone,
    Revive,
    Rules,
    Stalled,
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

    def reduces(self) -> list[StartReduce]:
        return [start for start in self.started.values() if isinstance(start, StartReduce)]


def wanted(actions: list[Action], kind: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_a_job_runs_maps_then_reduces_then_finishes() -> None:
    driven = Driven()
    driven.run_maps("a", "b", "a")
    assert [source.map for source in driven.reduces()[0].sides[0]] == [0, 1, 2]
    for start in driven.reduces():
        driven.tell(ReduceDone(start.task))
    assert driven.actions[-1] == Finish()
    assert str(driven.plan) == "maps 0 waiting, 0 running, 3 done; reduces 0 waiting, 0 running, 5 done"


def test_the_first_of_two_attempts_wins() -> None:
    driven = Driven(1)
    (first,) = driven.map_tasks(0)
    driven.tell(Stalled(first))
    _, second = driven.map_tasks(0)
    winner, loser = output(0, attempt="2"), output(0, attempt="1")
    assert wanted(driven.tell(MapDone(second, winner)), Accept) == [Accept(second)]
    assert Cancel(first) in driven.actions
    assert driven.tell(MapDone(first, loser))[0] == Forget(loser)


def test_a_task_that_fails_ends_the_job_after_its_attempts() -> None:
    driven = Driven(1, attempts=3)
    for _ in range(2):
        assert wanted(driven.tell(Failed(driven.map_tasks(0)[-1], KeyError("rows"))), StartMap)
    (finish,) = driven.tell(Failed(driven.map_tasks(0)[-1], KeyError("rows")))
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, KeyError)


def test_of_a_lost_host_only_its_maps_run_again_and_finished_reduces_stay() -> None:
    driven = Driven()
    driven.run_maps("a", "b", "a")
    first = driven.reduces()[0]
    driven.tell(ReduceDone(first.task))
    again = driven.tell(HostLost("a", "power"))
    assert [action.map for action in again if isinstance(action, StartMap)] == [0, 2]
    assert driven.plan.maps_lost == 2
    assert len(wanted(again, Cancel)) == PARTITIONS - 1, "they would wait for the host"
    for number in (0, 2):
        driven.tell(MapDone(driven.map_tasks(number)[-1], output(number, "c", "2")))
    restarted = driven.reduces()[1:]
    assert sorted(start.number for start in restarted) == [1, 2, 3, 4]
    assert {source.host for start in restarted for source in start.sides[0]} == {"b", "c"}


def test_a_silent_host_is_revived_once_and_read_at_its_new_server() -> None:
    driven = Driven()
    driven.run_maps("a", "b", "a")
    starts = driven.reduces()
    source = starts[0].sides[0][0]
    assert wanted(driven.tell(FetchFailed(starts[0].task, source, "unreachable", "refused")), Revive) == [Revive("a")]
    assert not wanted(driven.tell(HostSilent("a", "refused")), Revive)
    again = driven.tell(HostRevived("a", replace(server("a", 1), urls={"/a": "http://a:2/"})))
    assert driven.plan.maps_lost == 0
    assert [action.sides[0][0].url for action in again if isinstance(action, StartReduce)] == ["http://a:2/map-0-1"]
    late = driven.tell(FetchFailed(starts[1].task, source, "unreachable", "refused"))
    assert not wanted(late, Revive), "the failure is of the server that was replaced"


def test_a_damaged_merge_is_replaced_by_its_originals_and_then_by_a_map() -> None:
    driven = Driven(4, merges="host", merge_from=2)
    driven.run_maps("a", "a", "a", "a")
    (merge,) = [start for start in driven.started.values() if isinstance(start, StartMerge)]
    merged = replace(output(0), maps=(0, 1, 2, 3), path="/a/merge")
    driven.tell(MergeDone(merge.task, merged))
    (source,) = driven.reduces()[0].sides[0]
    assert source.path == "/a/merge"
    driven.tell(FetchFailed(driven.reduces()[0].task, source, "damaged", "checksum"))
    start = driven.reduces()[-1]
    assert [source.path for source in start.sides[0]] == [f"/a/map-{number}-1" for number in range(4)]
    again = driven.tell(FetchFailed(start.task, start.sides[0][2], "damaged", "checksum"))
    assert [action.map for action in again if isinstance(action, StartMap)] == [2]


def test_merges_on_a_shared_file_system_join_neighbours_only() -> None:
    driven = Driven(6, merges="shared", merge_from=2, slots=1)
    for number in (0, 1, 3, 4, 5):
        driven.tell(MapDone(driven.map_tasks(number)[0], output(number, "")))
    driven.tell(MapDone(driven.map_tasks(2)[0], replace(output(2, ""), path=None, byte_count=0, rows=0)))
    (merge,) = [start for start in driven.started.values() if isinstance(start, StartMerge)]
    assert [source.map for source in merge.sources] == [0, 1, 3, 4, 5], "a map without rows is no gap"


def test_a_full_host_takes_no_more_maps() -> None:
    driven = Driven(2)
    again = driven.tell(Full(driven.map_tasks(0)[0], DiskFull("a", "no room")))
    assert [action.avoid for action in again if isinstance(action, StartMap)] == [frozenset({"a"})]
    driven.tell(HostDrained("b"))
    again = driven.tell(Failed(driven.map_tasks(1)[0], OSError()))
    assert [action.avoid for action in again if isinstance(action, StartMap)] == [frozenset({"a", "b"})]


@pytest.mark.parametrize("changed_rows", ["raise", "rerun"])
def test_other_rows_the_second_time_are_noticed_once_partitions_were_reduced(changed_rows: str) -> None:
    driven = Driven(2, changed_rows=changed_rows)
    driven.run_maps("a", "b")
    done, finds, running, *_ = driven.reduces()
    driven.tell(ReduceDone(done.task))
    driven.tell(FetchFailed(finds.task, finds.sides[0][0], "gone", "not there"))
    actions = driven.tell(MapDone(driven.map_tasks(0)[-1], output(0, "b", "2", digest="other")))
    if changed_rows == "raise":
        (finish,) = actions
        assert isinstance(finish, Finish)
        assert isinstance(finish.error, ChangedRowsError)
    else:
        assert done.number in [action.number for action in actions if isinstance(action, StartReduce)]
        assert not wanted(driven.tell(ReduceDone(running.task)), Accept), "it read the rows that changed"


def test_other_rows_before_anything_was_reduced_do_not_matter() -> None:
    driven = Driven(2)
    driven.tell(MapDone(driven.map_tasks(0)[0], output(0)))
    driven.tell(HostLost("a", "power"))
    driven.tell(MapDone(driven.map_tasks(0)[-1], output(0, "b", "2", digest="other")))
    driven.tell(MapDone(driven.map_tasks(1)[0], output(1, "b")))
    assert driven.reduces()


def test_an_output_lost_too_often_ends_the_job() -> None:
    driven = Driven(1, attempts=2)
    driven.run_maps("a")
    driven.tell(HostLost("a", "power"))
    driven.tell(MapDone(driven.map_tasks(0)[-1], output(0, "b", "2")))
    (finish,) = wanted(driven.tell(HostLost("b", "power")), Finish)
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, LostError)
    assert "the output of map task 0 was lost in each of 2 attempts" in str(finish.error)


def test_outputs_that_are_taken_over_are_not_made_again() -> None:
    plan = Plan([3], PARTITIONS, Rules(running=100))
    starts = plan.start([output(1, "a")])
    assert [action.map for action in starts if isinstance(action, StartMap)] == [0, 2]


class JobMachine(RuleBasedStateMachine):
    """Whatever happens: each map counts once, reduces see each map's rows once, and the job ends."""

    def __init__(self) -> None:
        super().__init__()
        self.driven = Driven(6, merges="host", merge_from=2, running=4, attempts=200, slots=2)
        self.files: dict[str, str] = {}  # path → host of files that are there
        self.accepted: Counter[int] = Counter()
        self.incarnations = dict.fromkeys(HOSTS, 0)
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
    @rule(data=st.data(), host=st.sampled_from(HOSTS), answers=st.booleans())
    def finish_map(self, data: st.DataObject, host: str, answers: bool) -> None:
        task = data.draw(st.sampled_from(self.tasks(StartMap)))
        start = self.driven.started[task]
        assert isinstance(start, StartMap)
        made = self.make(start.map, host)
        self.tell(MapDone(task, made) if answers else Failed(task, OSError("killed after publishing")))

    @precondition(lambda self: self.tasks(StartMerge))
    @rule(data=st.data(), succeeds=st.booleans())
    def finish_merge(self, data: st.DataObject, succeeds: bool) -> None:
        task = data.draw(st.sampled_from(self.tasks(StartMerge)))
        start = self.driven.started[task]
        assert isinstance(start, StartMerge)
        if not succeeds or any(source.path not in self.files for source in start.sources):
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
    def a_reduce_that_starts_sees_each_map_once(self) -> None:
        for action in self.driven.actions:
            if isinstance(action, StartReduce):
                merges = {start.task: start for start in self.driven.actions if isinstance(start, StartMerge)}
                seen = [
                    number
                    for source in action.sides[0]
                    for number in ([s.map for s in merges[source.merge].sources] if source.merge else [source.map])
                ]
                assert sorted(seen) == list(range(6))
        self.driven.actions = [action for action in self.driven.actions if not isinstance(action, StartReduce)]

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
                self.tell(MapDone(task, self.make(start.map, "a")))
            elif isinstance(start, StartMerge):
                self.tell(Failed(task, OSError("no merge")))
            else:
                missing = [source for source in start.sides[0] if source.path not in self.files]
                if missing:
                    self.tell(FetchFailed(task, missing[0], "gone", "not there"))
                else:
                    self.tell(ReduceDone(task))
        assert self.driven.plan.finished == Finish(), str(self.driven.plan)


TestJob = JobMachine.TestCase
TestJob.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
