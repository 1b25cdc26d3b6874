"""A lock on a file between processes, which the kernel frees when its holder dies.

The package filelock does not do: whether another process holds a lock can only be found out there
by taking it, so that processes that ask take one another for the holder. Here they ask by a shared
lock.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from typing import TextIO

PATIENCE = 0.2  # seconds for which a lock is tried: a process that asks holds it for microseconds


def try_lock(path: str | os.PathLike) -> TextIO | None:
    """Return an open file that holds an exclusive lock on `path` until it is closed.

    None if another process holds it, for `PATIENCE` seconds at least.
    """
    file = open(path, "a")  # noqa: SIM115
    end = time.monotonic() + PATIENCE
    try:
        while not _flock(file, fcntl.LOCK_EX):
            if time.monotonic() > end:
                file.close()
                return None
            time.sleep(0.001)
    except BaseException:
        file.close()
        raise
    return file


def _flock(file, kind):
    """Lock a file if that is possible at once; return whether it was."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: str | os.PathLike) -> bool:
    """Return whether a process holds the lock on `path`; for a moment `try_lock` cannot have it."""
    if not os.path.exists(path):
        return False
    with open(path, "a") as file:
        return not _flock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def locked(path: str | os.PathLike, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`; `waiting` is called once if another process holds it."""
    file = try_lock(path)
    if file is None:
        if waiting is not None:
            waiting()
        file = open(path, "a")  # noqa: SIM115
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
