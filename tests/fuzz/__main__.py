"""Fuzzes one target, guided by coverage: ``python -m tests.fuzz TARGET [DIRECTORY…] [-libFuzzer_option=…]``.

New inputs are written into the first directory. ``-merge=1 NEW OLD`` puts those inputs of OLD into NEW that reach
something new.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["shuffle", "spill_format"]):
    from tests.fuzz.targets import TARGETS, run

from tests.fuzz.resealing import resealed


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough; it ends the process."""
    name = sys.argv[1]
    if name not in TARGETS:
        sys.exit(f"no such target: {name}; there are {', '.join(TARGETS)}")

    def mutated(data: bytes, maximum_bytes: int, seed: int) -> bytes:
        changed = atheris.Mutate(data, maximum_bytes)
        return resealed(name, changed) if seed % 4 else changed

    atheris.Setup(
        # To merge, libFuzzer runs itself again, by this name.
        [f"{sys.executable} -m tests.fuzz {name}", "-timeout=5", "-rss_limit_mb=0", *sys.argv[2:]],
        lambda data: run(name, data),
        custom_mutator=mutated,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
