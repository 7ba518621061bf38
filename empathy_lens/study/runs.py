"""A run's folder: stages that are timed, written atomically, and skipped when already done.

A folder belongs to one run at a time, from the moment that its :class:`Run` is made to the end of
its ``with`` block or of the process.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import InputError
from ..files import check_writable, input_hash, locked, remove_leftovers, sha256_file
from ..results import RunIdentity, StageSummary, read_result, write_result
from .identity import code_commit, new_identity

RECORDS = ".stages"
LOCK = ".lock"
RUNS = Path("results", "runs")
"""Where runs go. What is committed lies beside it, so that no run overwrites a reference."""


@dataclass(frozen=True)
class StageRecord:
    """What a finished stage took and wrote. ``peak_rss_mb`` is the process's peak so far."""

    name: str
    key: str
    seconds: float
    peak_rss_mb: float
    files: dict[str, str]
    skipped: bool = False

    def summary(self) -> StageSummary:
        memory = round(self.peak_rss_mb, 1)
        return StageSummary(self.name, round(self.seconds, 2), memory, self.skipped)


@dataclass(frozen=True)
class Begun:
    """``.stages/run.json``: what was asked of a run, as a hash, and which run it is."""

    asked: str
    identity: RunIdentity


@dataclass
class Run:
    """A folder that a run writes to, and no other run until this one ends.

    ``resume`` lets a stage be skipped if it finished before with the same inputs and its files
    are as it left them; otherwise every stage runs. ``identity`` is that of :meth:`begin`.
    Raises InputError where the folder cannot be written to, or another run writes there.
    """

    folder: Path
    resume: bool = False
    announce: Callable[[str], None] = lambda _: None
    records: list[StageRecord] = field(default_factory=list)
    identity: RunIdentity | None = None
    _lock: ExitStack = field(default_factory=ExitStack, repr=False)

    def __post_init__(self) -> None:
        check_writable(self.folder)
        self._lock.enter_context(locked(self.folder / LOCK, self._refuse))
        remove_leftovers(self.folder)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def _refuse(self, holder: str) -> None:
        raise InputError(
            f"{self.folder}: another run writes there ({holder}); wait until it ends, or choose "
            "another folder"
        )

    def begin(self, asked: Any) -> None:
        """Gives the run its identity; ``asked`` are its settings and inputs, JSON-like.

        A run that is resumed keeps its id and date, as long as the same is asked of it.
        """
        path, key = self.folder / RECORDS / "run.json", input_hash(asked)
        if self.resume and (begun := _begun(path)) is not None and begun.asked == key:
            self.join(begun.identity)
            return
        self.identity = new_identity(asked)
        write_result(path, Begun(key, self.identity))

    def join(self, identity: RunIdentity) -> None:
        """Goes on with a run that began before, perhaps with newer code."""
        self.identity = replace(identity, version=version("empathy-lens"), commit=code_commit())

    def write(self, name: str, result: object) -> None:
        """Writes a result into the folder, stamped with the run's identity."""
        write_result(self.folder / name, result, self.identity)

    def stage(
        self, name: str, inputs: Any, outputs: Iterable[str], work: Callable[[], None]
    ) -> None:
        """Runs ``work``, which must write ``outputs`` (names relative to the folder)."""
        key = input_hash(inputs)
        record_path = self.folder / RECORDS / f"{name}.json"
        outputs = list(outputs)
        if self.resume and (done := self._finished(record_path, name, key, outputs)) is not None:
            self.announce(f"{name}: already done")
            self.records.append(done)
            return
        record_path.unlink(missing_ok=True)
        self.announce(name)
        start = time.perf_counter()
        work()
        record = StageRecord(
            name=name,
            key=key,
            seconds=time.perf_counter() - start,
            peak_rss_mb=peak_rss_mb(),
            files={file: sha256_file(self.folder / file) for file in outputs},
        )
        write_result(record_path, record)
        self.records.append(record)

    def _finished(
        self, record_path: Path, name: str, key: str, outputs: Sequence[str]
    ) -> StageRecord | None:
        try:
            record = replace(read_result(record_path, StageRecord), skipped=True)
        except InputError:
            return None
        # A record of other files, or of none, would have the stage skipped unchecked.
        if (record.name, record.key, sorted(record.files)) != (name, key, sorted(outputs)):
            return None
        intact = all(
            (self.folder / file).is_file() and sha256_file(self.folder / file) == sha256
            for file, sha256 in record.files.items()
        )
        return record if intact else None


def _begun(path: Path) -> Begun | None:
    try:
        return read_result(path, Begun)
    except InputError:
        return None


def default_folder(model: str, root: Path = Path()) -> Path:
    """Where a run of a model goes unless told otherwise: ``results/runs``, which git ignores."""
    return root / RUNS / folder_name(model)


def folder_name(model: str) -> str:
    """The name of a model's folder: its id without what a path cannot hold."""
    if not model.strip("./"):  # The folder that one stands in or under, which has a name.
        model = Path(model).resolve().name
    return model.strip("/").replace("/", "--").replace(":", "-") or "model"


def peak_rss_mb() -> float:
    """The process's peak resident memory so far, in MB (10^6 bytes)."""
    if sys.platform == "linux":
        # Linux lets a new program inherit ru_maxrss from the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    packages = ("empathy-lens", "torch", "transformer-lens", "transformers", "numpy", "scipy")
    installed = {name: version(name) for name in (*packages, "scikit-learn")}
    return {"python": platform.python_version(), "platform": platform.platform(), **installed}
