"""docs/results.md: how many cells are met, every table row by row, every cell that was run."""

import os
import statistics
import textwrap
from pathlib import Path

import pandas as pd

from common import paths
from common.errors import UserError
from datasets import DATASETS
from experiments import figures, ours, published, short_cells
from experiments.ledger import Row, write_text
from experiments.published import Cell, Found
from experiments.rendering import METRICS, markdown, readme_block, with_block

# Tables of the papers' own methods, 190 cells (method x data set), and what names their rows.
OWN = {
    "decda-2": "",
    "decda-5": "",
    "aspc-5": "",
    "aspc-6": "",
    "kingdra-main": "LADDER",
    "dscdan-4": "",
}
WORDS = ("met", "short", "above", "open")  # what can be said of a cell
ByMetric = dict[str, tuple[Cell, list[dict], bool]]  # metric -> (cell, our runs, kin)
TITLES = {
    "decda-2": "DEC-DA, Table 2: augmentation in each stage",
    "decda-3": "DEC-DA, Table 3: rivals",
    "decda-4": "DEC-DA, Table 4: run time",
    "decda-5": "DEC-DA, Table 5: k-means on codes",
    "decda-6": "DEC-DA, Table 6: fitted on 60,000 images, scored on 10,000 others",
    "aspc-3": "ASPC-DA, Table 3: rivals",
    "aspc-4": "ASPC-DA, Table 4: run time",
    "aspc-5": "ASPC-DA, Table 5: ablation",
    "aspc-6": "ASPC-DA, Table 6: other starts",
    "aspc-text": "ASPC-DA, two variants in its text",
    "kingdra-main": "Kingdra, main table",
    "dscdan-3": "DSCDAN, Table 3: rivals",
    "dscdan-4": "DSCDAN, Table 4: ablation",
    "dec-2": "DEC, Table 2",
    "idec-2": "IDEC, Table 2",
    "dcec-1": "DCEC, Table 1",
    "dec-keras-readme": "DEC-keras, README",
    "gdl-readme": "GDL toolbox, README",
    "hcis-4": "HCIS 2018, Table 4",
}


# ---- Cells: a method on a data set -------------------------------------------------------------


def cells(found: Found, paper: pd.DataFrame, table_id: str) -> dict[tuple[str, str], ByMetric]:
    """Return the cells of a table, (line's name, data set) -> metric -> (cell, our runs, kin)."""
    table = {}
    for name, cell, runs, kin in published.entries(found, paper[paper.table == table_id]):
        table.setdefault((name, cell.dataset), {})[cell.metric] = (cell, runs, kin)
    return table


def word_of(cell: ByMetric) -> str:
    """Return which of WORDS is said of a cell of `cells`: by ACC, or NMI where there is no ACC."""
    cell, runs, kin = cell.get("acc") or cell["nmi"]
    return published.compare(runs, cell, kin)["verdict"] if runs else "open"


