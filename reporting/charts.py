"""Charts as inline SVG, by hand: numbers in, text out. Colours and fonts are style.css's.

Series are told apart by class: s0, s1, ... (colour, dash pattern). Coordinates are rounded to a
tenth of a unit. Everything that is not a number is escaped.
"""

import math
from html import escape

import numpy as np

SMALL, LARGE = (310, 200), (360, 270)  # width, height
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 36  # margins
POINTS = 200  # of a curve, at most
COLOURS = 10
UNITS = ((1, "s"), (60, "min"), (3600, "h"))


def _n(value):
    """Return a coordinate as short text."""
    return f"{value:.1f}".removesuffix(".0")


def ticks(low, high, about=5):
    """Return round numbers (times 1, 2 or 5) from low to high, and their decimals."""
    rough = (high - low) / about
    power = math.floor(math.log10(rough))
    step = next(m * 10**power for m in (1, 2, 5, 10) if m * 10**power >= rough * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)], decimals


def log_ticks(low, high):
    """Return powers of ten from low to high, with 2 and 5 times them where those are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    several = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    tens = [10.0**p for p in powers]
    inside = [t for t in tens if low <= t <= high]
    return inside if len(inside) > 2 else [t for t in several if low <= t <= high]


def time_ticks(low, high):
    """Return (seconds, text) of round times from low to high, for a logarithmic axis."""
    several = (1, 2, 5, 10, 20, 30)  # of each unit
    found = [(m * s, f"{m} {name}") for s, name in UNITS for m in several]
    found += [(m * 3600, f"{m} h") for m in (50, 100, 200, 500, 1000)]
    inside = [tick for tick in found if low <= tick[0] <= high]
    if len(inside) > 6:  # 1 and 10 of each unit
        return [tick for tick in inside if tick[1][:2] in ("1 ", "10")]
    if len(inside) > 2:
        return inside
    seconds, unit = next((s, name) for s, name in reversed(UNITS) if high >= 2 * s or s == 1)
    values, decimals = ticks(low / seconds, high / seconds, 6)
    return [(t * seconds, f"{t:.{decimals}f} {unit}") for t in values if t > 0]


def _grouped(value):
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


class Axes:
    """A frame with ticks, and the map from numbers to coordinates.

    Parameters
    ----------
    x, y : (low, high)
        What is shown; of logarithmic axes both > 0.
    x_ticks, y_ticks : list of (value, text)
    name : str
        Of the x axis.
    log_x, log_y : bool
    size : (width, height)
    """

    def __init__(self, x, y, x_ticks, y_ticks, name, log_x=False, log_y=False, size=SMALL):
        self.scales = [self._scale(*x, log_x), self._scale(*y, log_y)]
        self.size, self.right, self.bottom = size, size[0] - RIGHT, size[1] - BOTTOM
        right, bottom = self.right, self.bottom
        self.parts = []
        for value, text in y_ticks:
            _, at = self.place(x[0], value)
            self.parts += [f'<path class="grid" d="M{LEFT} {_n(at)}H{right}"/>',
                           f'<text x="{LEFT - 5}" y="{_n(at + 3.5)}" text-anchor="end">'
                           f"{escape(text)}</text>"]  # fmt: skip
        for value, text in x_ticks:
            at, _ = self.place(value, y[0])
            self.parts += [f'<path class="grid" d="M{_n(at)} {TOP}V{bottom}"/>',
                           f'<text x="{_n(at)}" y="{bottom + 14}" text-anchor="middle">'
                           f"{escape(text)}</text>"]  # fmt: skip
        middle = _n((LEFT + right) / 2)
        self.parts.append(f'<text x="{middle}" y="{bottom + 31}" text-anchor="middle">'
                          f"{escape(name)}</text>")  # fmt: skip

    @staticmethod
    def _scale(low, high, log):
        if log:
            low, high = math.log10(low), math.log10(high)
        return low, (high - low) or 1.0, log

    def place(self, x, y):
        """Return the coordinates of numbers or arrays."""
        (low_x, size_x, log_x), (low_y, size_y, log_y) = self.scales
        x, y = (np.log10(x) if log_x else x), (np.log10(y) if log_y else y)
        return (
            LEFT + (x - low_x) / size_x * (self.right - LEFT),
            self.bottom - (y - low_y) / size_y * (self.bottom - TOP),
        )

    def path(self, x, y):
        """Return the d of a line through points."""
        return "M" + "L".join(
            f"{_n(a)} {_n(b)}" for a, b in zip(*self.place(x, y), strict=True)
        )  # fmt: skip

    def svg(self, label):
        return _svg(*self.size, label, self.parts)


def _svg(width, height, label, parts, kind="chart"):
    return (f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{escape(label)}">{"".join(parts)}</svg>')  # fmt: skip


def _room(low, high, least=1e-3):
    """Return an interval widened a little."""
    more = max((high - low) * 0.06, least)
    return low - more, high + more


def _fewer(*arrays):
    """Return at most POINTS of the points, evenly chosen, with the first and the last."""
    n = len(arrays[0])
    keep = np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
    return [array[keep] for array in arrays]


def curves(series, label, log=False, reference=None, unit=False):
    """Return a chart of curves over steps, each with a band of its spread.

    Parameters
    ----------
    series : list of (steps, mean, std)
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
    lows, highs = [], []
    for _, mean, std in series:
        std = np.nan_to_num(std)
        below = mean - std
        lows.append(below[(below > 0) | (not log)].min(initial=mean.min()))
        highs.append((mean + std).max())
    if reference:
        lows.append(reference[0])
        highs.append(reference[0])
    low, high = min(lows), max(highs)
    log = log and high > 8 * low
    if log:
        low, high = low / 1.1, high * 1.1
        y_ticks = [(t, f"{t:g}") for t in log_ticks(low, high)]
    else:
        low, high = _room(low, high)
        high = min(high, 1.0) if unit else high
        values, decimals = ticks(low, high)
        y_ticks = [(t, f"{t:.{decimals}f}") for t in values]
    last = max(steps[-1] for steps, _, _ in series)
    first = min(0, *(steps[0] for steps, _, _ in series))
    x_ticks = [(t, _grouped(t)) for t in ticks(first, max(last, first + 1))[0]]
    axes = Axes((first, max(last, first + 1)), (low, high), x_ticks, y_ticks, "step", log_y=log)
    for i, (steps, mean, std) in enumerate(series):
        steps, mean, std = _fewer(steps, mean, std)
        if not np.isnan(std).any():
            there = np.concatenate([steps, steps[::-1]])
            band = np.concatenate([mean + std, (mean - std)[::-1]]).clip(low, high)
            axes.parts.append(f'<path class="band s{i}" d="{axes.path(there, band)}Z"/>')
        axes.parts.append(f'<path class="line s{i}" d="{axes.path(steps, mean)}"/>')
    if reference:
        _, at = axes.place(first, reference[0])
        above = at - 4 if at > TOP + 12 else at + 11
        axes.parts.append(f'<path class="reference" d="M{LEFT} {_n(at)}H{axes.right}"/>'
                          f'<text x="{axes.right - 2}" y="{_n(above)}" text-anchor="end">'
                          f"{escape(reference[1])}</text>")  # fmt: skip
    return axes.svg(label)


