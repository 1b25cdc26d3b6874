"""Figures of a run."""

import numpy as np

CERTAIN, UNCERTAIN, POINTS = 10, 5, 2000


def _tile(images):
    """Return a row of images (m, h, w, c) side by side with a white column between."""
    gap = np.ones((images.shape[1], 1, images.shape[3]), images.dtype)
    parts = [part for image in images for part in (image, gap)][:-1]
    return np.concatenate(parts, axis=1)


def _sheet(axes, x, labels, certainty):
    """Draw a row of images for each cluster: its most, then its least certain members."""
    for axis, j in zip(axes, range(len(axes)), strict=True):
        axis.axis("off")
        members = np.flatnonzero(labels == j)
        axis.set_title(f"cluster {j}: {len(members)} samples", loc="left", fontsize=7, pad=2)
        if not len(members):
            continue
        members = members[np.argsort(-certainty[members], kind="stable")]
        blank = np.ones((1, *x.shape[1:]), x.dtype)

        def fill(rows, width, blank=blank):
            return np.concatenate([x[rows], np.repeat(blank, width - len(rows), axis=0)])

        best = fill(members[:CERTAIN], CERTAIN)
        worst = fill(members[CERTAIN:][-UNCERTAIN:][::-1], UNCERTAIN)
        strip = _tile(np.concatenate([best, blank, worst]))
        strip = strip[..., 0] if strip.shape[2] == 1 else strip
        axis.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def cluster_figure(path, x, z, labels, memberships, title=""):
    """Draw a run's clusters: image sheets (for images) beside a t-SNE map of the embedding.

    Parameters
    ----------
    path : path
        A .png file.
    x : float array (n, h, w, c) in [0, 1] with c of 1 or 3, or (n, d)
    z : float array (n, z)
    labels : int array (n,)
    memberships : float array (n, k)
        A sample's largest entry is its certainty.
    title : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    k, certainty = memberships.shape[1], memberships.max(axis=1)
    images = x.ndim == 4 and x.shape[3] in (1, 3) and k <= 50
    height = max(5.0, 0.62 * k + 0.8) if images else 5.5
    figure = Figure(figsize=(12.5 if images else 6, height), dpi=110, layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    if images:
        left, right = figure.subfigures(1, 2, width_ratios=(7, 5.5))
        _sheet(np.atleast_1d(left.subplots(k, 1)), x, labels, certainty)
        left.suptitle(f"{CERTAIN} most certain | {UNCERTAIN} least certain members", fontsize=8)
    else:
        right = figure
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(z))[:POINTS])
    perplexity = min(30.0, (len(some) - 1) / 3)
    codes = z[some].astype(np.float64) - z[some].mean(axis=0, dtype=np.float64)
    spread = codes.std()
    rounding = np.finfo(np.float32).eps * np.abs(z[some]).max(initial=0)
    if len(np.unique(codes, axis=0)) > 3 and spread > 10 * rounding:
        codes = codes / spread  # t-SNE breaks down on tiny or huge numbers
        init = "pca" if codes.shape[1] > 1 else "random"
        flat = TSNE(perplexity=perplexity, init=init, random_state=0).fit_transform(codes)
    else:  # too few different points: nothing for t-SNE to do
        flat = np.zeros((len(some), 2))
    axis = right.subplots()
    colour = labels[some] % 20
    axis.scatter(*flat.T, c=colour, cmap="tab10" if k <= 10 else "tab20", s=5, vmin=0,
                 vmax=9 if k <= 10 else 19)  # fmt: skip
    for j in np.unique(labels[some]):
        middle = np.median(flat[labels[some] == j], axis=0)
        axis.annotate(str(j), middle, fontsize=13, weight="bold")
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"t-SNE of the embedding, {len(some)} samples", fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))