def tally(found: Found, paper: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return {table: {word: how many cells}} of the papers' own methods, words of WORDS."""
    counted = {}
    for table_id, names in OWN.items():
        one_table = cells(found, paper, table_id)
        words = [word_of(cell) for (name, _), cell in one_table.items() if names in name]
        counted[table_id] = {word: words.count(word) for word in WORDS}
    return counted


# ---- The page ---------------------------------------------------------------------------------


def results_page(rows: list[Row], paper: pd.DataFrame) -> str:
    """Return what stands in docs/results.md: counts, every published table, every cell we ran."""
    found = published.scores(rows, {*published.wanted(paper), short_cells.MORE_STARTS})
    choices = Path(paths.RESULTS, "choices.csv")
    parts = [
        count_block(found, paper),
        f"## Ours\n\n{ours.table(rows, paper, choices)}",
        "`python run_exp.py --table ours`; docs/methods/spectral-sat.md\n",
        f"## Why cells fall short\n\n{short_block(rows, paper, found)}",
        "## Table by table\n",
    ]
    for name in paper.table.unique():
        title = f"{TITLES[name]} (`{name}`)" if name in TITLES else name
        parts.append(f"### {title}\n\n{table_block(found, paper, name)}")
    parts.append(f"## Figures\n\n{figure_block(rows)}")
    return "\n".join([*parts, f"## Every cell that was run\n\n{readme_block(rows, paper)}"])


def short_block(rows: list[Row], paper: pd.DataFrame, found: Found) -> str:
    """Return what is known of each short cell of DEC-DA's and ASPC-DA's own tables."""
    lines = short_cells.why(paper, found)
    tables, sets = ", ".join(short_cells.TABLES), " and ".join(short_cells.SETS)
    text = (
        f"The short cells of {tables} on {sets}: ACC, and where the runs start. The paper's start "
        "is k-means on its codes, from DEC-DA's Table 5."
    )
    head = ["row", "data set", "ours", "paper", "what is known"]
    return f"{_filled(text)}\n{markdown(head, *lines)}"


def figure_block(rows: list[Row]) -> str:
    """Return how much of each figure there is, and the commands that draw it and make its runs."""
    lines = [
        [
            figures.FIGURES[name].title,
            f"{done} of {all_}",
            f"`python run_exp.py --figure {name}`",
            f"`{figures.command(name)}`",
        ]
        for name, (done, all_) in figures.coverage(rows).items()
    ]
    return markdown(["figure", "cells", "draw it", "its runs"], *lines)


def count_block(found: Found, paper: pd.DataFrame) -> str:
    """Return how many cells of the papers' own methods are met, short, above and open."""
    counted = tally(found, paper)
    total = {word: sum(some[word] for some in counted.values()) for word in WORDS}
    lines = [
        [name, *map(str, (sum(some.values()), *some.values()))]
        for name, some in {**counted, "all": total}.items()
    ]
    cells = sum(total.values())
    return (
        f"{cells - total['open']} of the {cells} cells (method x data set) of the papers' own "
        f"methods have a row:\n\n{markdown(['table', 'cells', *WORDS], *lines)}\n"
        "A cell's word is that of its ACC, of its NMI where the paper has no ACC.\n\n"
        f"{_filled(published.LEGEND)}"
    )


def table_block(found: Found, paper: pd.DataFrame, table_id: str) -> str:
    """Return a published table, a line a (row, data set) that we have runs of, and what is open."""
    some, published_cells = cells(found, paper, table_id), paper[paper.table == table_id]
    metrics = list(dict.fromkeys(metric for cell in some.values() for metric in cell))
    head = ["row", "data set"]
    for metric in metrics:
        head += [METRICS.get(metric, metric), "paper", "verdict"]
    lines, left = [], {}
    for (name, dataset), cell in some.items():
        if not any(runs for _, runs, _ in cell.values()):
            one = next(iter(cell.values()))[0]
            if published.runs_for(one) and (f"{name}, as {one.also}", dataset) not in some:
                left.setdefault(name, []).append(dataset)
            continue
        line, used = [name, dataset], {}
        for metric in metrics:
            one, runs, kin = cell.get(metric, (None, [], False))
            compared = published.compare(runs, one, kin) if runs else {}
            printed = one.printed if one else ""
            line += [compared.get("ours", ""), printed, compared.get("verdict", "")]
            used |= {run["seed"]: run for run in runs}
        seconds = [run["seconds"] for run in used.values() if "seconds" in run]
        time = f"{statistics.fmean(seconds) / 60:.1f}" if seconds else ""
        lines.append([*(text or "–" for text in line), ", ".join(map(str, sorted(used))), time])
    head += ["seeds", "minutes"]
    text = f"{markdown(head, *lines)}\n" if lines else ""
    text += f"{_command(published_cells, table_id)}\n"
    if left:
        names = "; ".join(f"{name} on {', '.join(sets)}" for name, sets in left.items())
        text += "\n" + _filled(f"Open: {names}.")
    if others := published.only(published_cells):
        text += "\n" + _filled(f"Published only, no method here: {', '.join(others)}.")
    return text


def _command(published_cells, table_id):
    """Return the command that makes a table's runs, or what it needs that is not here."""
    sets = {cell.dataset for cell in published_cells.itertuples() if published.runs_for(cell)}
    if sets & set(DATASETS):
        return f"`python run_exp.py --table {table_id}`"
    return f"No cell can be run here: no data set {' or '.join(sorted(sets))}."


def _filled(text):
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def update_page(path: str | os.PathLike, rows: list[Row], paper: pd.DataFrame) -> bool:
    """Put `results_page` between a page's markers; return whether that changed the file."""
    try:
        text = Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    try:
        text = with_block(text, results_page(rows, paper))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return write_text(path, text)
