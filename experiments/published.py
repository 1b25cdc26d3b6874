"""The papers' tables with our numbers beside them: which runs count, and how far they are off.

NMI in the tables is the arithmetic one; the papers' was probably the geometric one (scikit-learn's
default then), which results.csv holds as `nmi_geometric`.
"""

import functools
import json
import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from common import paths
from common.errors import UserError, unknown
from datasets import DATASETS
from experiments.ledger import Row, finished, is_published, merge, protocol
from loaders.readers import reading
from models import METHODS, preset

PAPER = Path(paths.ROOT, "results", "paper.csv")
FIELDS = ("ours", "paper", "difference", "verdict")
SOURCE = {  # metric -> our column
    "acc": "acc",
    "nmi": "nmi",
    "seconds": "seconds_total",
    "seconds_cluster": "seconds_cluster",
    "test_acc": "test_acc",
    "test_nmi": "test_nmi",  # of samples that were not fitted
    "clusters": "clusters",  # found by a method that finds their number
}
TOLERANCE = 0.01  # what counts as equal at least: papers round, and print no spread
MOST = 0.02  # of our own spread: runs that scatter widely are not near the paper
TRIALS = {"decda": 5, "aspc": 5, "dscdan": 10, "kingdra": 5, "dec-keras": 10}  # paper -> its runs
# Methods whose k-means scores before clustering are those of k-means on the Fc auto-encoder.
ON_FC_CODES = ("FcDEC", "FcIDEC", "FcDCN", "BasicDC", "ASPC")
LEGEND = (
    "ACC and NMI (arithmetic) are fractions, std is over seeds (n - 1); only runs at the papers' "
    "settings, on the papers' samples and with their number of clusters count, those of the newest "
    "protocol. met: the difference is no larger than its standard error sqrt(s²/n + s'²/n'), s and "
    "n our std and number of seeds, s' and n' the paper's; above, short: it is larger. A spread "
    f"that the paper does not print counts as 0, ours as {MOST} at most (two seeds that scatter "
    f"widely are not near the paper), of one seed as the paper's; differences up to {TOLERANCE} "
    "are met in any case. Times are of different machines and have no verdict; nor have "
    'numbers of clusters, or a row "A, as B": the paper\'s method A, ours B, a kin of it under '
    "another protocol."
)


Found = dict[tuple, dict[int, dict]]  # place -> seed -> run, as `scores` returns it


class Cell(Protocol):
    """A line of paper.csv, as `itertuples` of `read_paper` gives it."""

    paper: str
    table: str
    row: str
    method: str
    variant: str
    dataset: str
    metric: str
    value: float
    spread: float
    settings: str
    also: str
    printed: str


def read_paper() -> pd.DataFrame:
    """Return the published numbers; value and spread are floats, `printed` is their text."""
    with reading(PAPER, "the published numbers"):
        if not Path(PAPER).read_bytes().endswith(b"\n"):
            raise ValueError("cut short")
        paper = pd.read_csv(PAPER, dtype=str, keep_default_na=False)
        printed = paper.value + paper.spread.map(lambda text: f" ± {text}" if text else "")
        numbers = {name: pd.to_numeric(paper[name]) for name in ("value", "spread")}  # "": NaN
        return paper.assign(**numbers, printed=printed)


# ---- Identities: (method without "-DA", whether pretraining, whether clustering is augmented) --


@functools.cache
def _stages(method):
    """Return whether a method's own settings augment (pretraining, clustering)."""
    config = preset(method) if method in METHODS else None
    pretraining = bool(getattr(config, "aug_pretrain", False))
    return pretraining, bool(getattr(config, "aug_cluster", pretraining))


def identity(method: str, variant: str = "") -> tuple[str, bool, bool]:
    """Return the identity of a published cell; a variant, "n/y", says which stages it augments."""
    stages = [flag == "y" for flag in variant.split("/")] if variant else _stages(method)
    return method.removesuffix("-DA"), *stages


def identity_of_run(row: Row) -> tuple[str, bool, bool]:
    """Return the identity of a row; who has no second stage is known by the first."""
    said = row["aug_pretrain"], row["aug_cluster"] or row["aug_pretrain"]
    stages = [flag.lower() in ("true", "1", "y") for flag in said]
    return row["method"].removesuffix("-DA"), *(stages if any(said) else _stages(row["method"]))


def label(base: str, *stages: bool) -> str:
    """Return the name of an identity: FcDEC, FcDEC-DA or, one stage augmented, FcDEC (n/y)."""
    named = (name for name in (base, f"{base}-DA") if identity(name) == (base, *stages))
    return next(named, f"{base} ({'/'.join('ny'[stage] for stage in stages)})")


# ---- What counts -------------------------------------------------------------------------------


def changes(overrides: str) -> str:
    """Return the settings of a run that are not the method's, in order, as text.

    Without the augmented stages: these are part of the identity.
    """
    stages = ("aug_pretrain=", "aug_cluster=")
    return " ".join(sorted(word for word in overrides.split() if not word.startswith(stages)))


