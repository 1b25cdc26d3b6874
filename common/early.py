"""Ctrl-C while modules are imported, which takes seconds: one line in place of a traceback.

Imported first by the scripts. A KeyboardInterrupt inside an import is no use: it may be swallowed
there, or become another error.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

SCRIPTS = ("main.py", "run_exp.py")
_stderr = os.dup(2)  # where 2 is redirected meanwhile


def _end(number, frame):
    name = os.path.basename(sys.argv[0])
    line = f"{name}: interrupted; the same command goes on where it stopped\n"
    os.write(_stderr, line.encode())
    os._exit(130)


def begin() -> None:
    """Answer Ctrl-C by one line and the end of the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def over() -> None:
    """Answer Ctrl-C by KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Hold for a block of imports what `begin` does."""
    begin()
    try:
        yield
    finally:
        over()


if os.path.basename(getattr(sys.modules["__main__"], "__file__", "")) in SCRIPTS:
    begin()
