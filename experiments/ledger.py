"""The ledger: one row a run in results.csv, and the papers' tables with our numbers beside theirs.

A row is a dict of text, column -> what was stored, "" where nothing was; numbers are made of it
only for tables, so that reading and writing never changes a digit. Scores are fractions, times
seconds. NMI in the tables is the arithmetic one; the papers' was probably the geometric one
(scikit-learn's default then), which results.csv holds as `nmi_geometric`.
"""

import csv
import functools
import io
import itertools
import json
import math
import shlex
import statistics
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from common import paths
from common.errors import UserError, unknown
from common.files import remove_leftovers, replacing
from common.locks import locked
from datasets import DATASETS, PROBLEMS
from models import METHODS, preset
from models.settings.base import digest

PAPER = Path(paths.ROOT, "results", "paper.csv")
COLUMNS = [
    "method", "dataset", "n", "k", "seed", "status", "reason",
    "acc", "nmi", "nmi_geometric", "ari",  # of the final labels
    "refresh_acc", "refresh_nmi",  # of the labels at the last refresh, as the released code reports
    "kmeans_acc", "kmeans_nmi", "kmeans_ari",  # before clustering
    "iterations", "converged", "pretrain_epochs", "aug_pretrain", "aug_cluster",
    "overrides",  # "tol=0.01 lr=0.1"; empty: the paper's settings
    "seconds_pretrain", "seconds_initialize", "seconds_cluster",
    "seconds_steps",  # of pretraining and clustering, the training steps themselves
    "seconds_total", "peak_memory_mb",
    "device", "threads", "precision", "python", "tensorflow", "keras", "scikit_learn", "numpy",
    "commit",  # of the code when the run began
    "config_hash", "protocol", "pretrain_protocol",  # versions, see models/settings; empty: 1
    "data_hash",
    "source",  # of the data: "named", one of datasets.DATASETS, or "file", a user's own
    "command",
    "finished",  # UTC, ISO
]  # fmt: skip
KEY = ("method", "dataset", "data_hash", "k", "seed", "config_hash")  # two rows, one run
REQUIRED = ("method", "dataset", "seed", "status")
RANGES = {
    **{name: (0, 1) for name in COLUMNS if name.endswith(("acc", "nmi", "nmi_geometric"))},
    **{name: (-1, 1) for name in COLUMNS if name.endswith("ari")},
    **{name: (0, math.inf) for name in COLUMNS if name.startswith("seconds")},
    **dict.fromkeys(("n", "k", "iterations", "pretrain_epochs", "peak_memory_mb"), (0, math.inf)),
    **dict.fromkeys(("protocol", "pretrain_protocol"), (1, math.inf)),
}

# ---- Rows -------------------------------------------------------------------------------------


