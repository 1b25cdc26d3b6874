"""Charts as inline SVG, drawn by matplotlib. Colours are style.css's, so that both schemes fit.

The same numbers give the same text: nothing in it is a name of matplotlib's, a hash or a date.
"""

import io
import math
import re

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

SMALL, LARGE, SQUARE = (310, 200), (360, 270), (360, 360)  # width, height
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 36  # margins
POINTS = 200  # of a curve, at most
COLOURS = 10
SHORTEST = 0.01  # seconds that are shown
# style.css's colours, and what stands for them until matplotlib is done.
VARIABLES = [
    *(f"var(--c{i})" for i in range(COLOURS)),
    *map("var(--{})".format, ("muted", "line", "card", "ink")),
]
STAND_INS = [f"#fedc{i:02x}" for i in range(len(VARIABLES))]
*COLOUR, MUTED, LINE, CARD, INK = STAND_INS
Spread = tuple[str, np.ndarray, np.ndarray, np.ndarray]  # name, steps, mean, std
Trail = tuple[np.ndarray, np.ndarray]  # seconds, ACC
DASHES = ("-", "--", ":")
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "path.simplify": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "axes.formatter.useoffset": False,
    "legend.fontsize": 10,
    "legend.frameon": False,
}


def _rounded(found):
    """Return a match's text with its numbers to a tenth."""
    return re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), found[0])


CLEANED = [  # what is not needed in a page, or must not be there twice
    (r"""<g id=(["'])title: (.*?)\1>""", r"<g><title>\2</title>"),
    (r'<g id="[\w.]+_\d+">', "<g>"),  # matplotlib's own
    (r'<g id="(.*?)">', r'<g class="\1">'),
    (r" font-family: [^;]*;", ""),
    (r' transform="rotate\(-0 [^"]*"', ""),
    (r' (d|x|y)="[^"]*"', _rounded),
    (r"M ([\d.]+ [\d.]+)\s*L \1(?=\s*[M\"])", r"M \1h0"),
    (r"\s*\n\s*", ""),
    *zip(STAND_INS, VARIABLES, strict=True),
]


