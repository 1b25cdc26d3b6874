"""The map of DSCDAN's figure: t-SNE of raw data and of saved embeddings, side by side."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import UserError
from experiments import ledger
from experiments import run_figure as report
from reporting import evidence
from reporting.evidence import Absent, Damaged, Row

RAW = "raw data"
PANELS = (RAW, "ConvAE", "FcDEC", "SpectralNet", "ConvAE+RS", "ConvAE+MI", "ConvAE+MI+RS", "DSCDAN")
COLUMNS = 4


def panels(
    rows: Iterable[Row], folders: dict[Path, Row], dataset: str
) -> tuple[dict[str, np.ndarray], dict[str, str], np.ndarray | None]:
    """Return ({panel: codes (n, z)}, {panel: why it is empty}, y (n,)) of a data set's runs.

    Runs on a user's own file of that name, or with another K, are not among them.
    Of a method's runs the one nearest to the paper's settings, and of these the lowest seed: no
    score decides. y are the classes, or of unlabelled data the clusters of the last method.
    """
    found, _ = evidence.groups(filter(ledger.is_published, rows), folders)
    groups = {}
    for group in found:
        if group.dataset == dataset and group.folders:
            groups.setdefault(group.method, group)
    codes, reasons, y = {}, {}, None
    for name in PANELS[1:]:
        try:
            if name not in groups:
                raise Absent("no run")
            run = evidence.Clusters(groups[name])
            codes[name] = run.codes
            if RAW not in codes:
                codes[RAW] = run.data.x.reshape(run.data.n, -1)
            y = run.data.y if run.data.y is not None else np.asarray(run.labels)
        except (Absent, Damaged) as error:
            reasons[name] = str(error)
    return codes, reasons, y


def write(results_dir: str | os.PathLike, dataset: str) -> Path:
    """Write maps-DATASET.png from a results folder and return its path; raises as `draw`."""
    path = Path(results_dir) / f"maps-{dataset}.png"
    draw(results_dir, dataset, path)
    return path


def draw(
    results_dir: str | os.PathLike, dataset: str, path: str | os.PathLike
) -> list[dict[str, object]]:
    """Draw the maps into a .png file; return the points: panel, x, y, class.

    Raises
    ------
    UserError
        If no run of the data set has an embedding.
    """
    from matplotlib.figure import Figure

    folder = Path(results_dir)
    folders, _ = ledger.folders(folder / "runs")
    codes, reasons, y = panels(list(folders.values()), folders, dataset)
    if RAW not in codes:
        raise UserError(
            f"no run of {dataset!r} in {folder / 'runs'} whose embedding can be shown: "
            f"expected one of {', '.join(PANELS[1:])}"
        )
    figure = Figure(figsize=(3 * COLUMNS, 6.3), dpi=110, layout="constrained")
    points = []
    for axis, name in zip(
        figure.subplots(-(-len(PANELS) // COLUMNS), COLUMNS).flat, PANELS, strict=True
    ):
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=10)
        if name in codes:
            some, flat = report.plane(np.asarray(codes[name]))
            report.scatter(axis, flat, y[some], len(np.unique(y)), 3)
            points += [
                {"panel": name, "x": f"{a:.4g}", "y": f"{b:.4g}", "class": int(label)}
                for (a, b), label in zip(flat, y[some], strict=True)
            ]
        else:
            axis.text(0.5, 0.5, reasons[name], ha="center", va="center", transform=axis.transAxes)
    figure.suptitle(f"t-SNE of {dataset}: embeddings of one run each, by class", fontsize=11)
    figure.savefig(path, format="png")
    return points
