"""docs/results.md: how many cells are met, every table row by row, every cell that was run."""

import os
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
OWN = dict.fromkeys(("decda-2", "decda-5", "aspc-5", "aspc-6"), "")
OWN |= {"kingdra-main": "LADDER", "dscdan-4": ""}
WORDS = ("met", "short", "above", "open")  # what can be said of a cell
SEVERAL = 3  # seeds that make a cell more than a try
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
    cell, runs, kin = _decisive(cell)
    return published.compare(runs, cell, kin)["verdict"] if runs else "open"


def _decisive(cell):
    """Return a cell's (cell, our runs, kin) of ACC, of NMI where the paper has no ACC."""
    return cell.get("acc") or cell["nmi"]


def own_cells(found: Found, paper: pd.DataFrame) -> dict[str, list[ByMetric]]:
    """Return {table: cells} of the papers' own methods."""
    return {
        table: [cell for (row, _), cell in cells(found, paper, table).items() if names in row]
        for table, names in OWN.items()
    }


def tally(found: Found, paper: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return {table: {word: how many cells}} of the papers' own methods, words of WORDS."""
    words = {name: list(map(word_of, some)) for name, some in own_cells(found, paper).items()}
    return {name: {word: some.count(word) for word in WORDS} for name, some in words.items()}


# ---- The page ---------------------------------------------------------------------------------


def results_page(rows: list[Row], paper: pd.DataFrame) -> str:
    """Return what stands in docs/results.md: counts, every published table, every cell we ran."""
    found = published.scores(rows, {*published.wanted(paper), short_cells.MORE_STARTS})
    choices = Path(paths.RESULTS, "choices.csv")
    parts = [
        count_block(found, paper),
        f"## Ours\n\n{ours.table(rows, paper, choices)}",
        "`python run_exp.py --table ours`; docs/methods/spectral-sat.md\n",
        f"## Why cells fall short\n\n{short_block(paper, found)}",
        "## Table by table\n",
    ]
    for name in paper.table.unique():
        title = f"{TITLES[name]} (`{name}`)" if name in TITLES else name
        parts.append(f"### {title}\n\n{table_block(found, paper, name)}")
    parts.append(f"## Figures\n\n{figure_block(rows)}")
    return "\n".join([*parts, f"## Every cell that was run\n\n{readme_block(rows, paper)}"])


def short_block(paper: pd.DataFrame, found: Found) -> str:
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
    lines = []
    for name, (done, all_) in figures.coverage(rows).items():
        commands = f"`python run_exp.py --figure {name}`", f"`{figures.command(name)}`"
        lines.append([figures.FIGURES[name].title, f"{done} of {all_}", *commands])
    return markdown(["figure", "cells", "draw it", "its runs"], *lines)


def count_block(found: Found, paper: pd.DataFrame) -> str:
    """Return how many cells of the papers' own methods are met, short, above and open."""
    counted, several = tally(found, paper), f"{SEVERAL} seeds or more"
    for name, some in own_cells(found, paper).items():
        counted[name][several] = sum(len(_decisive(cell)[1]) >= SEVERAL for cell in some)
    total = {name: sum(some[name] for some in counted.values()) for name in (*WORDS, several)}
    lines = [
        [name, *map(str, (sum(some[word] for word in WORDS), *some.values()))]
        for name, some in {**counted, "all": total}.items()
    ]
    cells = sum(total[word] for word in WORDS)
    text = (
        f"{cells - total['open']} of the {cells} cells (method x data set) of the papers' own "
        f"methods have a row, {total[several]} of them by {several}:"
    )
    return (
        f"{_filled(text)}\n{markdown(['table', 'cells', *WORDS, several], *lines)}\n"
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
        seeds, time = ", ".join(map(str, sorted(used))), published.minutes(used.values())
        lines.append([*(text or "–" for text in line), seeds, time])
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
