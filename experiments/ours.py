"""`run_exp.py --table ours`: the method of this project beside the best that the papers print."""

import os

import pandas as pd

from experiments import published
from experiments.choices import read as read_choices
from experiments.ledger import Row
from experiments.rendering import markdown

TABLE = "ours"
PAIRS = (
    ("SpectralSAT-DA", "digits"),
    ("SpectralSAT-DA", "usps"),
    ("SpectralSAT-DA", "mnist-test"),
    ("SpectralSAT-DA", "mnist"),
    ("SpectralSAT-DA", "fmnist"),
    ("SpectralSAT", "20news-l2"),
)
PAPERS = ("decda", "aspc", "dscdan", "kingdra")
HEAD = ("data set", "ACC", "lowest", "NMI", "seeds", "minutes", "consensus", "the papers' best")


def best_printed(paper: pd.DataFrame, dataset: str) -> str:
    """Return "ACC (row)" of the best that the four papers print of a data set; "–" if none."""
    some = paper[paper.paper.isin(PAPERS) & (paper.dataset == dataset) & (paper.metric == "acc")]
    some = some[some.value.notna()]
    if some.empty:
        return "–"
    best = some.loc[some.value.idxmax()]
    name = best.row if best.method in ("", best.row) else f"{best.method}, {best.row}"
    return f"{best.value:.3f} ({name})"


def consensus(path: str | os.PathLike) -> dict[tuple[str, str], tuple[float, str]]:
    """Return {(method, data set): (ACC, number of runs)} of consensus at default settings."""
    return {
        (row["method"], row["dataset"]): (float(row["consensus_acc"]), row["runs"])
        for row in read_choices(path)
        if not row["overrides"] and row["consensus_acc"]
    }


def table(rows: list[Row], paper: pd.DataFrame, choices: str | os.PathLike) -> str:
    """Return the table as Markdown.

    rows: of results.csv; paper: from `published.read_paper`; choices: the choices.csv beside
    results.csv.
    """
    found, agreed, lines = published.scores(rows), consensus(choices), []
    for method, dataset in PAIRS:
        runs = found.get(published.place_of(method, dataset), {})
        line = [dataset, *["–"] * (len(HEAD) - 2), best_printed(paper, dataset)]
        if runs:
            acc, nmi = ([run[metric] for run in runs.values()] for metric in ("acc", "nmi"))
            seeds = ", ".join(map(str, sorted(runs)))
            line[1:3] = published.spread_text(acc, 3), f"{min(acc):.3f}"
            line[3:6] = published.spread_text(nmi, 3), seeds, published.minutes(runs.values())
        if (method, dataset) in agreed:
            value, count = agreed[method, dataset]
            line[6] = f"{value:.3f} (of {count})"
        lines.append(line)
    return markdown(HEAD, *lines)
