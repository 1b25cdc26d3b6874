"""Figures of a run: its clusters' most and least certain members, and a map of its codes."""

import os
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from models.core.arrays import some_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CERTAIN, UNCERTAIN, POINTS = 10, 5, 1500


def members(labels: np.ndarray, certainty: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of cluster j's CERTAIN most certain samples and, least certain first, of
    UNCERTAIN others; fewer where it has no more.
    """
    rows = np.flatnonzero(labels == j)
    rows = rows[np.argsort(-certainty[rows], kind="stable")]
    return rows[:CERTAIN], rows[CERTAIN:][-UNCERTAIN:][::-1]


def tile(images: np.ndarray) -> np.ndarray:
    """Return images (m, h, w, c) side by side with a white column between, (h, m(w+1)-1, c)."""
    gap = np.ones((images.shape[1], 1, images.shape[3]), images.dtype)
    parts = [part for image in images for part in (image, gap)][:-1]
    return np.concatenate(parts, axis=1)


def plane(
    z: np.ndarray, project: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, places): at most POINTS random samples, and where each lies on a map.

    t-SNE on one thread, in half of scikit-learn's iterations and more coarsely: a third of the
    time, and the clusters look the same. The same z gives the same map.

    z: float (n, z); project: codes (m, z) -> (m, 2), in place of t-SNE. Rows are int (m,),
    ascending, places float (m, 2).
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    some = some_rows(len(z), POINTS)
    codes = z[some].astype(np.float64) - z[some].mean(axis=0, dtype=np.float64)
    spread = codes.std()
    rounding = np.finfo(np.float32).eps * np.abs(z[some]).max(initial=0)
    if len(np.unique(codes, axis=0)) <= 3 or not spread > 10 * rounding:
        return some, np.zeros((len(some), 2))  # too few different points for any map
    codes = codes / spread  # t-SNE breaks down on tiny or huge numbers
    if project is None:
        init = "pca" if codes.shape[1] > 1 else "random"
        perplexity = min(30.0, (len(some) - 1) / 3)
        cheap = {"max_iter": 500, "angle": 0.8}
        project = TSNE(perplexity=perplexity, init=init, random_state=0, **cheap).fit_transform
    with threadpool_limits(1):  # more threads mostly wait for each other
        return some, project(codes)


def scatter(axis: "Axes", places: np.ndarray, labels: np.ndarray, k: int, size: float) -> None:
    """Draw points (m, 2) on matplotlib's axes, coloured by their labels (m,) of k."""
    cmap, most = ("tab10", 9) if k <= 10 else ("tab20", 19)
    axis.scatter(*places.T, c=labels % 20, cmap=cmap, s=size, vmin=0, vmax=most)


def _sheet(axes, x, labels, certainty):
    """Draw a row of images for each cluster: its most, then its least certain members."""
    for axis, j in zip(axes, range(len(axes)), strict=True):
        axis.axis("off")
        size = np.count_nonzero(labels == j)
        axis.set_title(f"cluster {j}: {size} samples", loc="left", fontsize=7, pad=2)
        if not size:
            continue
        blank = np.ones((1, *x.shape[1:]), x.dtype)

        def fill(rows, width, blank=blank):
            return np.concatenate([x[rows], np.repeat(blank, width - len(rows), axis=0)])

        best, worst = members(labels, certainty, j)
        parts = [fill(best, CERTAIN), blank, fill(worst, UNCERTAIN)]
        strip = tile(np.concatenate(parts))
        strip = strip[..., 0] if strip.shape[2] == 1 else strip
        axis.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def cluster_figure(
    path: str | os.PathLike,
    x: np.ndarray,
    z: np.ndarray,
    labels: np.ndarray,
    memberships: np.ndarray,
    title: str = "",
    note: str = "",
) -> None:
    """Draw a run's clusters: image sheets (for images) beside a t-SNE map of the embedding.

    path: a .png file; x: (n, h, w, c) in [0, 1], sheets are for c of 1 or 3, or (n, d); z: (n, z);
    labels: int (n,); memberships: (n, k), a sample's largest entry is its certainty; note: a
    second, smaller line of the title.
    """
    from matplotlib.figure import Figure

    k, certainty = memberships.shape[1], memberships.max(axis=1)
    images = x.ndim == 4 and x.shape[3] in (1, 3) and k <= 50
    height = max(5.0, 0.62 * k + 0.8) if images else 5.5
    figure = Figure(figsize=(12.5 if images else 6, height), dpi=110, layout="constrained")
    wide = textwrap.fill(note, 150 if images else 75)
    figure.suptitle("\n".join(filter(None, (title, wide))).replace("$", r"\$"), fontsize=10)
    if images:
        left, right = figure.subfigures(1, 2, width_ratios=(7, 5.5))
        _sheet(np.atleast_1d(left.subplots(k, 1)), x, labels, certainty)
        left.suptitle(f"{CERTAIN} most certain | {UNCERTAIN} least certain members", fontsize=8)
    else:
        right = figure
    some, flat = plane(z)
    axis = right.subplots()
    scatter(axis, flat, labels[some], k, 5)
    for j in np.unique(labels[some]):
        middle = np.median(flat[labels[some] == j], axis=0)
        axis.annotate(str(j), middle, fontsize=13, weight="bold")
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"t-SNE of the embedding, {len(some)} samples", fontsize=8)
    figure.savefig(path, format="png")
