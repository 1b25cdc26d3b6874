"""Why cells of DEC-DA and ASPC-DA fall short: where our runs start, and where the paper's did."""

import statistics
from collections.abc import Iterable

import pandas as pd

from experiments import published
from experiments.published import Found
from models import METHODS

TABLES = ("decda-2", "decda-5", "aspc-5", "aspc-6")
SETS = ("usps", "mnist-test")
MORE_STARTS = "n_init=200"
NEAR = 0.02  # ACC: starts and results that differ by less are alike
CODES = "AE+k-means", "AE+k-means-DA"  # k-means on plain and on augmented codes


def starts(runs: Iterable[dict]) -> list[float]:
    """Return the ACC that runs of `published.scores` start from, where they have one."""
    return [run["start"] for run in runs if "start" in run]


def starts_on_codes(found: Found, augmented: bool, dataset: str, changed: str) -> list[float]:
    """Return the ACC of k-means on the Fc auto-encoder's codes, one per seed, by some settings."""
    names = [f"{name}-DA" if augmented else name for name in published.ON_FC_CODES]
    places = [published.place_of(name, dataset, changed) for name in names if name in METHODS]
    kept = {seed: run for there in places for seed, run in found.get(there, {}).items()}
    return starts(kept.values())


def published_start(paper: pd.DataFrame, augmented: bool, dataset: str) -> float | None:
    """Return the ACC of k-means on the paper's codes of the Fc auto-encoder (DEC-DA, Table 5)."""
    table = paper[(paper.table == "decda-5") & (paper.dataset == dataset) & (paper.metric == "acc")]
    values = table.value[table.method == CODES[augmented]]
    return float(values.iloc[0]) if len(values) else None


def sentence(
    ours: float,
    theirs: float,
    start: float | None,
    their_start: float | None,
    better: float | None,
    seeds: int,
    unsettled: int = 0,
) -> str:
    """Return what is known of a cell that falls short, from ACCs.

    ours, theirs: results, our mean and the paper's; start, their_start: of k-means on the codes
    that the runs begin with; better: our mean with 200 restarts of k-means; seeds: our runs;
    unsettled: those of them that the limit of steps ended, while labels still changed.
    """
    parts = []
    if start is not None and their_start is not None:
        alike = abs(start - their_start) < NEAR
        parts.append(
            f"starts as the paper's codes do ({start:.3f}, {their_start:.3f})"
            if alike
            else f"starts at {start:.3f}, the paper's codes at {their_start:.3f}"
        )
    elif start is not None:
        parts.append(f"starts at {start:.3f}")
    if start is not None and ours < start - NEAR:
        own = their_start is not None and theirs < their_start - NEAR
        parts.append(f"the second stage lowers it{', as in the paper' if own else ''}")
    if better is not None:
        parts.append(f"with 200 restarts of k-means {better:.3f}")
    if unsettled:
        which = "" if unsettled == seeds else f"{unsettled} of {seeds} "
        parts.append(f"{which}ended by the limit of steps, labels not settled")
    parts.append("one seed" if seeds == 1 else f"{seeds} seeds")
    return "; ".join(parts)


def why(paper: pd.DataFrame, found: Found) -> list[list[str]]:
    """Return one line per short cell of TABLES on SETS: row, data set, ours, the paper's, why.

    found: `published.scores` of all rows, with `n_init=200` among its settings.
    """
    lines = {}
    some = paper[paper.table.isin(TABLES) & paper.dataset.isin(SETS)]
    by_acc = some.row.isin(some.row[some.metric == "acc"])  # else the paper has the NMI alone
    some = some[some.metric == by_acc.map({True: "acc", False: "nmi"})]
    for name, cell, runs, kin in published.entries(found, some):
        if not runs or kin or published.compare(runs, cell, kin)["verdict"] != "short":
            continue
        augmented, base = published.identity(cell.method, cell.variant)[1], cell.method
        settings = METHODS[base].settings
        by_k_means = settings.network == "fc" and settings.init == "k-means" and base not in CODES
        ours = statistics.fmean(run[cell.metric] for run in runs)
        place = published.place_of(cell.method, cell.dataset, MORE_STARTS, cell.variant)
        better = [run[cell.metric] for run in found.get(place, {}).values()]
        if base in CODES:
            better = starts_on_codes(found, augmented, cell.dataset, MORE_STARTS)
        begun = starts(runs) if cell.metric == "acc" else []
        text = sentence(
            ours,
            float(cell.value),
            statistics.fmean(begun) if begun and base not in CODES else None,
            published_start(paper, augmented, cell.dataset) if by_k_means else None,
            statistics.fmean(better) if better else None,
            len(runs),
            sum(run["converged"] == "False" for run in runs),
        )
        if begun and max(begun) - min(begun) > NEAR:
            worst = min((run for run in runs if "start" in run), key=lambda run: run["start"])
            text += f"; the worst start, {worst['start']:.3f}, ends at {worst[cell.metric]:.3f}"
        again = found.get(published.place_of(CODES[augmented], cell.dataset, MORE_STARTS), {})
        seeds = {run["seed"] for run in runs}
        if by_k_means and begun and not better and again.keys() >= seeds:
            mean = statistics.fmean(again[seed]["acc"] for seed in seeds)
            text += f"; 200 restarts of k-means would start at {mean:.3f}"
        unit = "" if cell.metric == "acc" else "NMI "
        numbers = [f"{unit}{ours:.3f}", f"{unit}{cell.printed}"]
        lines[name, cell.dataset] = [name, cell.dataset, *numbers, text]
    return list(lines.values())