def scores(rows: Iterable[Row], settings: Collection[str] = ()) -> Found:
    """Return our runs at the papers' settings, place -> seed -> run.

    A place is (*identity, data set) and, of runs with other settings, of which those count whose
    `changes` are among `settings`, (*identity, data set, changes). A run is {metric of SOURCE:
    number} with seed, device, protocol, `converged` ("" if unknown) and, where it has one, `start`,
    the ACC of the clustering that it starts from. One run a seed: the last to finish; of the newest
    protocol only, so that no mean is over two. k-means on the codes of the Fc auto-encoder, which
    every run on it begins with, counts as the method AE+k-means where that was not run by itself.
    """
    runs, codes = [], []
    for row in sorted(merge(rows), key=finished):
        changed = changes(row["overrides"])
        if row["status"] != "ok" or changed not in ("", *settings) or not is_published(row):
            continue
        base, *stages = identity_of_run(row)
        run = {metric: float(row[name]) for metric, name in SOURCE.items() if row.get(name)}
        about = {"seed": int(row["seed"]), "device": row["device"], "protocol": sum(protocol(row))}
        about["converged"] = row["converged"]
        if row["kmeans_acc"]:
            about["start"] = float(row["kmeans_acc"])
        there = (base, *stages, row["dataset"], *[changed][: bool(changed)])
        runs.append((there, run | about))
        if base in ON_FC_CODES and not changed:
            run = {m: float(row[f"kmeans_{m}"]) for m in ("acc", "nmi") if row[f"kmeans_{m}"]}
            about["protocol"] = 1 + protocol(row)[1]  # the clustering's own has no part in it,
            about["converged"] = ""  # nor has whether its labels settled
            place = "AE+k-means", stages[0], stages[0], row["dataset"]
            codes.append((place, run | about))
    found = [(place, run) for place, run in codes + runs if not run.keys().isdisjoint(SOURCE)]
    newest, kept = {}, {}
    for place, run in found:
        newest[place] = max(run["protocol"], newest.get(place, 0))
    for place, run in found:
        if run["protocol"] == newest[place]:
            kept.setdefault(place, {})[run["seed"]] = run
    return kept


def is_ours(cell: Cell) -> bool:
    """Whether a published cell names a method of ours, and a number that our runs have."""
    return cell.method != "" and cell.metric in SOURCE


def counts(cell: Cell, runs: list[dict]) -> bool:
    """Whether a cell is one that this repo can fill: its method and data are, or a run is here."""
    return bool(runs) or (cell.method in METHODS and cell.dataset in DATASETS)


def place_of(method: str, dataset: str, changed: str = "", variant: str = "") -> tuple:
    """Return the place in `scores` of a method on a data set, with some settings changed."""
    return (*identity(method, variant), dataset, *[changed][: bool(changed)])


def runs_of(cell: Cell, found: Found, method: str | None = None) -> list[dict]:
    """Return the runs, of those of `scores`, that have a published cell's number, one per seed.

    method: in place of the cell's.
    """
    there = place_of(method or cell.method, cell.dataset, changes(cell.settings), cell.variant)
    return [run for run in found.get(there, {}).values() if cell.metric in run]


def settings_of(cell: Cell) -> dict:
    """Return {setting: value} of a published cell at other settings than the method's.

    Among them the augmented stages of a variant, "y/n" for (pretraining, clustering).
    """
    flags = zip(("aug_pretrain", "aug_cluster"), cell.variant.split("/"), strict=False)
    stages = {name: flag == "y" for name, flag in flags if flag}
    pairs = (word.split("=", 1) for word in cell.settings.split())
    return stages | {name: json.loads(value) for name, value in pairs}


def trials_of(table_id: str, paper: pd.DataFrame) -> int:
    """Return how many runs a table's paper averages, 5 where that is not known."""
    return next((TRIALS.get(name, 5) for name in paper.paper[paper.table == table_id]), 5)


def runs_for(cell: Cell) -> str:
    """Return the method of ours whose runs a published cell needs; "" of one published only."""
    return next((name for name in (cell.method, cell.also) if name in METHODS), "")


# ---- Ours beside the papers' ----------------------------------------------------------------


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and, over n - 1, the standard deviation: NaN of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def spread_text(values: Sequence[float], digits: int = 4) -> str:
    """Return "mean ± std" of some values, the mean alone of a single one."""
    mean, std = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def minutes(runs: Iterable[dict]) -> str:
    """Return the mean time of runs of `scores` in minutes, "" if no time is known."""
    seconds = [run["seconds"] for run in runs if "seconds" in run]
    return f"{statistics.fmean(seconds) / 60:.1f}" if seconds else ""