def _text(value):
    """Return a value as one line of text; nothing for None, NaN and infinity."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, sort_keys=True)
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def as_row(record):
    """Return a flat record, e.g. a result.json, as a row; unknown names stay, after COLUMNS.

    Raises
    ------
    ValueError
        If method, dataset, seed or status is missing, or a value is out of range.
    """
    row = dict.fromkeys(COLUMNS, "")
    row.update((_text(name), _text(value)) for name, value in record.items())
    if "" in row:
        raise ValueError("a column without a name")
    for name in REQUIRED:
        if not row[name]:
            raise ValueError(f"no {name}")
    if row["status"] not in ("ok", "failed"):
        raise ValueError(f"status {row['status']!r}: expected ok or failed")
    if not row["seed"].removeprefix("-").isdecimal():
        raise ValueError(f"seed {row['seed']!r}: expected an integer")
    for name, (low, high) in RANGES.items():
        if not _within(row[name], low, high):
            raise ValueError(f"{name} {row[name]!r}: expected a number in [{low}, {high}]")
    _finished(row)  # raises
    if row["method"] == "DSCDAN" and row["config_hash"] in _five_starts():
        row["method"] = "DSCDAN-restarts"  # its name when the row was made
    return {name: text for name, text in row.items() if text or name in COLUMNS}


@functools.cache
def _five_starts():
    """Return the config hashes of DSCDAN-restarts, which DSCDAN was before it had one start."""
    configs = [preset("DSCDAN-restarts", name) for name in PROBLEMS]
    return {digest(config.to_dict() | {"weights": None}) for config in configs}


def source(row):
    """Return where a row's data came from: "named" (datasets.DATASETS) or "file", a user's own.

    Rows from before there was the column tell it by their command.
    """
    if row["source"]:
        return row["source"]
    try:
        words = shlex.split(row["command"])
    except ValueError:  # an open quote
        words = row["command"].split()
    own = any(word == "--data" or word.startswith("--data=") for word in words)
    return "file" if own or row["dataset"] not in PROBLEMS else "named"


def is_published(row):
    """Whether a row is of a problem that scores are published of: a named set, its samples, its K.

    Where the samples' hash is not known (datasets.PROBLEMS), name, K and source have to do.
    """
    if source(row) != "named" or row["dataset"] not in PROBLEMS:
        return False
    classes, known = PROBLEMS[row["dataset"]]
    return row["k"] == str(classes) and (not known or row["data_hash"] == known)


def protocol(row):
    """Return (version of the protocol, version of the pretraining's)."""
    return tuple(int(float(row[name] or 1)) for name in ("protocol", "pretrain_protocol"))


def _within(text, low, high):
    """Whether a cell is empty or a finite number between the bounds, rounding aside."""
    try:
        number = float(text or low)
    except ValueError:
        return False
    return math.isfinite(number) and low - 1e-9 <= number <= high + 1e-9


def _finished(row):
    """Return when a run ended, in UTC; the beginning of time if the row does not say."""
    if not row["finished"]:
        return datetime.min.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(row["finished"].replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"finished {row['finished']!r}: expected an ISO date and time") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def merge(*groups):
    """Return the rows of all groups, one a run, in a fixed order.

    Of two rows with the same KEY and source the successful one stays, then the one that finished
    last.
    """
    best = {}
    for row in map(as_row, itertools.chain(*groups)):
        rank = (row["status"] == "ok", _finished(row), sorted(row.items()))  # total: no ties
        key = (*key_of(row), source(row))
        if key not in best or rank > best[key][0]:
            best[key] = (rank, row)
    order = ("dataset", "method", "overrides")
    return sorted(
        (row for _, row in best.values()),
        key=lambda row: (*(row[name] for name in order), int(row["seed"]), sorted(row.items())),
    )


def read_rows(path):
    """Return the rows of a results.csv; none if there is no such file.

    Raises
    ------
    UserError
        If a line is truncated or garbled, with its number: a damaged file is never read in part.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; mend or remove the file") from None
    rows, header, number = [], None, 1
    try:
        lines = text.split("\n")
        for number, line in enumerate(lines[:-1], start=1):  # noqa: B007
            if not line.strip():
                continue
            cells = next(csv.reader([line.removesuffix("\r")], strict=True))
            if header is None:
                header = cells
                names = set(header)
                if not names.issuperset(REQUIRED) or len(names) < len(header) or "" in names:
                    raise ValueError(f"no header of named columns with {', '.join(REQUIRED)}")
                continue
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} values: expected {len(header)}, as in the header")
            rows.append(as_row(dict(zip(header, cells, strict=True))))
        if lines[-1] or header is None:
            number = len(lines)
            raise ValueError("the file breaks off: expected a whole line with its line end")
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}, line {number}: {error}; mend or remove the file") from None
    return rows


def _csv_text(rows):
    """Return rows as CSV: COLUMNS, then every other name that has a value somewhere, sorted."""
    others = {name for row in rows for name, value in row.items() if value} - set(COLUMNS)
    text = io.StringIO()
    names = COLUMNS + sorted(others)
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_text(path, text):
    """Write a text file, whole or not at all, if that changes it; return whether it did."""
    path, data = Path(path).resolve(), text.encode()
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(data)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; what it held is unchanged") from error
    return True


def folders(runs_dir):
    """Return ({run folder: its row}, warnings) of every result.json in a folder and below.

    A damaged file is left out, with a warning that names it.
    """
    rows, warnings = {}, []
    if not Path(runs_dir).is_dir():
        warnings.append(f"no folder of runs at {str(runs_dir)!r}")
    for path in sorted(Path(runs_dir).rglob("result.json")):
        try:
            record = json.loads(path.read_bytes())
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
            rows[path.parent] = as_row(record)
        except (OSError, ValueError, RecursionError) as error:
            warnings.append(f"left out {path}: {error}")
    return rows, warnings


def collect(runs_dir):
    """Return (rows, warnings) of every result.json in a folder and below, as `folders`."""
    rows, warnings = folders(runs_dir)
    return list(rows.values()), warnings


def update(path, runs_dir, own=False):
    """Add a folder's runs on named sets to a results.csv and return (all its rows, warnings).

    Parameters
    ----------
    path : path
    runs_dir : path
    own : bool
        Those on a user's own files in their place.

    Raises
    ------
    UserError
        If the file is damaged or cannot be written; it is then as it was.
    """
    found, warnings = collect(runs_dir)
    wanted = "file" if own else "named"
    return add(path, [row for row in found if source(row) == wanted]), warnings


def add(path, found, replace=True):
    """Add rows to a results.csv, under a lock, and return all its rows; raises as `update`.

    Parameters
    ----------
    path : path
    found : list of rows
    replace : bool
        Whether a row may take the place of one of the same run with status ok.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            remove_leftovers(path.parent, path.name)
            there = read_rows(path)
            if not replace:
                done = done_keys(there)
                found = [row for row in found if key_of(row) not in done]
            rows = merge(there, found)
            write_text(path, _csv_text(rows))
    except OSError as error:
        raise UserError(f"cannot update {path}: {error.strerror or error}") from error
    return rows


def key_of(row):
    """Return what makes a row the row of one run: its values of KEY."""
    return tuple(row[name] for name in KEY)


def done_keys(rows):
    """Return the keys of the rows with status ok."""
    return {key_of(row) for row in rows if row["status"] == "ok"}


def move_own(path, own):
    """Move the rows of users' files from a results.csv to another, where an earlier sweep put them.

    They are in the other one before they leave the first; raises as `update`.
    """
    path = Path(path)
    moved = [row for row in read_rows(path) if source(row) == "file"]
    if not moved:
        return
    add(own, moved)
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            rows = [row for row in read_rows(path) if source(row) != "file" or row not in moved]
            write_text(path, _csv_text(rows))
    except OSError as error:
        raise UserError(f"cannot update {path}: {error.strerror or error}") from error


# ---- Tables -----------------------------------------------------------------------------------

FIELDS = ("ours", "paper", "difference", "verdict")
SOURCE = {"acc": "acc", "nmi": "nmi", "seconds": "seconds_total"}  # metric -> our column
ROOM = 0.005  # what counts as equal at least: papers round, and print no spread
ALONE = 0.01  # the same for one seed, whose spread is not known
MOST = 0.02  # of our own spread: runs that scatter widely are not near the paper
TRIALS = {"decda": 5, "aspc": 5, "dscdan": 10, "kingdra": 5, "dec-keras": 10}  # paper -> its runs
# Methods whose k-means scores before clustering are those of k-means on the Fc auto-encoder.
ON_FC_CODES = ("FcDEC", "FcIDEC", "FcDCN", "BasicDC", "ASPC")
# Data sets whose published features are not described: on ours scores are another matter.
OTHER_INPUTS = ("20news",)
LEGEND = (
    "ACC and NMI (arithmetic) are fractions, std is over seeds (n - 1); only runs at the papers' "
    "settings, on the papers' samples and with their number of clusters count, those of the newest "
    "protocol. met: the difference is no larger than its standard error sqrt(s²/n + s'²/n'), s and "
    "n our std and number of seeds, s' and n' the paper's; above, short: it is larger. A spread "
    f"that the paper does not print counts as 0, ours as {MOST} at most (two seeds that scatter "
    f"widely are not near the paper), of one seed as the paper's; differences up to {ROOM}, of one "
    f"seed up to {ALONE}, are met in any case. Times are of different machines and have no "
    "verdict; nor have scores on "
    f"{' and '.join(OTHER_INPUTS)}, where the paper's inputs are not known (data/README.md)."
)
HEAD = f"""# The papers' tables beside our runs

Written by `ledger.py` from results.csv and paper.csv; do not edit.

{textwrap.fill(LEGEND, 100)}
"""


def read_paper(path=PAPER):
    """Return the published numbers; value and spread are floats, `printed` is their text."""
    paper = pd.read_csv(path, dtype=str, keep_default_na=False)
    spread = paper.spread.map(lambda text: f" ± {text}" if text else "")
    return paper.assign(
        value=pd.to_numeric(paper.value),
        spread=pd.to_numeric(paper.spread),  # "" becomes NaN
        printed=paper.value + spread,
    )


def _identity(method, flags=""):
    """Return (method without "-DA", augmented stages), e.g. FcDEC-DA -> ("FcDEC", "y/y").

    `flags` says "y" or "n" for pretraining and clustering; without it the name does.
    """
    augmented = method.endswith("-DA") or "-DA-" in method
    return method.removesuffix("-DA"), flags or ("y/y" if augmented else "n/n")


def _label(base, flags):
    """Return the name of an identity: FcDEC, FcDEC-DA or, one stage augmented, FcDEC (n/y)."""
    names = (base, f"{base}-DA")
    return next((name for name in names if _identity(name) == (base, flags)), f"{base} ({flags})")


def _departs(overrides):
    """Whether settings are not the papers'; the augmented stages are part of the identity."""
    return any(not word.startswith(("aug_pretrain=", "aug_cluster=")) for word in overrides.split())


def _scores(rows):
    """Return our runs at the papers' settings, (base, flags, data set) -> seed -> run.

    One run a seed: the last to finish; of the newest protocol only, so that no mean is over two.
    k-means on the codes of the Fc auto-encoder, which every run on it begins with, counts as the
    method AE+k-means where that was not run by itself.
    """
    runs, codes = [], []
    for row in sorted(merge(rows), key=_finished):
        if row["status"] != "ok" or _departs(row["overrides"]) or not is_published(row):
            continue
        first = row["aug_pretrain"]  # who has no second stage is known by the first
        said = [flag.lower() for flag in (first, row["aug_cluster"] or first)]
        flags = "/".join("ny"[flag in ("true", "1", "y")] for flag in said) if any(said) else ""
        base, flags = _identity(row["method"], flags)
        run = {metric: float(row[name]) for metric, name in SOURCE.items() if row[name]}
        about = {"seed": int(row["seed"]), "device": row["device"], "protocol": sum(protocol(row))}
        runs.append(((base, flags, row["dataset"]), run | about))
        if base in ON_FC_CODES:
            run = {m: float(row[f"kmeans_{m}"]) for m in ("acc", "nmi") if row[f"kmeans_{m}"]}
            about["protocol"] = 1 + protocol(row)[1]  # the clustering's own has no part in it
            codes.append((("AE+k-means", f"{flags[0]}/{flags[0]}", row["dataset"]), run | about))
    found = [(place, run) for place, run in codes + runs if not run.keys().isdisjoint(SOURCE)]
    newest, scores = {}, {}
    for place, run in found:
        newest[place] = max(run["protocol"], newest.get(place, 0))
    for place, run in found:
        if run["protocol"] == newest[place]:
            scores.setdefault(place, {})[run["seed"]] = run
    return scores


def mean_std(values):
    """Return the mean and, over n - 1, the standard deviation: NaN of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def spread_text(mean, std, digits=4):
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def verdict(mean, std, count, value, spread, trials):
    """Return "above", "met" or "short" for our mean beside a published value.

    "met": they differ by no more than the standard error of their difference.

    Parameters
    ----------
    mean, std : float
        Of our runs. The std, NaN of one run, counts as MOST at most, of one run as the paper's.
    count : int
        Our runs.
    value, spread : float
        The paper's mean and std, NaN if it prints none, which counts as 0.
    trials : int
        The paper's runs.
    """
    gap = round(mean - value, 9)  # 0.985 - 0.98 is 0.005
    paper = 0.0 if math.isnan(spread) else spread
    ours = min(paper if math.isnan(std) else std, MOST)
    error = math.sqrt(ours**2 / count + paper**2 / trials)
    room = round(max(error, ALONE if count == 1 else ROOM), 9)
    return "met" if abs(gap) <= room else "above" if gap > 0 else "short"


def tables(rows, paper, table_id):
    """Return a published table with our numbers.

    Parameters
    ----------
    rows : list of rows
        Those with status ok and without overrides count (but for the augmented stages, which
        are matched with the table's variants).
    paper : DataFrame
        From `read_paper`.
    table_id : str
        E.g. "decda-3".

    Returns
    -------
    DataFrame of text
        A row a method; columns (data set, metric, one of FIELDS), all in the paper's order.
        `attrs`: table, covered and implemented (numbers of cells), seeds, devices.

    Raises
    ------
    UserError
        If there is no such table.
    """
    return _table(_scores(rows), paper, table_id)


def every_table(rows, paper):
    """Return {table_id: table} of all published tables, as `tables`, in the paper file's order."""
    scores = _scores(rows)
    return {name: _table(scores, paper, name) for name in paper.table.unique()}


def _table(scores, paper, table_id):
    published = paper[paper.table == table_id]
    if published.empty:
        raise UserError(unknown("table", table_id, paper.table.unique()))
    several = published.groupby("row").variant.nunique() > 1
    lines, used, covered, implemented = {}, [], 0, 0
    for cell in published.itertuples():
        label = f"{cell.row}, {cell.variant}" if several[cell.row] else cell.row
        entry = {"paper": cell.printed}
        if _implemented(cell):
            runs = _runs(scores, cell)
            implemented += _counts(cell, runs)
            covered, used = covered + bool(runs), used + runs
            entry |= _compare([run[cell.metric] for run in runs], cell) if runs else {}
        line = lines.setdefault(label, {})
        line.update({(cell.dataset, cell.metric, field): entry.get(field, "") for field in FIELDS})
    places = dict.fromkeys(zip(published.dataset, published.metric, strict=True))
    columns = pd.MultiIndex.from_tuples(
        [(*place, field) for place in places for field in FIELDS],
        names=["dataset", "metric", "field"],
    )
    cells = [[line.get(column, "") for column in columns] for line in lines.values()]
    table = pd.DataFrame(cells, index=pd.Index(lines, name="method"), columns=columns)
    table.attrs = {
        "table": table_id, "covered": covered, "implemented": implemented,
        "seeds": sorted({run["seed"] for run in used}),
        "devices": sorted({run["device"] for run in used} - {""}),
    }  # fmt: skip
    return table


def _implemented(cell):
    return cell.method != "" and cell.metric in SOURCE


def _counts(cell, runs):
    """Whether a cell is one that this repo can fill: its method and data are, or a run is here."""
    return bool(runs) or (cell.method in METHODS and cell.dataset in DATASETS)


def _runs(scores, cell):
    """Return our runs that have the number of a published cell, one a seed."""
    place = (*_identity(cell.method, cell.variant), cell.dataset)
    return [run for run in scores.get(place, {}).values() if cell.metric in run]


def _compare(values, cell):
    """Return the fields of a published cell for which we have values, one a seed."""
    mean, std = mean_std(values)
    digits = 1 if cell.metric == "seconds" else 4
    trials = TRIALS.get(cell.paper, 1)
    word = verdict(mean, std, len(values), cell.value, cell.spread, trials) if digits == 4 else ""
    return {
        "ours": f"{spread_text(mean, std, digits)} ({len(values)})",
        "difference": f"{round(mean - cell.value, 9):+.{digits}f}",
        "verdict": "other inputs" if cell.dataset in OTHER_INPUTS else word,
    }


def notes(table):
    """Return the lines below a table: how much of it there is, whose, and how to make it."""
    about = table.attrs
    seeds = ", ".join(map(str, about["seeds"])) or "none yet"
    device = f" on {', '.join(about['devices'])}" if about["devices"] else ""
    return [
        f"{about['covered']} of {about['implemented']} cells of {about['table']} that this repo "
        "implements.",
        f"Ours: mean ± std (number of seeds); seeds {seeds}{device}.",
        f"python run_exp.py --table {about['table']}",
    ]


def _lines(table):
    """Return the lines to show, the first one the head: of each method ours, paper, difference."""
    places = list(dict.fromkeys(column[:2] for column in table.columns))
    lines = [["method", "", *map(" ".join, places)]]
    for label, row in table.iterrows():
        for fields in (("ours",), ("paper",), ("difference", "verdict")):
            values = [" ".join(row[(*p, field)] for field in fields).strip() for p in places]
            if any(values):
                lines.append([label, fields[0], *(value or "–" for value in values)])
                label = ""  # said once
    return lines


def _markdown(head, *lines):
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))


