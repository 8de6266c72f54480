"""A target that is written as a merge writes it."""

import os
import secrets
from pathlib import Path

from spill_format.storage.publication import open_pending

NEW, OLD = b"new" * 1000, b"old"


def write_all(target: Path, content: bytes = NEW, *, overwrite: bool = False, durable: bool = False) -> None:
    with open_pending(target, overwrite=overwrite, durable=durable) as pending:
        while content:
            content = content[os.write(pending.descriptor, content) :]
        pending.publish()


def debris_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
