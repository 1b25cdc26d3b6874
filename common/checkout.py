"""The commit of the code that runs, as it was when the process began.

A run takes hours, in which the checkout may go on: what git says at its end is not what was run.
"""

import functools
import shutil
import subprocess

from common import paths

NO_CODE = ("results", "README.md", "docs")  # what sweeps and people write while the same code runs


@functools.cache
def commit_at_start() -> str:
    """Return `git_commit` of the first call; the scripts call it before anything else."""
    return git_commit()


def git_commit() -> str:
    """Return the checkout's commit, with "-dirty" if tracked files but NO_CODE differ from it.

    "" outside git.
    """
    if shutil.which("git") is None or not (
        commit := _git(paths.ROOT, "rev-parse", "--short=12", "HEAD")
    ):
        return ""
    some = [".", *(f":(exclude){name}" for name in NO_CODE)]
    changed = _git(paths.ROOT, "status", "--porcelain", "--untracked-files=no", "--", *some)
    return commit + ("-dirty" if changed else "")


def _git(folder, *argv):
    """Return what a git command prints; "" if it fails."""
    try:
        command = ["git", "--no-optional-locks", *argv]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
