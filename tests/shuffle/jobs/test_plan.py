"""The plan of a job: what follows from single events."""

from dataclasses import replace

import pytest

from shuffle.jobs.descriptor import DiskFull
from shuffle.jobs.events import (
    Accept,
    Cancel,
    ChangedRowsError,
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
    StartReduce,
)
from shuffle.jobs.plan import Plan
from tests.shuffle.jobs.plans import PARTITIONS, Driven, map_outputs, merged, output, server, wanted


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
    (merge,) = driven.merges()
    driven.tell(MergeDone(merge.task, merged(merge)))
    (source,) = driven.reduces()[0].sides[0]
    assert source.path == "/a/merge-0"
    driven.tell(FetchFailed(driven.reduces()[0].task, source, "damaged", "checksum"))
    start = driven.reduces()[-1]
    assert [source.path for source in start.sides[0]] == [f"/a/map-{number}-1" for number in range(4)]
    again = driven.tell(FetchFailed(start.task, start.sides[0][2], "damaged", "checksum"))
    assert [action.map for action in again if isinstance(action, StartMap)] == [2]


def test_merges_begin_while_maps_run_on_slots_that_no_map_wants() -> None:
    driven = Driven(9, merges="host", merge_from=2, slots=3, running=6)
    map_outputs(driven, 0, 1, 2, 3, 4, 5)
    assert not driven.merges(), "three maps have the three slots"
    map_outputs(driven, 6)
    (first,) = driven.merges()
    assert len(driven.map_tasks(7) + driven.map_tasks(8)) == 2, "maps go on"
    map_outputs(driven, 7, 8)
    assert not driven.reduces(), "all merges are awaited"
    merges = driven.merges()
    for merge in merges:
        driven.tell(MergeDone(merge.task, merged(merge)))
    joined = [[source.map for source in merge.sources] for merge in merges]
    assert sorted(joined) == [[0, 1], [2, 3], [4, 5, 6], [7, 8]]
    assert merges[0] == first
    assert all(source.merge is not None for source in driven.reduces()[0].sides[0])


def test_outputs_that_come_too_late_for_a_merge_are_read_beside_it() -> None:
    driven = Driven(4, merges="host", merge_from=3, slots=2)
    map_outputs(driven, 0, 1, 3)
    (merge,) = driven.merges()
    map_outputs(driven, 2)
    driven.tell(MergeDone(merge.task, merged(merge)))
    assert [source.path for source in driven.reduces()[0].sides[0]] == ["/a/merge-0", "/a/map-2-1"]


def test_a_host_that_is_lost_while_it_merges_and_maps_run_loses_both() -> None:
    driven = Driven(4, merges="host", merge_from=2, slots=4)
    map_outputs(driven, 0, 1)
    (merge,) = driven.merges()
    actions = driven.tell(HostLost("a", "power"))
    assert Cancel(merge.task) in actions
    assert [action.map for action in actions if isinstance(action, StartMap)] == [0, 1]
    assert driven.tell(MergeDone(merge.task, late := merged(merge))) == [Forget(late)]
    map_outputs(driven, 0, 1, 2, 3, host="b")
    assert {source.host for merge in driven.merges() for source in merge.sources} == {"b"}


@pytest.mark.parametrize("lost", ["a", "b"])
def test_merges_that_wait_for_a_slot_are_forgotten_with_a_lost_host_alone(lost: str) -> None:
    driven = Driven(7, merges="host", merge_from=2, slots=3)
    map_outputs(driven, 0, 1, host="a")
    map_outputs(driven, 2, 3, host="b")
    map_outputs(driven, 4, host="b")
    (merge,) = driven.merges()
    assert merge.host == "b", "the merge of host a waits"
    driven.tell(HostLost(lost, "power"))
    map_outputs(driven, *([0, 1] if lost == "a" else [2, 3, 4]), 5, 6, host="c")
    assert {merge.host for merge in driven.merges()} == {"a", "b", "c"} - {lost}
    maps = [source.map for merge in driven.merges() for source in merge.sources]
    assert len(set(maps)) == len(maps)
    assert all(source.host == merge.host for merge in driven.merges() for source in merge.sources)


def test_a_host_without_room_for_a_merge_still_takes_maps() -> None:
    driven = Driven(5, merges="host", merge_from=2, slots=4)
    map_outputs(driven, 0, 1)
    (merge,) = driven.merges()
    driven.tell(Full(merge.task, DiskFull("a", "no room")))
    again = driven.tell(Failed(driven.map_tasks(2)[0], OSError()))
    assert [action.avoid for action in again if isinstance(action, StartMap)] == [frozenset()]
    map_outputs(driven, 2, 3, 4)
    assert not driven.merges()
    assert [source.map for source in driven.reduces()[0].sides[0]] == [0, 1, 2, 3, 4]


def test_outputs_with_large_ranges_are_not_merged() -> None:
    driven = Driven(2, merges="host", merge_from=2)
    for number in range(2):
        large = replace(output(number), byte_count=PARTITIONS << 20)
        driven.tell(MapDone(driven.map_tasks(number)[0], large))
    assert not driven.merges()
    assert driven.reduces()


def test_merges_on_a_shared_file_system_join_neighbours_only() -> None:
    driven = Driven(6, merges="shared", merge_from=2, slots=1)
    for number in (0, 1, 3, 4, 5):
        driven.tell(MapDone(driven.map_tasks(number)[0], output(number, "")))
    driven.tell(MapDone(driven.map_tasks(2)[0], replace(output(2, ""), path=None, byte_count=0, rows=0)))
    (merge,) = driven.merges()
    assert [source.map for source in merge.sources] == [0, 1, 3, 4, 5], "a map without rows is no gap"


def test_on_a_shared_file_system_a_map_that_still_runs_is_a_gap() -> None:
    driven = Driven(4, merges="shared", merge_from=2, slots=2)
    map_outputs(driven, 0, 2, 3, host="")
    (merge,) = driven.merges()
    assert [source.map for source in merge.sources] == [2, 3]
    map_outputs(driven, 1, host="")
    _, merge = driven.merges()
    assert [source.map for source in merge.sources] == [0, 1]


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


@pytest.mark.parametrize("digest", ["same", "other"])
def test_a_merge_is_read_until_one_of_its_maps_gives_other_rows(digest: str) -> None:
    driven = Driven(2, merges="host", merge_from=2, changed_rows="rerun", slice_bytes=1)
    driven.run_maps("a", "a")
    (merge,) = driven.merges()
    driven.tell(MergeDone(merge.task, merged(merge)))
    for number in range(2):
        start = driven.reduces()[-1]
        assert start.unit.parts > 1, "slices read the originals"
        (source,) = [source for source in start.sides[0] if source.map == number]
        driven.tell(FetchFailed(start.task, source, "gone", "not there"))
        driven.tell(MapDone(driven.map_tasks(number)[-1], output(number, "a", "2", digest=digest)))
    assert not driven.merges(), "rows are not merged twice"
    paths = [source.path for source in driven.plan.files.sources()[0]]
    assert paths == (["/a/merge-0"] if digest == "same" else ["/a/map-0-2", "/a/map-1-2"])


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
