"""Notes and warnings of a run, by Python's logging, under the name "deep_clustering".

As a library the project prints nothing of itself: whoever imports it decides, as with any logger.
The scripts call `to_stderr`. Sweeps read the warnings of their trials from stderr, by `PREFIX`.
"""

import logging
import sys

PREFIX = "warning: "  # of a warning's line
logger = logging.getLogger("deep_clustering")
logger.addHandler(logging.NullHandler())


class _Stderr(logging.Handler):
    """Writes a line a record to what `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = PREFIX if record.levelno >= logging.WARNING else ""
        print(f"{prefix}{record.getMessage()}", file=sys.stderr)


def to_stderr(quiet: bool = False) -> None:
    """Show notes and warnings on stderr, or if `quiet` the warnings alone."""
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr())
        logger.propagate = False  # else a handler of the root shows them again
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def warnings_in(stderr: str) -> list[str]:
    """Return the warnings among the lines that a process wrote to stderr, without `PREFIX`."""
    return [line.removeprefix(PREFIX) for line in stderr.splitlines() if line.startswith(PREFIX)]