def to_markdown(table):
    """Return a table of `tables` as Markdown: ours, paper and difference on a line each."""
    covered, ours, command = notes(table)
    return f"{_markdown(*_lines(table))}\n{covered} {ours} Made by `{command}`.\n"


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "–": "--"}
)


def to_latex(table):
    """Return a table of `tables` as a LaTeX tabular that needs no package."""
    head, *lines = (
        " & ".join(cell.translate(_TEX) for cell in line) + r" \\" for line in _lines(table)
    )
    comments = [f"% {note}" for note in notes(table)]
    columns = "ll" + "r" * (head.count(" & ") - 1)
    begin, rule, end = f"\\begin{{tabular}}{{{columns}}}", r"\hline", r"\end{tabular}"
    return "\n".join([*comments, begin, rule, head, rule, *lines, rule, end, ""])


def to_csv(table):
    """Return a table of `tables` as CSV, a line a method, columns such as "usps acc ours"."""
    return table.set_axis(map(" ".join, table.columns), axis=1).to_csv(lineterminator="\n")


def write_tables(results_dir, paper=None):
    """Write tables.md, tables/<id>.csv and .tex from results.csv; return the ids written.

    A table without any of our numbers is left out, and its files of an earlier time removed.
    """
    folder = Path(results_dir)
    paper = read_paper() if paper is None else paper
    every = every_table(read_rows(folder / "results.csv"), paper)
    filled = {name: table for name, table in every.items() if table.attrs["covered"]}
    for name in every:
        for suffix, render in ((".csv", to_csv), (".tex", to_latex)):
            path = folder / "tables" / f"{name}{suffix}"
            if name in filled:
                write_text(path, render(filled[name]))
            else:
                path.unlink(missing_ok=True)
    parts = [HEAD, *(f"## {name}\n\n{to_markdown(table)}" for name, table in filled.items())]
    write_text(folder / "tables.md", "\n".join(parts))
    return list(filled)


