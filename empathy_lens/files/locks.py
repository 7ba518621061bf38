"""One writer at a time on a shared machine: locks that go with the process that holds them.

A lock is the operating system's, on a hidden file that stays where it is; a process that is killed
leaves none. Who holds it is written beside it, for the message to whoever comes second.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["locked"]

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1


@contextmanager
def locked(path: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock on ``path`` while the block runs, against other threads and processes.

    Where another holds it, ``busy`` is called with who that is ("process 71 on mill since …"):
    it may raise, which refuses at once; else the lock is waited for. On a disk that cannot lock,
    a warning says so and the block runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Other users of the machine lock the same file.
    lock = FileLock(path, mode=0o666, thread_local=False)
    holder = path.with_name(f"{path.name}-holder")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy(_named(holder))
            lock.acquire(poll_interval=POLL_SECONDS)
    except OSError as error:
        if isinstance(error, Timeout) or error.strerror is None:
            raise
        log.warning("%s: no lock (%s); let nothing else write there", path.parent, error.strerror)
    try:
        if lock.is_locked:
            with suppress(OSError):  # The name is a courtesy, the lock is what counts.
                holder.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                holder.unlink()
            lock.release()


def _this_process() -> str:
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}\n"


def _named(holder: Path) -> str:
    try:
        line = holder.read_text(encoding="utf-8").partition("\n")[0][:200]
    except (OSError, UnicodeDecodeError):
        line = ""
    return line if line and line.isprintable() else "a process that did not say its name"
