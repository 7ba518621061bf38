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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ..errors import InputError
from .config import Amount, Count

Tokens = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call is about to be sent; ``most_usd`` is the most that it can cost."""

    event: Literal["asked"] = "asked"
    call: str
    vendor: str
    model: str = ""
    purpose: str = ""
    most_usd: Amount
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A paid response: ``body`` as it came, and ``cost_usd``.

    ``settles`` is how many notes of asking it answers (1): one that was repeated may have been
    paid for more than once.
    """

    event: Literal["answered"] = "answered"
    call: str
    vendor: str
    model: str = ""
    purpose: str = ""
    body: str
    cost_usd: Amount
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    stop: str = "done"
    retries: int = 0
    settles: Count = 1
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A call without a response; ``cost_usd`` is what it may have cost all the same."""

    event: Literal["failed"] = "failed"
    call: str
    vendor: str
    model: str = ""
    purpose: str = ""
    kind: str
    message: str = ""
    cost_usd: Amount
    settles: Count = 1
    at: float = 0.0


Record = Asked | Answered | Failed
RECORDS = TypeAdapter[Record](Annotated[Record, Field(discriminator="event")])


@dataclass(frozen=True)
class VendorCosts:
    """Answers, tokens, US dollars, and failures by kind of one vendor."""

    answers: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    failures: Mapping[str, int]


@dataclass(frozen=True)
class Costs:
    """What all runs that share a journal have cost; calls in doubt count at their highest price."""

    by_vendor: Mapping[str, VendorCosts]
    cost_usd: float
    calls_in_doubt: int


class Journal:
    """The answered calls by id, what was spent, and the file that both are kept in."""

    def __init__(self, path: Path, redact: Callable[[str], str] = lambda text: text):
        self.path, self._redact, self._descriptor = path, redact, -1
        self.answered: dict[str, Answered] = {}
        self.failures: list[Failed] = []
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

    def write(self, record: Record) -> None:
        """Appends a record, with the time and without secrets; it is on the disk on return.

        Raises InputError where it cannot be written: then nothing more may be asked.
        """
        fields = asdict(replace(record, at=round(time.time(), 3)))
        clean = {k: self._redact(v) if isinstance(v, str) else v for k, v in fields.items()}
        line = (json.dumps(clean, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError("only a part of a line could be written")
            os.fsync(self._descriptor)
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror or error}); nothing more is "
                "asked, so that no answer is lost. Make room and run again."
            ) from None
        self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record = RECORDS.validate_json(line, strict=True)
        except ValidationError:
            self.unreadable_lines += 1
            return
        open_usd = self._open_usd[record.call]
        if isinstance(record, Asked):
            open_usd.append(record.most_usd)
            return
        self._spent += record.cost_usd
        del open_usd[max(0, len(open_usd) - record.settles) :]
        if isinstance(record, Answered):
            self.answered.setdefault(record.call, record)
        else:
            self.failures.append(record)

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror})") from None
        for line in filter(bytes.strip, data.split(b"\n")):
            self._take(line)


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


def cost_summary(journal: Journal) -> Costs:
    """Tokens, US dollars, answers and failures by vendor, over all runs that share the journal."""
    outcomes: list[Answered | Failed] = [*journal.answered.values(), *journal.failures]
    by_vendor = {}
    for vendor in sorted({o.vendor for o in outcomes}):
        own = [o for o in outcomes if o.vendor == vendor]
        answers = [o for o in own if isinstance(o, Answered)]
        kinds = [o.stop if isinstance(o, Answered) else o.kind for o in own]
        by_vendor[vendor] = VendorCosts(
            answers=len(answers),
            input_tokens=sum(a.input_tokens or 0 for a in answers),
            output_tokens=sum(a.output_tokens or 0 for a in answers),
            cost_usd=round(sum(o.cost_usd for o in own), 6),
            failures={k: kinds.count(k) for k in dict.fromkeys(kinds) if k != "done"},
        )
    return Costs(by_vendor, round(journal.spent_usd, 6), journal.in_doubt)


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
