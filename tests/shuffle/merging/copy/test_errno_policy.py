"""The table of errnos, against what other projects fall back on and what must stay final."""

import errno

import pytest

from shuffle.merging.copy.errno_policy import FALL_BACK, fall_back

# "Fallback sets of others" when nothing was copied yet: Rust's kernel_copy, Go's poll.CopyFileRange, coreutils' copy.c.
RUST = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, errno.EBADF, errno.EOVERFLOW}
GO = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.EPERM}
COREUTILS = {
    errno.ENOSYS,
    errno.ENOTTY,
    errno.ENOTSUP,
    errno.EINVAL,
    errno.EBADF,
    errno.EXDEV,
    errno.ETXTBSY,
    errno.EPERM,
    errno.EACCES,
    errno.ENOENT,
}


def test_the_table_is_what_the_others_know_together() -> None:
    assert set(FALL_BACK) == RUST | GO | COREUTILS


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EROFS, errno.EISDIR, errno.ESTALE, errno.EMFILE],
    ids=errno.errorcode.get,
)
def test_what_no_other_method_would_be_spared_is_final(number: int) -> None:
    assert fall_back(OSError(number, "")) is None


def test_an_error_without_a_number_is_final() -> None:
    assert fall_back(OSError("no number")) is None


@pytest.mark.parametrize("number", FALL_BACK, ids=errno.errorcode.get)
def test_each_entry_says_why_and_where_it_was_seen(number: int) -> None:
    entry = fall_back(OSError(number, ""))
    assert entry is not None
    assert entry.why
    assert entry.seen
