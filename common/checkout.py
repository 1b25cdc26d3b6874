"""The commit of the code that runs, as it was when the process began.

A run takes hours, in which the checkout may go on: what git says at its end is not what was run.
"""

import functools
import subprocess

from common import paths

NO_CODE = ("results", "README.md", "docs")  # what sweeps and people write while the same code runs


def git_commit() -> str:
    """Return the checkout's commit, with "-dirty" if tracked files but NO_CODE differ from it.

    "" outside git.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    some = [".", *(f":(exclude){name}" for name in NO_CODE)]
    if commit and _git("status", "--porcelain", "--untracked-files=no", "--", *some):
        return f"{commit}-dirty"
    return commit


# What it returned first; the scripts call this before anything else.
commit_at_start = functools.cache(git_commit)


def _git(*words):
    """Return what a git command prints of the checkout; "" if it fails, or there is no git."""
    command = ["git", "--no-optional-locks", "-C", paths.ROOT, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