def verdict(mean: float, std: float, count: int, value: float, spread: float, trials: int) -> str:
    """Return "above", "met" or "short" for our mean beside a published value.

    "met": they differ by no more than the standard error of their difference.

    Parameters
    ----------
    mean, std : float
        Of our runs. The std, NaN of one run, counts as MOST at most, of one run as the paper's.
    count : int
        Our runs.
    value, spread : float
        The paper's mean and std, NaN if it prints none, which counts as 0.
    trials : int
        The paper's runs.
    """
    gap = round(mean - value, 9)  # 0.985 - 0.98 is 0.005
    paper = 0.0 if math.isnan(spread) else spread
    ours = min(paper if math.isnan(std) else std, MOST)
    error = math.sqrt(ours**2 / count + paper**2 / trials)
    tolerance = round(max(error, TOLERANCE), 9)
    return "met" if abs(gap) <= tolerance else "above" if gap > 0 else "short"


def tables(rows: Iterable[Row], paper: pd.DataFrame, table_id: str) -> pd.DataFrame:
    """Return a published table with our numbers.

    Rows with status ok and without overrides count (but for those of the published cell, and for
    the augmented stages, which are matched with the table's variants); paper: from `read_paper`;
    table_id: e.g. "decda-3".

    Returns
    -------
    DataFrame of text
        A row a method; columns (data set, metric, one of FIELDS), all in the paper's order.
        `attrs`: table, covered and implemented (numbers of cells), seeds, devices, and `only`,
        the rows that no method of ours is compared with.

    Raises
    ------
    UserError
        If there is no such table.
    """
    return _table(scores(rows, wanted(paper)), paper, table_id)


def wanted(paper: pd.DataFrame) -> set[str]:
    """Return the `changes` of the published cells at other settings than the method's."""
    return {changes(text) for text in paper.settings if text}


def every_table(rows: Iterable[Row], paper: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return {table_id: table} of all published tables, as `tables`, in the paper file's order."""
    found = scores(rows, wanted(paper))
    return {name: _table(found, paper, name) for name in paper.table.unique()}


def _table(found, paper, table_id):
    published = paper[paper.table == table_id]
    if published.empty:
        raise UserError(unknown("table", table_id, paper.table.unique()))
    lines, used, covered, implemented = {}, [], 0, 0
    for name, cell, runs, kin in entries(found, published):
        entry = {"paper": cell.printed} | (compare(runs, cell, kin) if runs else {})
        if not kin and is_ours(cell):
            implemented += counts(cell, runs)
            covered, used = covered + bool(runs), used + runs
        place = cell.dataset, cell.metric
        lines.setdefault(name, {}).update({(*place, f): entry.get(f, "") for f in FIELDS})
    places = dict.fromkeys(zip(published.dataset, published.metric, strict=True))
    columns = [(*place, field) for place in places for field in FIELDS]
    columns = pd.MultiIndex.from_tuples(columns, names=["dataset", "metric", "field"])
    cells = [[line.get(column, "") for column in columns] for line in lines.values()]
    table = pd.DataFrame(cells, index=pd.Index(lines, name="method"), columns=columns)
    table.attrs = {
        "table": table_id,
        "covered": covered,
        "implemented": implemented,
        "seeds": sorted({run["seed"] for run in used}),
        "devices": sorted({run["device"] for run in used} - {""}),
        "only": only(published),
    }
    return table


def entries(found: Found, published: pd.DataFrame) -> Iterator[tuple[str, Cell, list[dict], bool]]:
    """Yield (line's name, published cell, our runs, kin) of a table, in its order.

    A line "A, as B" is there where we have runs of B, a kin of A under another protocol.
    """
    several = published.groupby("row").variant.nunique() > 1
    for cell in published.itertuples():
        name = f"{cell.row}, {cell.variant}" if several[cell.row] else cell.row
        yield name, cell, runs_of(cell, found) if is_ours(cell) else [], False
        kin = runs_of(cell, found, cell.also) if cell.also else []
        if kin:
            yield f"{name}, as {cell.also}", cell, kin, True


def only(published: pd.DataFrame) -> list[str]:
    """Return the rows of a table that no method of ours is compared with, in its order."""
    ours = {cell.row for cell in published.itertuples() if runs_for(cell)}
    return [row for row in published.row.unique() if row not in ours]


def compare(runs: list[dict], cell: Cell, kin: bool = False) -> dict[str, str]:
    """Return {field: text} of our runs, one per seed, beside a published cell; kin: no verdict."""
    values = [run[cell.metric] for run in runs]
    mean, std = mean_std(values)
    score = not cell.metric.startswith(("seconds", "clusters"))
    digits, word = 4 if score else 1, ""
    if score and not kin:
        trials = TRIALS.get(cell.paper, 1)
        word = verdict(mean, std, len(values), cell.value, cell.spread, trials)
    return {
        "ours": f"{spread_text(values, digits)} ({len(values)})",
        "difference": f"{round(mean - cell.value, 9):+.{digits}f}",
        "verdict": word,
    }
