"""The papers' tables as Markdown, LaTeX and CSV files, and the block of docs/results.md."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from common.errors import UserError
from experiments import published
from experiments.ledger import Row, read_rows, write_text
from experiments.published import LEGEND, every_table, read_paper, spread_text

METRICS = {
    "acc": "ACC",
    "nmi": "NMI",
    "test_acc": "test ACC",
    "test_nmi": "test NMI",
    "seconds": "seconds",
    "seconds_cluster": "seconds of clustering",
}

HEAD = f"""# The papers' tables beside our runs

Written by `run_exp.py --tables` from results.csv and paper.csv; do not edit.

{textwrap.fill(LEGEND, 100)}
"""


def notes(table: pd.DataFrame) -> list[str]:
    """Return the lines below a table: how much of it there is, whose, and how to make it."""
    about = table.attrs
    seeds = ", ".join(map(str, about["seeds"])) or "none yet"
    device = f" on {', '.join(about['devices'])}" if about["devices"] else ""
    return [
        f"{about['covered']} of {about['implemented']} cells of {about['table']} that this repo "
        "implements.",
        f"Ours: mean ± std (number of seeds); seeds {seeds}{device}.",
        f"python run_exp.py --table {about['table']}",
    ]


def _lines(table):
    """Return the lines to show, the first one the head: of each method ours, paper, difference."""
    places = list(dict.fromkeys(column[:2] for column in table.columns))
    lines = [["method", "", *map(" ".join, places)]]
    for label, row in table.iterrows():
        for fields in (("ours",), ("paper",), ("difference", "verdict")):
            values = [" ".join(row[(*p, field)] for field in fields).strip() for p in places]
            if any(values):
                lines.append([label, fields[0], *(value or "–" for value in values)])
                label = ""  # said once
    return lines


def markdown(head: Sequence[str], *lines: Sequence[str]) -> str:
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table of `tables` as Markdown: ours, paper and difference on a line each."""
    covered, ours, command = notes(table)
    return f"{markdown(*_lines(table))}\n{covered} {ours} Made by `{command}`.\n"


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "–": "--"}
)


def to_latex(table: pd.DataFrame) -> str:
    """Return a table of `tables` as a LaTeX tabular that needs no package."""
    head, *lines = (
        " & ".join(cell.translate(_TEX) for cell in line) + r" \\" for line in _lines(table)
    )
    comments = [f"% {note}" for note in notes(table)]
    columns = "ll" + "r" * (head.count(" & ") - 1)
    begin, rule, end = f"\\begin{{tabular}}{{{columns}}}", r"\hline", r"\end{tabular}"
    return "\n".join([*comments, begin, rule, head, rule, *lines, rule, end, ""])


def to_csv(table: pd.DataFrame) -> str:
    """Return a table of `tables` as CSV, one line per method, columns such as "usps acc ours"."""
    return table.set_axis(map(" ".join, table.columns), axis=1).to_csv(lineterminator="\n")


def write_tables(results_dir: str | os.PathLike, paper: pd.DataFrame | None = None) -> list[str]:
    """Write tables.md, tables/<id>.csv and .tex from results.csv; return the ids written.

    A table without any of our numbers is left out, and its files of an earlier time removed.
    """
    folder = Path(results_dir)
    paper = read_paper() if paper is None else paper
    every = every_table(read_rows(folder / "results.csv"), paper)
    filled = {name: table for name, table in every.items() if table.attrs["covered"]}
    for name in every:
        for suffix, render in ((".csv", to_csv), (".tex", to_latex)):
            path = folder / "tables" / f"{name}{suffix}"
            if name in filled:
                write_text(path, render(filled[name]))
            else:
                path.unlink(missing_ok=True)
    parts = [HEAD, *(f"## {name}\n\n{to_markdown(table)}" for name, table in filled.items())]
    write_text(folder / "tables.md", "\n".join(parts))
    return list(filled)


# ---- docs/results.md ---------------------------------------------------------------------------

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(rows: list[Row], paper: pd.DataFrame) -> str:
    """Return a Markdown table of every (method, data set) that we ran at the papers' settings.

    The published number beside it is the first one in paper.csv.
    """
    found = published.scores(rows)
    if not found:
        return "No runs yet: `python run_exp.py` makes them.\n"
    printed, counts, order = {}, {}, {}  # order: of the methods and of the data sets in paper.csv
    for cell in filter(published.is_ours, paper.itertuples()):
        runs = published.runs_of(cell, found)
        if published.counts(cell, runs):
            counts.setdefault(cell.table, []).append(bool(runs))
        identity = published.identity(cell.method, cell.variant)
        printed.setdefault((*identity, cell.dataset, cell.metric), cell.printed)
        for name in (identity, cell.dataset):
            order.setdefault(name, len(order))

    def rank(place):  # what no paper has comes last
        return [order.get(name, len(order)) for name in (place[:-1], place[-1])], place

    lines = []
    for place in sorted(found, key=rank):
        runs, cells = found[place].values(), []
        for metric in ("acc", "nmi"):
            values = [run[metric] for run in runs if metric in run]
            cells.append(spread_text(values) if values else "–")
            cells.append(printed.get((*place, metric), "–"))
        cells += [str(len(runs)), published.minutes(runs) or "–"]
        lines.append([published.label(*place[:-1]), place[-1], *cells])
    head = ["method", "data set", "ACC", "paper", "NMI", "paper", "seeds", "minutes a run"]
    covered = [f"{name} {sum(c)}/{len(c)}" for name, c in counts.items() if any(c)]
    return (
        f"{markdown(head, *lines)}\nMean ± std over seeds, the papers' settings only. Cells "
        f"covered of those this repo implements: {', '.join(covered) or 'none'}.\n"
    )


def with_block(text: str, block: str) -> str:
    """Return a page's text with `block` between its markers; UserError if they are amiss."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"expected one line {BEGIN} and, below it, one line {END}")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{block}{text[text.index(END) :]}"
