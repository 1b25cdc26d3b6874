"""What goes from one round of Kingdra to the next, and its file."""

import os
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from common.errors import UserError
from common.files import load_arrays, save_arrays


@dataclass
class RoundState:
    """What the next round depends on besides the members themselves.

    Attributes
    ----------
    clusters : int array (m, k)
        Each member's cluster for each of the groups.
    member_seconds : float array (m,)
        Of training, by the end of the last round.
    first_labels, first_vote : int arrays (m, n), (n,)
        The labels after the first round, of each member and of the ensemble.
    round, step : int
        Rounds finished, and the steps of each member in them.
    seconds, step_seconds : float
        In all, and of these in training.
    groups : list of int arrays
        The samples of each group in use; empty as long as there were none.
    best_groups : list of int arrays
        Those with the largest smallest group so far.
    """

    clusters: np.ndarray
    member_seconds: np.ndarray
    first_labels: np.ndarray
    first_vote: np.ndarray
    round: int = 0
    step: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0
    groups: list = field(default_factory=list)
    best_groups: list = field(default_factory=list)

    @classmethod
    def beginning(cls, m: int, k: int, n: int) -> Self:
        """Return the state before the first round of m members on n samples."""
        return cls(
            clusters=np.zeros((m, k), np.int64),
            member_seconds=np.zeros(m),
            first_labels=np.zeros((m, n), np.int64),
            first_vote=np.zeros(n, np.int64),
        )

    @property
    def best(self) -> int:
        """The number of samples in the smallest of `best_groups`; 0 if there are none."""
        return min(map(len, self.best_groups), default=0)

    def choose(self, groups: list[np.ndarray], k: int) -> None:
        """Put the groups just found in use; if one of k is missing, the best so far [C]."""
        if len(groups) == k and min(map(len, groups)) > self.best:
            self.best_groups = groups
        self.groups = groups if len(groups) == k else self.best_groups

    def save(self, path: str | os.PathLike, identity: str) -> None:
        """Write the state, and what run's it is."""
        about = {name: getattr(self, name) for name in (*NUMBERS, "best")}
        arrays = {name: getattr(self, name) for name in ARRAYS}
        for kind in ("", "best_"):  # groups end to end, and their sizes
            groups = getattr(self, f"{kind}groups")
            arrays[f"{kind}groups"] = np.concatenate([np.zeros(0, np.int64), *groups])
            arrays[f"{kind}sizes"] = np.array([len(group) for group in groups], np.int64)
        save_arrays(path, arrays, about | {"identity": identity})

    @classmethod
    def load(cls, path: str | os.PathLike, identity: str) -> Self:
        """Return the state that `save` wrote.

        Raises
        ------
        UserError
            If the file is damaged, another run's, or another version's without all it must hold.
        """
        arrays, about = load_arrays(path)
        if about.get("identity") != identity:
            raise UserError(f"{str(path)!r} is the checkpoint of another run")
        needed = {*NUMBERS, "best", *ARRAYS, "groups", "sizes"}
        if missing := sorted(needed - set(arrays) - set(about)):
            raise UserError(f"{str(path)!r} holds no {', '.join(missing)}: another version's")

        def split(kind):
            sizes = arrays.get(f"{kind}sizes", ())
            return np.split(arrays[f"{kind}groups"], np.cumsum(sizes)[:-1]) if len(sizes) else []

        return cls(
            **{name: arrays[name] for name in ARRAYS},
            **{name: about[name] for name in NUMBERS},
            groups=split(""),
            best_groups=split("best_"),
        )


NUMBERS = ("round", "step", "seconds", "step_seconds")
ARRAYS = ("clusters", "member_seconds", "first_labels", "first_vote")