def _apart(places, bottom, distance=15.0):
    """Return places (x, y), moved up or down until no two are nearer than `distance`."""
    settled = []
    for x, y in places:
        moves = (sign * step for step in range(0, 400, 3) for sign in (1, -1))
        free = (
            y + move
            for move in moves
            if TOP < y + move < bottom
            and all(math.hypot(x - a, y + move - b) >= distance for a, b in settled)
        )
        settled.append((x, next(free, y)))
    return settled


def against_time(marks, label):
    """Return a chart of ACC against seconds, on a logarithmic axis.

    Parameters
    ----------
    marks : list of (name, seconds, acc, trails)
        seconds, acc : a method's numbers, one a run, at least one. trails : list of
        (seconds, acc), arrays: how its runs came there. The i-th is drawn as number i + 1.
    """
    seconds = [s for _, ends, _, trails in marks for s in (*ends, *(t[0][0] for t in trails))]
    scores = [a for _, _, ends, trails in marks for a in (*ends, *(t[1].min() for t in trails))]
    highest = [a for _, _, ends, trails in marks for a in (*ends, *(t[1].max() for t in trails))]
    low_x, high_x = max(min(seconds), 0.01) / 1.3, max(seconds) * 1.3
    low, high = _room(min(scores), max(highest), 0.01)
    values, decimals = ticks(low, min(high, 1.0))
    y_ticks = [(t, f"{t:.{decimals}f}") for t in values]
    x_ticks = time_ticks(low_x, high_x)
    name = "time of a run"
    axes = Axes((low_x, high_x), (low, min(high, 1.0)), x_ticks, y_ticks, name, True, size=LARGE)
    middles = []
    for i, (_, ends, accs, trails) in enumerate(marks):
        colour = f"c{i % COLOURS}"
        for there, how in trails:
            there, how = _fewer(np.maximum(there, low_x), how)
            axes.parts.append(f'<path class="trail {colour}" d="{axes.path(there, how)}"/>')
        for s, a in zip(ends, accs, strict=True):
            x, y = axes.place(max(s, 0.01), a)
            axes.parts.append(f'<circle class="{colour}" cx="{_n(x)}" cy="{_n(y)}" r="2.5"/>')
        middles.append(axes.place(max(np.mean(ends), 0.01), np.mean(accs)))
    for i, ((x, y), (_, at)) in enumerate(zip(middles, _apart(middles, axes.bottom), strict=True)):
        name, ends, accs, _ = marks[i]
        colour = f"c{i % COLOURS}"
        told = f"{name}: ACC {np.mean(accs):.4f}, {np.mean(ends):.0f} s"
        if abs(at - y) > 1:
            axes.parts.append(f'<path class="leader" d="M{_n(x)} {_n(y)}V{_n(at)}"/>')
        number = f'<text x="{_n(x)}" y="{_n(at + 3.2)}" text-anchor="middle">{i + 1}</text>'
        axes.parts.append(f'<g class="mark {colour}"><title>{escape(told)}</title>'
                          f'<circle cx="{_n(x)}" cy="{_n(at)}" r="7"/>{number}</g>')  # fmt: skip
    return axes.svg(label)


def point_map(places, labels, label):
    """Return a map of samples (m, 2), each a dot of its cluster's colour, with cluster numbers."""
    size = 1000
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (size - 60) / (max(high - low) or 1.0)
    at = ((places - (low + high) / 2) * [scale, -scale] + size / 2).round().astype(int)
    parts, names = [], []
    for j in np.unique(labels):
        here = at[labels == j]
        dots = "".join(f"M{x} {y}h0" for x, y in here)
        parts.append(f'<path class="dots c{j % COLOURS}" d="{dots}"/>')
        x, y = np.median(here, axis=0).astype(int)
        names.append(f'<text x="{x}" y="{y}" text-anchor="middle">{j}</text>')
    return _svg(size, size, label, parts + names, "map")
