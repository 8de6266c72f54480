"""What is remembered of a kernel's refusals, and what is not."""

import errno

import pytest

from shuffle.merging.copy.errno_policy import FALL_BACK
from shuffle.merging.copy.experience import Experience

LASTING = {errno.ENOSYS, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY}


@pytest.mark.parametrize("number", [*FALL_BACK, None], ids=lambda number: errno.errorcode.get(number, "none"))
def test_only_an_answer_that_the_same_devices_give_again_is_remembered(number: int | None) -> None:
    experience = Experience()
    experience.learn("clone", 1, 2, number)
    assert experience.refused([1], 2) == ({"clone"} if number in LASTING else frozenset())


def test_a_refusal_is_of_one_method_between_two_devices() -> None:
    experience = Experience()
    experience.learn("copy_file_range", 1, 2, errno.EXDEV)
    experience.learn("sendfile", 3, 2, errno.ENOSYS)
    assert experience.refused([1], 2) == {"copy_file_range"}
    assert experience.refused([3, 1], 2) == {"copy_file_range", "sendfile"}
    assert experience.refused([2], 1) == frozenset()
    assert experience.refused([1, 3], 1) == frozenset()
    assert experience.refused([], 2) == frozenset()
