"""The papers' figures with our numbers, as SVG or PNG, and the numbers as CSV."""

import csv
import io
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np

from common.errors import UserError
from experiments import figures, ledger, published
from reporting import maps

SETTINGS = {"svg.hashsalt": "figure", "svg.fonttype": "none", "font.size": 9}
HEIGHT = 2.6  # inches of a panel


def write(results_dir: str | os.PathLike, name: str) -> list[str]:
    """Write results/figures/NAME.svg (or .png) and .csv; return the lines to tell.

    Nothing is written where there is nothing to show.

    Parameters
    ----------
    results_dir : path
    name : str
        A key of `figures.FIGURES`.

    Raises
    ------
    UserError
        If there is no such figure, results.csv is damaged, or the files cannot be written.
    """
    figure, results = figures.figure_of(name), Path(results_dir)
    cells = figures.cells(name, ledger.read_rows(results / "results.csv"))
    done = sum(cell["run"] is not None for cell in cells)
    stem = results / "figures" / name
    (results / "figures").mkdir(parents=True, exist_ok=True)
    made = {"grid": _grid, "rounds": _rounds, "maps": _maps}[figure.kind](
        name, figure, cells, results, stem
    )
    if not made:
        return [
            f"{name}: none of its {len(cells)} cells has a run yet; their runs: "
            f"{figures.command(name)} (--dry-run: how long)"
        ]
    lines = [f"{', '.join(os.path.relpath(path) for path in made)}: {done} of {len(cells)} cells"]
    left = [_named(cell, cells) for cell in cells if cell["run"] is None]
    if left:
        lines += [f"open: {'; '.join(left)}", f"their runs: {figures.command(name)}"]
    return lines


def _named(cell, cells):
    """Return what tells a cell from the others, in words."""
    keys = ("method", "dataset", "seed")
    words = [str(cell[key]) for key in keys if len({one[key] for one in cells}) > 1]
    settings = [
        f"{n}={v:g}" if isinstance(v, float | int) else f"{n}={v}"
        for n, v in cell["settings"].items()
    ]
    return " ".join(words + settings) or "its run"


def _table(path, rows):
    """Write rows, dicts with the same keys, as CSV."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    ledger.write_text(path, file.getvalue())
    return path


def _save(figure, path):
    """Write a figure as SVG: the same numbers give the same file."""
    file = io.StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(file, format="svg", metadata={"Date": None})
    ledger.write_text(path, file.getvalue())
    return path


def _new(rows, columns, title, wide=3.2):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide * columns + 0.6, HEIGHT * rows + 0.9), layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _grid(name, figure, cells, results, stem):
    """Draw ACC and NMI over two settings, the mean over seeds; cells without a run say so."""
    if all(cell["run"] is None for cell in cells):
        return []
    (x, x_label), (y, y_label) = figure.axes
    columns, lines = (list(dict.fromkeys(cell["settings"][n] for cell in cells)) for n in (x, y))
    table = []
    for cell in cells:
        run = cell["run"] or {}
        about = {key: cell[key] for key in ("method", "dataset", "seed")} | cell["settings"]
        table.append(about | {m: run.get(m, "") for m in ("acc", "nmi", "seconds")})
    drawing, axes = _new(1, 2, figure.title, 4.2)
    for axis, metric in zip(axes.flat, ("acc", "nmi"), strict=True):
        values = np.full((len(lines), len(columns)), np.nan)
        for i, b in enumerate(lines):
            for j, a in enumerate(columns):
                some = [
                    row[metric] for row in table if (row[x], row[y]) == (a, b) and row[metric] != ""
                ]
                values[i, j] = np.mean(some) if some else np.nan
                text = f"{values[i, j]:.3f}" if some else "open"
                axis.text(
                    j,
                    i,
                    text,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if some and values[i, j] < 0.6 else "black",
                )
        axis.imshow(values, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
        axis.set(xlabel=x_label, ylabel=y_label, title=metric.upper())
        axis.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        axis.set_yticks(range(len(lines)), [f"{value:g}" for value in lines])
    if figure.note:
        drawing.supxlabel(figure.note, fontsize=7)
    return [_save(drawing, f"{stem}.svg"), _table(f"{stem}.csv", table)]


CURVES = {
    "acc": "ensemble, ACC",
    "member_acc": "members' mean, ACC",
    "agreement": "agreement",
    "pseudo_acc": "pseudo-labels that are right",
}


def _rounds(name, figure, cells, results, stem):
    """Draw the curves over rounds, a panel a data set; one without a log says that it is open."""
    rows = figures.rounds(name, results)
    if not rows:
        return []
    paper = published.read_paper()
    paper = paper[(paper.table == "kingdra-main") & (paper.method == cells[0]["method"])]
    ends = dict(zip(paper.dataset, paper.value, strict=True))
    sets = list(dict.fromkeys(cell["dataset"] for cell in cells))
    drawing, axes = _new(2, 3, figure.title)
    for axis, dataset in zip(axes.flat, sets, strict=False):
        some = [row for row in rows if row["dataset"] == dataset]
        settings = ", ".join(dict.fromkeys(row["settings"] for row in some if row["settings"]))
        axis.set_title(f"{dataset} ({settings})" if settings else dataset, fontsize=9)
        for i, (column, label) in enumerate(CURVES.items()):
            for settings in dict.fromkeys(row["settings"] for row in some):
                points = [
                    (row["round"], float(row[column]))
                    for row in some
                    if row["settings"] == settings and row[column]
                ]
                if points:
                    axis.plot(*zip(*points, strict=True), color=f"C{i}", marker=".", label=label)
        axis.axhline(ends[dataset], ls="--", lw=1, color="grey")
        axis.set(ylim=(0, 1.02), xlabel="round")
        if not some:
            axis.text(0.5, 0.5, "open", ha="center", va="center", transform=axis.transAxes)
    for axis in list(axes.flat)[len(sets) :]:
        axis.axis("off")
    drawn = next(axis for axis in axes.flat if axis.get_legend_handles_labels()[0])
    list(axes.flat)[-1].legend(
        *drawn.get_legend_handles_labels(), loc="center", frameon=False, title=figure.note
    )
    return [_save(drawing, f"{stem}.svg"), _table(f"{stem}.csv", rows)]


def _maps(name, figure, cells, results, stem):
    """Draw the maps of the embeddings in the run folders."""
    try:
        points = maps.draw(results, cells[0]["dataset"], f"{stem}.png")
    except UserError:  # no run has an embedding here
        return []
    return [f"{stem}.png", _table(f"{stem}.csv", points)]
