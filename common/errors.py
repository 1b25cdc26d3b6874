"""The one exception that stands for a user's mistake, and the wording of the commonest one."""

import contextlib
import difflib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """A user's mistake: the message is one clear line that names the value and what was expected.

    The command line prints the message and exits with `status`; any other exception is a bug of
    ours and keeps its traceback.
    """

    status = 2


def unknown(kind: str, value: object, choices: Iterable) -> str:
    """Return the line for a name that is not among `choices`, with the nearest of them."""
    lowered = {str(c).lower(): str(c) for c in choices}
    near = difflib.get_close_matches(str(value).lower(), list(lowered), n=1)
    hint = f"did you mean {lowered[near[0]]!r}? " if near else ""
    return f"unknown {kind} {value!r}; {hint}choose from {', '.join(lowered.values())}"


class FolderInUse(UserError):
    """Another process is at work in the run folder: try again later."""

    status = 75


class TrainingFailed(RuntimeError):
    """A run cannot go on through no fault of its input's form: the loss is NaN or infinite."""

    status = 3


BAD_RESULT_STATUS = 4  # with --strict: a cluster is empty, or the result has collapsed

# Conditions of the disk that no program can mend: no bug, no mistake of the user.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)
DISK_STATUS = 74


def disk_line(error: OSError) -> str | None:
    """Return one line on an OSError of a full or failing disk; None for any other."""
    if error.errno not in DISK:
        return None
    either = error.errno in (errno.EACCES, errno.EPERM, errno.EIO)  # of reading as of writing
    what = "cannot read or write" if either else "cannot write"
    where = f"{what} {error.filename!r}" if error.filename else what
    return f"{where}: {error.strerror}; nothing is lost, the same command goes on where it stopped"


def status_of(program: str, work: Callable[[], int]) -> int:
    """Return the exit status of a program's work; of what is no bug of ours stderr has one line."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # of a test's
            stream.reconfigure(errors="backslashreplace")  # where a terminal is not UTF-8
    try:
        return work()
    except BrokenPipeError:  # as of `| head`: who read stdout is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except UserError as error:
        line, status = f"error: {error}", error.status
    except TrainingFailed as error:
        line, status = f"training failed: {error}", error.status
    except OSError as error:
        if (text := disk_line(error)) is None:
            raise
        line, status = f"error: {text}", DISK_STATUS
    except KeyboardInterrupt:
        line, status = "interrupted; the same command goes on where it stopped", 130
    print(f"{program}: {line}", file=sys.stderr)
    return status
