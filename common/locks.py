"""A lock on a file between processes, which the kernel frees when its holder dies."""

import contextlib
import fcntl
import os
import time

PATIENCE = 0.2  # seconds for which a lock is tried: who asks about one holds it for microseconds


def try_lock(path):
    """Return an open file that holds an exclusive lock on `path` until it is closed.

    None if another process holds it, for `PATIENCE` seconds at least. The kernel frees the lock
    when its holder dies.
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


def is_locked(path):
    """Return whether a process holds the lock on `path`.

    It is asked by a shared lock, held for a moment: others that ask do not see it, and `try_lock`
    tries again.
    """
    if not os.path.exists(path):
        return False
    with open(path, "a") as file:
        return not _flock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def locked(path, waiting=None):
    """Hold an exclusive lock on the file `path`; the kernel frees it when its holder dies.

    `waiting` is called once, without arguments, if another process holds the lock.
    """
    file = try_lock(path)
    if file is None:
        if waiting is not None:
            waiting()
        file = open(path, "a")  # noqa: SIM115
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
