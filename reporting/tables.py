"""The tables of the report, as text for the templates."""

from collections import namedtuple

import pandas as pd
from markupsafe import Markup

from experiments import published, rendering

# head and rows are text or Markup; the first column heads its row; columns in `numbers` are
# aligned right; label is for those who cannot see the table.
Grid = namedtuple("Grid", "head rows caption label numbers")
LINK = Markup('<a href="#{}">{}</a>')


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def mean_std(values: list[float], digits: int = 4) -> str:
    """Return "mean ± std (n)" of some numbers, "–" of none."""
    return f"{published.spread_text(values, digits)} ({len(values)})" if values else "–"


def coverage(tables: dict[str, pd.DataFrame]) -> Grid:
    """Return how many cells of each published table our runs fill."""
    rows, others = [], []
    for name, table in tables.items():
        done, all_ = table.attrs["covered"], table.attrs["implemented"]
        if not all_:
            others.append(name)
            continue
        bar = Markup('<span class="bar" style="--share:{:.3f}"></span>').format(done / all_)
        link = LINK.format(f"table-{name}", name) if done else name
        seeds = ", ".join(map(str, table.attrs["seeds"])) or "–"
        rows.append([link, done, all_, bar, seeds])
    caption = "Cells of the papers' tables that our runs fill, of those this repo implements. "
    if others:
        caption += f"No method of {', '.join(others)} is in this repo."
    return Grid(["table", "covered", "cells", "share", "seeds"], rows, caption, "coverage", (1, 2))


HEAD = Markup("{}<br>{}")
PAPERS = Markup('<span class="paper">{}</span>')
BOTH = Markup(
    '<span class="ours">{ours}</span><span class="paper">paper {paper}</span>'
    '<span class="verdict {verdict}">{difference} {verdict}</span>'
)


def paper_table(table: pd.DataFrame) -> Grid:
    """Return a published table with our numbers in its cells: ours, the paper's, the difference."""
    places = list(dict.fromkeys(column[:2] for column in table.columns))
    rows = []
    for label, row in table.iterrows():
        line = [label]
        for place in places:
            cell = {name: row[(*place, name)].replace("-", "−") for name in published.FIELDS}
            paper = PAPERS.format(cell["paper"] or "–")
            line.append(BOTH.format(**cell) if cell["ours"] else paper)
        rows.append(line)
    head = [HEAD.format(name, rendering.METRICS.get(m, m)) for name, m in places]
    caption = Markup("{} {} Made by <code>{}</code>.").format(*rendering.notes(table))
    return Grid(["method", *head], rows, caption, f"table {table.attrs['table']}", ())


RUN_COLUMNS = {
    "method": "method",
    "data set": "dataset",
    "seed": "seed",
    "settings": "overrides",
    "status": "status",
    "health": "verdict",
    "ACC": "acc",
    "NMI": "nmi",
    "ARI": "ari",
    "k-means ACC": "kmeans_acc",
    "steps": "iterations",
    "converged": "converged",
    "seconds": "seconds_total",
    "MB": "peak_memory_mb",
    "device": "device",
    "threads": "threads",
    "commit": "commit",
    "ended": "finished",
}
DIGITS = {"acc": 4, "nmi": 4, "ari": 4, "kmeans_acc": 4, "seconds_total": 1}


def every_run(rows: list[dict[str, str]]) -> Grid:
    """Return the table of all rows."""

    def text(row, name):
        value = row.get(name, "")
        if name == "status" and value != "ok":
            return Markup("<strong>{}</strong>: {}").format(value, row["reason"])
        return f"{float(value):.{DIGITS[name]}f}" if value and name in DIGITS else value

    lines = [[text(row, name) for name in RUN_COLUMNS.values()] for row in rows]
    caption = (
        f"{plural(len(rows), 'run')}; results.csv has further columns, NMI's other average "
        "and the command among them. Settings: what is not the paper's."
    )
    numbers = (2, 6, 7, 8, 9, 10, 12, 13, 15)
    return Grid(list(RUN_COLUMNS), lines, caption, "all runs", numbers)
