"""What was asked and what came back, one JSON object a line, appended and fsynced.

A line is written before a call is sent and another when its outcome is known. Killed at any
moment, a run loses at most the calls in flight; those stay in the journal as asked and count as
paid, since nobody can say that they were not.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import InputError

__all__ = ["Journal", "Record", "open_journal", "read_journal"]

Record = Mapping[str, Any]


class Journal:
    """The answered calls by id, what was spent, and the file that both are kept in."""

    def __init__(self, path: Path, redact: Callable[[str], str] = lambda text: text):
        self.path, self._redact, self._descriptor = path, redact, -1
        self.answered: dict[str, Record] = {}
        self.failures: list[Record] = []
        self.unreadable_lines = 0
        self._open_usd: defaultdict[str, list[float]] = defaultdict(list)
        self._spent = 0.0

    @property
    def spent_usd(self) -> float:
        """Paid, and possibly paid: calls without a known outcome count at their highest price."""
        return self._spent + sum(sum(open_usd) for open_usd in self._open_usd.values())

    @property
    def in_doubt(self) -> int:
        """Calls that were sent and never heard of again."""
        return sum(map(len, self._open_usd.values()))

    @property
    def records(self) -> Iterator[Record]:
        """Every known outcome, in the order of the file: answers first, then failures."""
        yield from self.answered.values()
        yield from self.failures

    def asked(self, call: str, **details: Any) -> None:
        """Notes that a call is about to be sent; ``most_usd`` is the most that it can cost."""
        self._append({"event": "asked", "call": call, **details})

    def answered_with(self, call: str, **details: Any) -> None:
        """Notes a paid response: ``body`` as it came, and ``cost_usd``.

        ``settles`` is how many notes of asking it answers (1): one that was repeated may have
        been paid for more than once.
        """
        self._append({"event": "answered", "call": call, **details})

    def failed(self, call: str, **details: Any) -> None:
        """Notes a call without a response; ``cost_usd`` is what it may have cost all the same."""
        self._append({"event": "failed", "call": call, **details})

    def _append(self, record: dict[str, Any]) -> None:
        clean = {k: self._redact(v) if isinstance(v, str) else v for k, v in record.items()}
        line = json.dumps(clean | {"at": round(time.time(), 3)}, ensure_ascii=False)
        data = (line + "\n").encode("utf-8", errors="backslashreplace")
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError("only a part of a line could be written")
            os.fsync(self._descriptor)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror or error}); nothing more is "
                "asked, so that no paid answer is lost. Make room and run again."
            ) from None
        self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        call, event = record["call"], record["event"]
        if event == "asked":
            self._open_usd[call].append(float(record["most_usd"]))
            return
        self._spent += float(record["cost_usd"])
        for _ in range(min(int(record.get("settles", 1)), len(self._open_usd[call]))):
            self._open_usd[call].pop()
        if event == "answered":
            self.answered.setdefault(call, MappingProxyType(record))
        else:
            self.failures.append(MappingProxyType(record))

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror})") from None
        for line in data.split(b"\n"):
            if not line.strip():
                continue
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                self.unreadable_lines += 1


def read_journal(path: Path) -> Journal:
    """A journal to look at; a missing file is an empty one."""
    journal = Journal(path)
    journal._read()
    return journal


@contextmanager
def open_journal(path: Path, redact: Callable[[str], str] = lambda text: text) -> Iterator[Journal]:
    """A journal to go on with, for this process alone.

    ``redact`` is applied to every text before it is written. Raises InputError where another
    process has it open or it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path, redact)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{path}: another run is writing it; wait for that, or choose another --out"
            ) from None
        journal._descriptor = descriptor
        journal._read()
        _end_torn_line(descriptor)
        _sync_folder(path.parent)
        yield journal
    finally:
        os.close(descriptor)


def _end_torn_line(descriptor: int) -> None:
    """A kill in the middle of a write leaves half a line: the next one starts on its own."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _sync_folder(folder: Path) -> None:
    """A new file survives a power cut only when its folder is written too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
