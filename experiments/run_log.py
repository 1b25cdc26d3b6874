"""A run's log.csv and its progress on the screen. Labels are used to score, and for no more."""

import csv
import functools
import os
import sys
from collections.abc import Sequence

import numpy as np

import metrics
from common.files import replacing
from experiments import quality
from models.core.monitor import Monitor

LOG_COLUMNS = (
    *("phase", "step", "seconds", "loss", "reconstruction", "kl", "distance", "changed"),
    *("lambda", "selected", "distance_mean", "acc", "nmi", "ari"),
    *("empty", "largest", "modularity", "start_agreement"),  # of labels, without ground truth
)


class RunMonitor(Monitor):
    """Writes log.csv, scores labels against y where there is one, and shows progress.

    path: log.csv, of which rows that a killed run wrote after its last checkpoint are dropped on
    resume; y: int (n,); show: progress on stderr; columns: what the method logs besides
    LOG_COLUMNS; x: the samples (n, ...), on whose neighbour graph the labels of each refresh are
    judged; k: number of clusters, by default those of the labels count.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        y: np.ndarray | None = None,
        show: bool = True,
        columns: Sequence[str] = (),
        x: np.ndarray | None = None,
        k: int | None = None,
    ):
        self.path, self.y, self.show, self.x, self.k = path, y, show, x, k
        self.columns = [*LOG_COLUMNS, *(name for name in columns if name not in LOG_COLUMNS)]
        self._bar = None

    @functools.cached_property
    def graph(self) -> quality.Graph:
        """The neighbour graph of the samples."""
        return quality.Graph(self.x)

    def begin(self, phase: str, total: int, step: int) -> None:
        """Drop this and later phases' rows after `step` and open a progress bar."""
        from tqdm import tqdm

        order = ["pretrain", "cluster", "final"]
        here = (order.index(phase), step)
        rows = read_log(self.path)
        kept = [row for row in rows if (order.index(row["phase"]), int(row["step"])) < here]
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        self.close()
        if self.show:
            terminal = sys.stderr.isatty()
            form = {"ncols": None if terminal else 110, "dynamic_ncols": terminal}
            form["mininterval"] = 1.0 if terminal else 30.0
            self._bar = tqdm(total=total, initial=step, desc=phase, unit="step", **form)

    def progress(self, phase: str, step: int) -> None:
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def row(
        self,
        phase: str,
        step: int,
        values: dict,
        labels: np.ndarray | None = None,
        others: dict | None = None,
    ) -> None:
        values = dict(values)
        if labels is not None and self.y is not None:
            score = metrics.scores(self.y, labels)
            values |= {name: score[name] for name in ("acc", "nmi", "ari")}
        if labels is not None and self.x is not None:
            found = quality.sizes(labels, max(self.k or 0, int(labels.max()) + 1))
            values |= {
                "empty": found["empty_clusters"],
                "largest": found["largest_cluster"],
                "modularity": self.graph.modularity(labels),
            }
        for name, parts in (others or {}).items():
            if self.y is not None and parts:
                some = [metrics.acc(self.y if i is None else self.y[i], c) for i, c in parts]
                values[f"{name}_acc"] = float(np.mean(some))
        row = {"phase": phase, "step": step} | {
            name: f"{value:.6g}" for name, value in values.items() if name in self.columns
        }
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        if self._bar is not None:
            names = [name for name in ("loss", "changed", "acc", "nmi") if name in row]
            shown = {name: row[name][:6] for name in names}
            self._bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """Finish the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def read_log(path: str | os.PathLike) -> list[dict]:
    """Return the rows of a log.csv as dicts; a last line cut short by a kill is left out."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [r for r in rows if None not in r.values() and None not in r and r["step"].isdigit()]