def _axes(size):
    """Return axes that fill a new figure of a size in points, without a frame."""
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    place = LEFT / width, BOTTOM / height, 1 - (LEFT + RIGHT) / width, 1 - (TOP + BOTTOM) / height
    axes = figure.add_axes(place, frameon=False)
    axes.grid(clip_on=False)
    axes.set_axisbelow(True)
    axes.tick_params(bottom=False, left=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    return axes


def _svg(axes, label, kind="chart"):
    """Return a figure as an element of the page."""
    file = io.StringIO()
    axes.figure.savefig(file, format="svg")
    text = file.getvalue()
    inner = text[text.index('<g id="figure_1">') : text.rindex("</svg>")]
    for pattern, new in CLEANED:
        inner = re.sub(pattern, new, inner)
    width, height = (round(inches * 72) for inches in axes.figure.get_size_inches())
    start = Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return start.format(kind, width, height, label) + Markup(inner + "</svg>")


def _logarithmic(axes, which, low, high):
    """Make the axis "x" or "y" logarithmic if what it shows, from low to high, is far apart."""
    if not high > 8 * low > 0:
        return False
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1,) if high > 500 * low else (1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")
    return True


def _fewer(*arrays):
    """Return at most POINTS of the points, evenly chosen, with the first and the last."""
    n = len(arrays[0])
    keep = np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
    return [array[keep] for array in arrays]


def _dots(axes, x, y, colour, size, name):
    """Draw points as one path: lines of no length with round ends."""
    path = Path(np.repeat(np.stack([x, y], axis=1), 2, axis=0), [Path.MOVETO, Path.LINETO] * len(x))
    axes.add_patch(
        PathPatch(
            path,
            facecolor="none",
            edgecolor=colour,
            linewidth=size,
            capstyle="round",
            clip_on=False,
            zorder=3,
            gid=name,
        )
    )


@mpl.rc_context(SETTINGS)
def curves(
    series: list[Spread],
    label: str,
    log: bool = False,
    reference: tuple[float, str] | None = None,
    unit: bool = False,
) -> Markup:
    """Return a chart of curves over steps, each with a band of its spread.

    Parameters
    ----------
    series : list of (name, steps, mean, std)
        Equal-length arrays; NaN in std: no band. With `log`, mean > 0.
    label : str
        What the chart shows, for those who cannot see it.
    log : bool
        A logarithmic y axis, if the numbers are far enough apart.
    reference : (value, text), optional
        A dashed horizontal line.
    unit : bool
        The y axis ends at 1 at most.
    """
    axes = _axes(SMALL)
    low = min(mean.min() for _, _, mean, _ in series)
    high = max((mean + np.nan_to_num(std)).max() for _, _, mean, std in series)
    log = log and _logarithmic(axes, "y", low, high)
    for i, (name, steps, mean, std) in enumerate(series):
        steps, mean, std = _fewer(steps, mean, std)
        style = {"color": COLOUR[i], "clip_on": False}
        if not np.isnan(std).any():
            band = np.concatenate([mean + std, (mean - std)[::-1]])
            band = band.clip(low / 2 if log else None, 1 if unit else None)
            there = np.concatenate([steps, steps[::-1]])
            axes.fill(there, band, alpha=0.22, linewidth=0, gid=f"band s{i}", **style)
        axes.plot(steps, mean, DASHES[i], linewidth=1.8, label=name, gid=f"line s{i}", **style)
    if reference:
        value, text = reference
        axes.axhline(value, ls="--", lw=1, color=MUTED, clip_on=False, gid="reference")
        axes.annotate(
            text,
            (1, value),
            (-2, 3),
            ("axes fraction", "data"),
            "offset points",
            ha="right",
            gid="halo",
        )
    axes.margins(0, 0.06)
    first, last = (f(steps[i] for _, steps, _, _ in series) for f, i in ((min, 0), (max, -1)))
    axes.set(xlabel="step", xlim=(min(0, first), max(last, first + 1)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}")
    if unit:
        axes.set_ylim(top=min(1, axes.get_ylim()[1]))
    if len(series) > 1:
        axes.legend(loc="best")
    return _svg(axes, label)


def _apart(places, high, distance=15.0):
    """Return places (x, y), moved up or down until no two are nearer than `distance`."""
    settled = []
    for x, y in places:
        moves = (sign * step for step in range(0, 400, 3) for sign in (1, -1))
        free = (
            y + move
            for move in moves
            if BOTTOM < y + move < high
            and all(math.hypot(x - a, y + move - b) >= distance for a, b in settled)
        )
        settled.append((x, next(free, y)))
    return settled


@mpl.rc_context(SETTINGS)
def against_time(
    marks: list[tuple[str, list[float], list[float], list[Trail]]], label: str
) -> Markup:
    """Return a chart of ACC against minutes.

    Parameters
    ----------
    marks : list of (name, seconds, acc, trails)
        seconds, acc : a method's numbers, one per run, at least one. trails : list of
        (seconds, acc), arrays: how its runs came there. The i-th is drawn as number i + 1.
    """
    axes = _axes(LARGE)
    middles = []
    for i, (_, ends, accs, trails) in enumerate(marks):
        colour = COLOUR[i % COLOURS]
        for seconds, scores in trails:
            minutes, scores = _fewer(_minutes(seconds), scores)
            axes.plot(minutes, scores, color=colour, alpha=0.55, lw=1.2, clip_on=False, gid="trail")
        _dots(axes, _minutes(ends), accs, colour, 5, "runs")
        middles.append((_minutes(np.mean(ends)), np.mean(accs)))
    _logarithmic(axes, "x", *axes.dataLim.intervalx)
    axes.margins(0.08)
    axes.set(xlabel="minutes of a run", ylim=(None, min(1, axes.get_ylim()[1])))
    at = [tuple(place) for place in axes.transData.transform(middles)]
    pixels = {"xycoords": "figure pixels", "textcoords": "figure pixels"}
    line = {"arrowstyle": "-", "color": MUTED, "shrinkA": 0, "shrinkB": 0}
    for i, ((x, y), (_, moved)) in enumerate(zip(at, _apart(at, LARGE[1] - TOP), strict=True)):
        name, ends, accs, _ = marks[i]
        if moved != y:
            axes.annotate("", (x, y), (x, moved), arrowprops=line, zorder=3, **pixels)
        axes.annotate(
            str(i + 1),
            (x, moved),
            **pixels,
            color=CARD,
            size=9,
            weight="bold",
            ha="center",
            va="center_baseline",
            zorder=4,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": COLOUR[i % COLOURS], "linewidth": 0},
            gid=f"title: {name}: ACC {np.mean(accs):.4f}, {np.mean(ends):.0f} s",
        )
    return _svg(axes, label)


def _minutes(seconds):
    return np.maximum(seconds, SHORTEST) / 60


@mpl.rc_context(SETTINGS)
def point_map(places: np.ndarray, labels: np.ndarray, label: str) -> Markup:
    """Return a map of samples (m, 2), each a dot of its cluster's colour, with cluster numbers."""
    axes = _axes(SQUARE)
    axes.set_position((0.02, 0.02, 0.96, 0.96))
    axes.set_axis_off()
    for j in np.unique(labels):
        _dots(axes, *places[labels == j].T, COLOUR[j % COLOURS], 4, f"dots {j}")
    for j in np.unique(labels):
        axes.annotate(
            str(j),
            np.median(places[labels == j], axis=0),
            ha="center",
            color=INK,
            va="center",
            size=16,
            weight="bold",
            gid="halo",
        )
    axes.set_aspect("equal", "datalim")
    axes.autoscale_view()
    return _svg(axes, label, "map")
