"""The manifest of a job: what it has done, appended line by line, so that another driver can take over.

Its first line says which job it is of; each further one is a descriptor, or has the results of a reduce task. A line
cut short by a crash is no line.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
from os import PathLike
from pathlib import Path
from typing import Any

from shuffle.jobs.descriptor import Output
from shuffle.jobs.reduce_units import Unit

_KEPT_BYTES = 1 << 20
"""Of the results of one reduce task, in the manifest; larger ones are computed again."""


class ManifestError(ValueError):
    """The manifest is of another job."""


class Manifest:
    """A job's manifest, open for appending.

    Args:
        path: of the file; made if it is not there, readable by its owner alone: it holds the servers' secret.
        job: what the job is, as far as another one must not take over its files: counts, partitioner, exchange.
        name, secret: of a new job.

    Attributes:
        name, secret: of the job, which an earlier driver may have begun.
        taken_over: the outputs that count, as the earlier driver wrote them down.
        reduced: results of reduce tasks, as the earlier driver wrote them down. They are pickled: a manifest is as
            trustworthy as the place where it lies.

    Raises:
        ManifestError: the file is there, and of another job.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str | PathLike[str], job: dict[str, Any], name: str, secret: str) -> None:
        self._path = Path(path)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        head: dict[str, Any] = {"job": job, "name": name, "secret": secret}
        self.reduced: dict[Unit, list[Any]] = {}
        try:
            self.taken_over: list[Output] = self._read(head)
        except BaseException:
            os.close(self._fd)
            raise
        self.name: str = head["name"]
        self.secret: str = head["secret"]

    def append(self, output: Output) -> None:
        """Write down, durably, that an output counts; for its map, no other one does any more."""
        self._append(output.as_dict())

    def append_results(self, unit: Unit, values: list[Any]) -> None:
        """Write down, durably, the results of a reduce task, unless they are large or cannot be pickled."""
        try:
            pickled = pickle.dumps(values)
        except Exception:  # noqa: BLE001 (whatever the values raise)
            return
        if len(pickled) <= _KEPT_BYTES:
            self._append({"unit": unit, "values": base64.b64encode(pickled).decode()})

    def close(self, *, keep: bool) -> None:
        """Close the file and, unless another driver is to take over, remove it."""
        os.close(self._fd)
        if not keep:
            self._path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        os.fsync(self._fd)

    def _read(self, head: dict[str, Any]) -> list[Output]:
        """The outputs of an earlier driver, after its head has replaced ``head``; none of a new file, which gets it."""
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.ftruncate(self._fd, len(whole))
        lines = whole.splitlines()
        if not lines:
            self._append(head)
            return []
        try:
            found = json.loads(lines[0])
            expected = json.loads(json.dumps(head["job"]))
            if found["job"] != expected:
                raise ManifestError(f"{self._path}: the manifest is of another job: {found['job']}, not {expected}")
            outputs: dict[tuple[int, ...], Output] = {}
            for line in lines[1:]:
                values = json.loads(line)
                if "unit" in values:
                    self.reduced[Unit(*values["unit"])] = pickle.loads(base64.b64decode(values["values"]))
                    continue
                output = Output.from_dict(values)
                before = outputs.get(output.maps, output)
                if before.digest != output.digest:
                    self.reduced.clear()  # a map gave other rows when it ran again
                outputs[output.maps] = output
        except (KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            if isinstance(error, ManifestError):
                raise
            raise ManifestError(f"{self._path}: not the manifest of a job") from error
        head.update(found)
        return list(outputs.values())
