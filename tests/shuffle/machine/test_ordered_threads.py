"""Threads whose answers come in order."""

import threading
from collections.abc import Iterator

import pytest

from shuffle.machine.ordered_threads import OrderedThreads


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> OrderedThreads:
    return OrderedThreads(request.param)


def test_answers_come_in_the_order_of_the_questions(threads: OrderedThreads) -> None:
    assert list(threads.map(lambda number: number * number, range(100))) == [n * n for n in range(100)]
    threads.close()


def test_nothing_asked_is_nothing_answered(threads: OrderedThreads) -> None:
    assert list(threads.map(str, [])) == []
    threads.close()


@pytest.mark.parametrize("most", [None, 4])
def test_no_more_answers_wait_than_are_allowed(threads: OrderedThreads, most: int | None) -> None:
    asked = []

    def questions() -> Iterator[int]:
        for number in range(20):
            asked.append(number)
            yield number

    for answered, answer in enumerate(threads.map(lambda number: number, questions(), most)):
        assert answer == answered
        assert len(asked) <= answered + (most or 2 * threads.threads)
    threads.close()


def test_an_error_comes_in_its_place(threads: OrderedThreads) -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise RuntimeError("three")
        return number

    answers = threads.map(fail_at_three, range(10))
    with pytest.raises(RuntimeError, match="three"):
        list(answers)
    threads.close()


def test_one_thread_is_the_callers_own() -> None:
    threads = OrderedThreads(1)
    assert threads.submit(lambda _: threading.get_ident(), None).result() == threading.get_ident()
    threads.close()


def test_closing_leaves_no_thread() -> None:
    before = threading.active_count()
    threads = OrderedThreads(3)
    list(threads.map(str, range(10)))
    threads.close()
    assert threading.active_count() == before
