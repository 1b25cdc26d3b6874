"""The figures of the report: training curves, and the clusters of one run."""

import base64
import importlib.util
import io
from collections import namedtuple

import numpy as np
import pandas as pd

from experiments import run_figure as report
from reporting import charts, evidence
from reporting.evidence import Absent, Clusters, Group, Log
from reporting.html import PARTS
from reporting.tables import plural

IMAGE_SIDE, CLASSES = 48, 40  # larger images are shrunk; larger confusion matrices are left out


Figure = namedtuple("Figure", "title text picture kind", defaults=[""])  # the picture is Markup

PANELS = [  # title, phase, columns, options of charts.curves
    ("Scores", "cluster", {"acc": "ACC", "nmi": "NMI"}, {"unit": True}),
    ("Clustering loss", "cluster", {"loss": "loss"}, {"log": True}),
    ("Share of changed labels", "cluster", {"changed": "share"}, {"unit": True}),
    ("Pretraining loss", "pretrain", {"loss": "loss"}, {"log": True}),
]


def training(group: Group, logs: list[Log], paper: pd.DataFrame) -> list[Figure]:
    """Return the charts of a group's logs: mean and spread over its seeds."""
    figures = []
    for title, phase, columns, options in PANELS:
        series, ends, seeds = [], [], 0
        for column, name in columns.items():
            curves = [log[phase, column] for log in logs if (phase, column) in log]
            if curves:
                steps, mean, std = evidence.spread(curves)
                series.append((name, steps, mean, std))
                ends.append(
                    f"{name} {mean[0]:.4g} at step {steps[0]}, {mean[-1]:.4g} at {steps[-1]}"
                )
                seeds = max(seeds, len(curves))
        if not series:
            continue
        if options.get("log") and any((mean <= 0).any() for _, _, mean, _ in series):
            options = {}
        paper_acc = published_acc(group, paper) if "acc" in columns else None
        line = paper_acc and (paper_acc[0], f"paper's ACC {paper_acc[1]}")
        label = f"{title} of {group.name} on {group.dataset}: {'; '.join(ends)}"
        chart = charts.curves(series, label, reference=line, **options)
        over = f"mean ± std of {seeds} seeds" if seeds > 1 else "one seed"
        figures.append(Figure(title, f" ({over})", chart))
    return figures


def published_acc(group: Group, paper: pd.DataFrame) -> tuple[float, str] | None:
    """Return (value, text) of the first published ACC of a group at the paper's settings."""
    same = (paper.method == group.method) & (paper.dataset == group.dataset)
    cells = paper[same & (paper.metric == "acc") & (paper.variant == "")]
    if group.overrides or cells.empty or not group.published:
        return None
    return float(cells.value.iloc[0]), cells.printed.iloc[0]


def confusion(run: Clusters) -> Figure:
    """Return the confusion matrix of a run, as a table that colours its cells."""
    counts, classes, clusters = run.confusion()
    if max(counts.shape) > CLASSES:
        raise Absent(f"{counts.shape[0]} classes and {counts.shape[1]} clusters are too many")
    share = counts / counts.sum(axis=1, keepdims=True)
    label = f"confusion matrix of {run.name}"
    table = PARTS.confusion(counts.tolist(), share.tolist(), classes, clusters, label)
    matched = int(np.trace(counts))
    text = (
        " after Hungarian matching: classes in rows, clusters in columns, samples in cells; "
        f"{matched:,} of {counts.sum():,} on the diagonal, ACC {matched / counts.sum():.4f}."
    )
    return Figure("Confusion matrix", text, table, "confusion")


def _umap():
    """Return (name, projection) of the map: UMAP where it is installed, else t-SNE."""
    if importlib.util.find_spec("umap") is None:
        return "t-SNE", None
    from umap import UMAP

    def project(codes):
        near = min(15, len(codes) - 1)
        return UMAP(n_neighbors=near, random_state=0, n_jobs=1).fit_transform(codes)

    return "UMAP", project


def embedding(run: Clusters) -> Figure:
    """Return the map of a run's codes."""
    name, project = _umap()
    some, places = report.plane(run.codes, project)
    text = (
        f" of the embedding: {len(some):,} of {len(run.codes):,} samples, coloured and numbered "
        "by cluster."
    )
    label = f"{name} map of {run.name}, coloured by cluster"
    return Figure(f"{name} map", text, charts.point_map(places, run.labels[some], label))


def _strip(x, rows, label):
    """Return images side by side as one PNG, for the template; None of none.

    Large ones are averaged, small ones repeated.
    """
    if not len(rows):
        return None
    from PIL import Image

    (h, a), (w, b) = ((side, -(-side // IMAGE_SIDE)) for side in x.shape[1:3])
    images = x[rows][:, : h // a * a, : w // b * b]
    images = images.reshape(len(rows), h // a, a, w // b, b, -1).mean(axis=(2, 4))
    times = max(1, IMAGE_SIDE // max(h, w))  # so that the column between two stays thin
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    pixels = (report.tile(images) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    height, width = pixels.shape[:2]
    return {"data": data, "alt": label, "width": width, "height": height, "count": len(rows)}


def sheet(run: Clusters) -> Figure:
    """Return the images of each cluster's most and least certain members."""
    x, labels = run.data.x, run.labels
    names = np.unique(labels)
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        raise Absent("the samples are not images")
    if len(names) > CLASSES:
        raise Absent(f"{len(names)} clusters are too many")
    certainty, source = run.certainty()
    lines = []
    for j in names:
        best, worst = report.members(labels, certainty, j)
        about = f"cluster {j}: {plural(np.count_nonzero(labels == j), 'sample')}"
        strips = [
            _strip(x, rows, f"{len(rows)} {which} certain members of cluster {j}")
            for rows, which in ((best, "most"), (worst, "least"))
        ]
        lines.append((about, strips))
    text = (
        f" of each cluster: the {report.CERTAIN} most certain, right of them the "
        f"{report.UNCERTAIN} least, by soft assignment to {source}."
    )
    return Figure("Members", text, PARTS.sheet(lines))
