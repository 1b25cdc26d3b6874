"""The one exception that stands for a user's mistake, and the wording of the commonest one."""

import difflib


class UserError(ValueError):
    """A user's mistake: the message is one clear line that names the value and what was expected.

    The command line prints the message and exits with `status`; any other exception is a bug of
    ours and keeps its traceback.
    """

    status = 2


def unknown(kind, value, choices):
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