# ---- README -----------------------------------------------------------------------------------

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(rows, paper):
    """Return a Markdown table of every (method, data set) that we ran at the papers' settings.

    The published number beside it is the first one in paper.csv.
    """
    scores = _scores(rows)
    if not scores:
        return "No runs yet: `python run_exp.py` makes them.\n"
    printed, counts = {}, {}
    order = {}  # of the methods and of the data sets in paper.csv
    for cell in filter(_implemented, paper.itertuples()):
        runs = _runs(scores, cell)
        if _counts(cell, runs):
            counts.setdefault(cell.table, []).append(bool(runs))
        identity = _identity(cell.method, cell.variant)
        printed.setdefault((*identity, cell.dataset, cell.metric), cell.printed)
        for name in (identity, cell.dataset):
            order.setdefault(name, len(order))

    def rank(place):  # what no paper has comes last
        return [order.get(name, len(order)) for name in (place[:2], place[2])], place

    lines = []
    for place in sorted(scores, key=rank):
        runs, cells = scores[place].values(), []
        for metric in ("acc", "nmi"):
            values = [run[metric] for run in runs if metric in run]
            cells.append(spread_text(*mean_std(values)) if values else "–")
            cells.append(printed.get((*place, metric), "–"))
        seconds = [run["seconds"] for run in runs if "seconds" in run]
        time = f"{statistics.fmean(seconds) / 60:.1f}" if seconds else "–"
        lines.append([_label(*place[:2]), place[2], *cells, str(len(runs)), time])
    head = ["method", "data set", "ACC", "paper", "NMI", "paper", "seeds", "minutes a run"]
    covered = [f"{name} {sum(c)}/{len(c)}" for name, c in counts.items() if any(c)]
    return (
        f"{_markdown(head, *lines)}\nMean ± std over seeds, the papers' settings only. Cells "
        f"covered of those this repo implements: {', '.join(covered) or 'none'}. "
        "`python run_exp.py --table ID` makes a table's runs; all tables: results/tables.md.\n"
    )


def with_block(text, block):
    """Return a README's text with `block` between its markers; UserError if they are amiss."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"expected one line {BEGIN} and, below it, one line {END}")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{block}{text[text.index(END) :]}"


def update_readme(path, rows, paper):
    """Put `readme_block` between a README's markers; return whether that changed the file."""
    try:
        text = Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    try:
        text = with_block(text, readme_block(rows, paper))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return write_text(path, text)
