"""The figures of the report, as HTML: training curves, and the clusters of one run."""

import base64
import importlib.util
import io
from html import escape

import numpy as np

from experiments import run_figure as report
from reporting import charts, evidence
from reporting.evidence import Absent
from reporting.tables import figure, plural, scrolling, tag

IMAGE_SIDE, CLASSES = 48, 40  # larger images are shrunk; larger confusion matrices are left out


def key(*names):
    """Return a legend of a chart's series."""
    lines = (
        f'<svg class="key" viewBox="0 0 24 8" aria-hidden="true">'
        f'<path class="line s{i}" d="M0 4H24"/></svg>{escape(name)}'
        for i, name in enumerate(names)
    )
    return tag("span", " ".join(lines), class_="keys") if len(names) > 1 else ""


PANELS = [  # title, phase, columns, options of charts.curves
    ("Scores", "cluster", {"acc": "ACC", "nmi": "NMI"}, {"unit": True}),
    ("Clustering loss", "cluster", {"loss": "loss"}, {"log": True}),
    ("Share of changed labels", "cluster", {"changed": "share"}, {"unit": True}),
    ("Pretraining loss", "pretrain", {"loss": "loss"}, {"log": True}),
]


def training(group, logs, paper):
    """Return the charts of a group's logs: mean and spread over its seeds."""
    figures = []
    for title, phase, columns, options in PANELS:
        series, ends, seeds = [], [], 0
        for column, name in columns.items():
            curves = [log[phase, column] for log in logs if (phase, column) in log]
            if curves:
                steps, mean, std = evidence.spread(curves)
                series.append((name, (steps, mean, std)))
                ends.append(
                    f"{name} {mean[0]:.4g} at step {steps[0]}, {mean[-1]:.4g} at {steps[-1]}"
                )
                seeds = max(seeds, len(curves))
        if not series:
            continue
        if options.get("log") and any((mean <= 0).any() for _, (_, mean, _) in series):
            options = {}
        paper_acc = published_acc(group, paper) if "acc" in columns else None
        line = paper_acc and (paper_acc[0], f"paper's ACC {paper_acc[1]}")
        label = f"{title} of {group.name} on {group.dataset}: {'; '.join(ends)}"
        chart = charts.curves([points for _, points in series], label, reference=line, **options)
        over = f"mean ± std of {seeds} seeds" if seeds > 1 else "one seed"
        caption = f"{tag('b', title)} ({over}) {key(*(name for name, _ in series))}"
        figures.append(figure(chart, caption))
    return tag("div", *figures, class_="panels") if figures else ""


def published_acc(group, paper):
    """Return (value, text) of the first published ACC of a group at the paper's settings."""
    same = (paper.method == group.method) & (paper.dataset == group.dataset)
    cells = paper[same & (paper.metric == "acc") & (paper.variant == "")]
    if group.overrides or cells.empty or not group.published:
        return None
    return float(cells.value.iloc[0]), cells.printed.iloc[0]


def confusion(run):
    """Return the confusion matrix of a run as a table that colours its cells."""
    counts, classes, clusters = run.confusion()
    if max(counts.shape) > CLASSES:
        raise Absent(f"{counts.shape[0]} classes and {counts.shape[1]} clusters are too many")
    share = counts / counts.sum(axis=1, keepdims=True)
    head = "".join(tag("th", str(j), scope="col") for j in clusters)
    body = []
    for i, name in enumerate(classes):
        cells = (
            f'<td{" class=on" if i == j else ""} style="--share:{share[i, j]:.3f}">'
            f"{count or '·'}</td>"
            for j, count in enumerate(counts[i].tolist())
        )
        body.append(tag("tr", tag("th", str(name), scope="row"), *cells))
    rows = tag("thead", tag("tr", "<td></td>", head)), tag("tbody", *body)
    table = tag("table", *rows, style=f"--columns:{len(clusters) + 1}")
    matched = int(np.trace(counts))
    caption = (f"{tag('b', 'Confusion matrix')} after Hungarian matching: classes in rows, "
               f"clusters in columns, samples in cells; {matched:,} of {counts.sum():,} on the "
               f"diagonal, ACC {matched / counts.sum():.4f}.")  # fmt: skip
    label = f"confusion matrix of {run.name}"
    return figure(scrolling(table, label), caption, "confusion")


def _umap():
    """Return (name, projection) of the map: UMAP where it is installed, else t-SNE."""
    if importlib.util.find_spec("umap") is None:
        return "t-SNE", None
    from umap import UMAP

    def project(codes):
        near = min(15, len(codes) - 1)
        return UMAP(n_neighbors=near, random_state=0, n_jobs=1).fit_transform(codes)

    return "UMAP", project


def embedding(run):
    """Return the map of a run's codes."""
    name, project = _umap()
    some, places = report.plane(run.codes, project)
    caption = (f"{tag('b', f'{name} map')} of the embedding: {len(some):,} of {len(run.codes):,} "
               "samples, coloured and numbered by cluster.")  # fmt: skip
    label = f"{name} map of {run.name}, coloured by cluster"
    return figure(charts.point_map(places, run.labels[some], label), caption)


def _strip(x, rows, label):
    """Return images side by side as an <img>; large ones are averaged, small ones repeated."""
    if not len(rows):
        return ""
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
    return (f'<img src="data:image/png;base64,{data}" alt="{escape(label)}" width="{width}" '
            f'height="{height}" style="--count:{len(rows)}">')  # fmt: skip


def sheet(run):
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
        lines.append(tag("p", about) + tag("div", *strips, class_="strips"))
    counts = f"{report.CERTAIN} most certain, right of them the {report.UNCERTAIN} least"
    caption = (
        f"{tag('b', 'Members')} of each cluster: the {counts}, by soft assignment to {source}."
    )
    return figure(tag("div", *lines, class_="sheet"), caption)
