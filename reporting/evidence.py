"""What rows and run folders show, as numbers for the report. Nothing is drawn here.

Two things can be wrong with a figure's source: it is not there (`Absent`: a sentence in place of
the figure), or it is damaged (`Damaged`: a warning as well).
"""

import csv
import functools
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import datasets
import metrics
from common.errors import UserError
from common.files import load_arrays
from experiments import ledger
from experiments.run_log import read_log

EACH = 2  # settings of a (method, data set) that are shown, the papers' first
COLUMNS = ("seconds", "loss", "changed", "acc", "nmi")  # of log.csv

Row = dict[str, str]  # of the ledger
Curve = tuple[np.ndarray, np.ndarray]  # steps, values
Log = dict[tuple[str, str], Curve]  # of (phase, column)


class Absent(Exception):
    """Something that a figure needs is not there; the message is a clause that says what."""


class Damaged(Exception):
    """A file of a run does not hold what it should; the message says which and what."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone."""

    dataset: str
    data_hash: str
    k: str
    source: str  # as datasets.Dataset.source
    method: str
    overrides: str
    runs: dict = field(default_factory=dict)  # seed -> row, in order of seeds
    folders: dict = field(default_factory=dict)  # seed -> run folder, where there is one

    @property
    def problem(self) -> tuple[str, str, str, str]:
        """What is clustered: groups that agree in it can be compared."""
        return self.dataset, self.data_hash, self.k, self.source

    @property
    def published(self) -> bool:
        """Whether published scores are of this problem."""
        return ledger.is_published(next(iter(self.runs.values())))

    @property
    def name(self) -> str:
        """The method and what is not the paper's setting."""
        return self.method + (f", {self.overrides}" if self.overrides else "")

    def values(self, column: str) -> list[float]:
        """Return a column's numbers, one per seed that has one."""
        return [float(row[column]) for row in self.runs.values() if row[column]]


def groups(rows: Iterable[Row], folders: dict[Path, Row]) -> tuple[list[Group], list[str]]:
    """Return (groups in a fixed order, the names of those left out).

    Parameters
    ----------
    rows : list of rows
        From the ledger; those with status ok count, of a seed's that of the newest protocol, and
        of these the last to finish.
    folders : dict
        Run folder -> its row; a folder stands for the row that it equals.
    """
    where = {tuple(sorted(row.items())): folder for folder, row in folders.items()}
    found = {}
    for row in sorted(
        ledger.merge(rows), key=lambda row: (sum(ledger.protocol(row)), row["finished"])
    ):
        if row["status"] == "ok":
            problem = row["dataset"], row["data_hash"], row["k"], ledger.source(row)
            key = *problem, row["method"], row["overrides"]
            found.setdefault(key, {})[int(row["seed"])] = row
    shown, left_out, settings = [], [], {}
    for key in sorted(found, key=lambda key: (*key[:5], len(key[5].split()), key[5])):
        runs = dict(sorted(found[key].items()))
        places = {seed: where.get(tuple(sorted(row.items()))) for seed, row in runs.items()}
        group = Group(*key, runs, {seed: place for seed, place in places.items() if place})
        settings[key[:5]] = settings.get(key[:5], 0) + 1
        if settings[key[:5]] <= EACH:
            shown.append(group)
        else:
            left_out.append(f"{group.name} on {group.dataset}")
    return shown, left_out


def choice(group: Group, choices: Iterable[Row]) -> tuple[str, str]:
    """Return the ACC of the run chosen without labels and of the consensus, "–" if not known."""
    names = ("dataset", "data_hash", "k", "method", "overrides")
    wanted = [getattr(group, name) for name in names]
    for row in choices:
        if [row[name] for name in names] == wanted and row["chosen_acc"]:
            chosen = f"{float(row['chosen_acc']):.4f} (seed {row['chosen_seed']})"
            return chosen, f"{float(row['consensus_acc']):.4f} ({row['runs']})"
    return "–", "–"


def verdicts(group: Group) -> str:
    """Return how many of a group's runs have which verdict, e.g. "4 healthy, 1 doubtful"."""
    found = [row.get("verdict", "") for row in group.runs.values()]
    counts = {word: found.count(word) for word in ("healthy", "doubtful", "collapsed")}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "–"


def doubts(group: Group) -> list[str]:
    """Return a line on each run of a group that is not healthy."""
    return [
        f"Seed {seed} is {row['verdict']}: {row['reasons']}."
        for seed, row in group.runs.items()
        if row.get("verdict", "healthy") not in ("", "healthy")
    ]


# ---- Curves -----------------------------------------------------------------------------------


def history(path: str | os.PathLike) -> Log:
    """Return {(phase, column): (steps, values)} of a log.csv, both 1-d and in order of steps.

    The scores of the final labels end the phase "cluster".

    Raises
    ------
    Absent, Damaged
    """
    if not os.path.exists(path):
        raise Absent("the run folder has no log.csv")
    found = {}
    try:
        for row in read_log(path):
            phase = "cluster" if row["phase"] == "final" else row["phase"]
            step = int(row["step"])
            for name in COLUMNS:
                if name == "changed" and step == 0:
                    continue  # 1 by definition: there was nothing to change
                if row.get(name) and math.isfinite(value := float(row[name])):
                    found.setdefault((phase, name), {})[step] = value
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise Damaged(f"{path} is damaged: {error!r}") from error
    return {key: _sorted(points) for key, points in found.items()}


def _sorted(points):
    steps = np.array(sorted(points))
    return steps, np.array([points[step] for step in steps.tolist()])


def spread(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (steps, mean, std) over the curves [(steps, values)] of some runs.

    A run that has ended keeps its last value, so that the end is the mean over all of them. The
    std is over n - 1: NaN for one curve.
    """
    grid = np.unique(np.concatenate([steps for steps, _ in curves]))
    grid = grid[grid >= max(steps[0] for steps, _ in curves)]
    held = np.stack(
        [values[np.searchsorted(steps, grid, side="right") - 1] for steps, values in curves]
    )
    std = held.std(axis=0, ddof=1) if len(curves) > 1 else np.full(len(grid), np.nan)
    return grid, held.mean(axis=0), std


def acc_over_time(row: Row, log: Log) -> Curve | None:
    """Return (seconds since the run began, ACC) at its refreshes, or None if one is not known."""
    before = [row["seconds_pretrain"], row["seconds_initialize"]]
    if not all(before) or not {("cluster", "seconds"), ("cluster", "acc")} <= log.keys():
        return None
    steps, scores = log["cluster", "acc"]
    at, seconds = log["cluster", "seconds"]
    both = np.isin(steps, at)
    return seconds[np.isin(at, steps)] + sum(map(float, before)), scores[both]


# ---- A run's clusters -------------------------------------------------------------------------


def _array(folder, name):
    """Return an .npy file, mapped into memory."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        raise Absent(f"the run folder has no {name}")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} is damaged: {error}") from error


@functools.lru_cache(maxsize=1)  # groups come in order of data sets
def _data(name):
    if name not in datasets.DATASETS:
        raise Absent("the data is a user's own file, which the run folder does not hold")
    try:
        return datasets.load(name, download=False)
    except UserError as error:
        raise Absent(f"the data set {name} was not found on this machine") from error


class Clusters:
    """What the folder of a group's run with the lowest seed says of its clusters.

    Files are read when they are first asked for, which raises Absent or Damaged.
    """

    def __init__(self, group: Group):
        self.seed, self.folder = min(group.folders.items())
        self.row, self.name = group.runs[self.seed], f"{group.name} on {group.dataset}"

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int (n,)"""
        labels = _array(self.folder, "labels.npy")
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
            found = f"{labels.dtype} {labels.shape}"
            raise Damaged(f"{self.folder}/labels.npy holds {found}: expected integers (n,)")
        return labels

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The embedding, float (n, z)."""
        n, z = len(self.labels), _array(self.folder, "embedding.npy")
        if z.ndim != 2 or len(z) != n or z.dtype.kind != "f" or not np.isfinite(z).all():
            found = f"{z.dtype} {z.shape}"
            raise Damaged(f"{self.folder}/embedding.npy holds {found}: expected finite ({n}, z)")
        return z

    @property
    def data(self) -> datasets.Dataset:
        """The data set, if it is the one that was clustered."""
        own = ledger.source(self.row) == "file"
        n, data = len(self.labels), _data("" if own else self.row["dataset"])
        if not data.sha256.startswith(self.row["data_hash"]):
            raise Absent(f"the {data.name} found on this machine is not the data of the run")
        if data.n != n:
            raise Damaged(f"{self.folder}/labels.npy has {n} labels: expected {data.n}")
        return data

    def certainty(self) -> tuple[np.ndarray, str]:
        """Return (certainty (n,) in (0, 1], what it is measured from).

        A sample's largest soft assignment q (DEC, eq. 1), to the model's centres where the folder
        has a model with centres, else to the clusters' mean codes.
        """
        z, source = self.codes, "the trained centres"
        try:
            centers = load_arrays(self.folder / "model_final.h5")[0]["centers"]
            if centers.ndim != 2 or centers.shape[1] != z.shape[1]:
                raise KeyError("centers")
        except (UserError, KeyError):
            centers = np.stack([z[self.labels == j].mean(axis=0) for j in np.unique(self.labels)])
            source = "the clusters' mean codes"
        q = np.stack([1 / (1 + np.square(z - center).sum(axis=1)) for center in centers], axis=1)
        return q.max(axis=1) / q.sum(axis=1), source

    def confusion(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return `confusion` of the labels, if they have the score that the row tells."""
        y, recorded = self.data.y, self.row["acc"]
        if y is None:
            raise Absent("the data has no labels")
        found = metrics.acc(y, self.labels)
        if recorded and abs(found - float(recorded)) > 1e-6:
            raise Damaged(f"{self.folder}: ACC of labels.npy {found:.4f}, of the row {recorded}")
        return confusion(y, np.asarray(self.labels))


def confusion(y: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the counts of classes against clusters after Hungarian matching.

    Parameters
    ----------
    y, labels : int array (n,)

    Returns
    -------
    counts : int array (classes, clusters)
        Cell (i, i) holds a class and its cluster, for all that have a partner; classes, or
        clusters, without one come last.
    classes, clusters : int arrays
        Their numbers.
    """
    renamed = metrics.align(labels, y)  # clusters without a partner: numbers that are no class
    counts = pd.crosstab(y, renamed)
    names = sorted(counts.index, key=lambda name: name not in counts.columns)
    clusters = np.array([labels[renamed == j][0] for j in counts.columns])
    return counts.loc[names].to_numpy(), np.array(names), clusters
