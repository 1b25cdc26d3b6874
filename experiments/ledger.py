"""The ledger: results.csv, one row per run. Rows are read, checked, merged and added here.

A row is a dict of text, column -> what was stored, "" where nothing was; numbers are made of it
only for tables, so that reading and writing never changes a digit. Scores are fractions, times
seconds.
"""

import csv
import itertools
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from common.errors import UserError
from common.files import remove_leftovers, write_bytes
from common.locks import locked
from datasets import PROBLEMS
from experiments import former

COLUMNS = [
    *("method", "dataset", "n", "k", "seed", "status", "reason"),
    *("acc", "nmi", "nmi_geometric", "ari"),  # of the final labels
    *("refresh_acc", "refresh_nmi"),  # of those at the last refresh, as the released code reports
    *("kmeans_acc", "kmeans_nmi", "kmeans_ari"),  # before clustering
    *("iterations", "converged", "pretrain_epochs", "aug_pretrain", "aug_cluster"),
    "overrides",  # "tol=0.01 lr=0.1"; empty: the paper's settings
    *("seconds_pretrain", "seconds_initialize", "seconds_cluster"),
    "seconds_steps",  # of pretraining and clustering, the training steps themselves
    *("seconds_total", "peak_memory_mb", "device", "threads", "precision"),
    *("python", "tensorflow", "keras", "scikit_learn", "numpy"),
    "commit",  # of the code when the run began
    "config_hash",
    *("protocol", "pretrain_protocol"),  # versions, see models/settings; empty: 1
    "data_hash",
    "source",  # of the data: "named", one of datasets.DATASETS, or "file", a user's own
    "command",
    "finished",  # UTC, ISO
]
KEY = ("method", "dataset", "data_hash", "k", "seed", "config_hash")  # two rows, one run
Row = dict[str, str]  # column -> text
AnyPath = str | os.PathLike
REQUIRED = ("method", "dataset", "seed", "status")
RANGES = {
    **{name: (0, 1) for name in COLUMNS if name.endswith(("acc", "nmi", "nmi_geometric"))},
    **dict.fromkeys(("test_acc", "test_nmi"), (0, 1)),
    **{name: (-1, 1) for name in COLUMNS if name.endswith("ari")},
    **{name: (0, math.inf) for name in COLUMNS if name.startswith("seconds")},
    **dict.fromkeys(("n", "k", "iterations", "pretrain_epochs", "peak_memory_mb"), (0, math.inf)),
    **dict.fromkeys(("protocol", "pretrain_protocol", "threads", "clusters"), (1, math.inf)),
}


def _text(value):
    """Return a value as one line of text; nothing for None, NaN and infinity."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, sort_keys=True)
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def as_row(record: Mapping[str, object]) -> Row:
    """Return a flat record, e.g. a result.json, as a row; unknown names stay, after COLUMNS.

    ValueError if method, dataset, seed or status is missing, or a value is out of range.
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
        if not _within(row.get(name, ""), low, high):
            raise ValueError(f"{name} {row[name]!r}: expected a number in [{low}, {high}]")
    finished(row)  # raises
    former.rename(row)
    return {name: text for name, text in row.items() if text or name in COLUMNS}


def source(row: Row) -> str:
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


def is_published(row: Row) -> bool:
    """Whether a row is of a problem that scores are published of: a named set, its samples, its K.

    Where the samples' hash is not known (datasets.PROBLEMS), name, K and source have to do.
    """
    if source(row) != "named" or row["dataset"] not in PROBLEMS:
        return False
    classes, known = PROBLEMS[row["dataset"]]
    return row["k"] == str(classes) and (not known or row["data_hash"] == known)


def protocol(row: Row) -> tuple[int, int]:
    """Return (version of the protocol, version of the pretraining's)."""
    return tuple(int(float(row[name] or 1)) for name in ("protocol", "pretrain_protocol"))


def _within(text, low, high):
    """Whether a cell is empty or a finite number between the bounds, rounding aside."""
    try:
        number = float(text or low)
    except ValueError:
        return False
    return math.isfinite(number) and low - 1e-9 <= number <= high + 1e-9


def finished(row: Row) -> datetime:
    """Return when a run ended, in UTC; the beginning of time if the row does not say."""
    if not row["finished"]:
        return datetime.min.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(row["finished"].replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"finished {row['finished']!r}: expected an ISO date and time") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _rank(row):
    return row["status"] == "ok", finished(row), sorted(row.items())  # total: no ties


def merge(*groups: Iterable[Mapping[str, object]]) -> list[Row]:
    """Return the rows of all groups, one per run, in a fixed order.

    Of two rows with the same KEY and source the successful one stays, then the one that finished
    last. Two rows of the same end are one run: the columns that only one has, of a user's own for
    example, are kept.
    """
    best = {}
    for row in map(as_row, itertools.chain(*groups)):
        key = (*key_of(row), source(row))
        if key in best:
            worse, row = sorted((best[key], row), key=_rank)
            same = worse["status"] == row["status"] and finished(worse) == finished(row)
            if same and row["finished"]:
                row = worse | {name: value for name, value in row.items() if value}
        best[key] = row
    order = ("dataset", "method", "overrides")
    return sorted(
        best.values(),
        key=lambda row: (*(row[name] for name in order), int(row["seed"]), sorted(row.items())),
    )


def read_rows(path: AnyPath) -> list[Row]:
    """Return the rows of a results.csv; none if there is no such file.

    UserError if a line is truncated or garbled, with its number: a damaged file is never read in
    part.
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


def csv_text(rows: list[Row]) -> str:
    """Return rows as CSV: COLUMNS, then every other name that has a value somewhere, sorted."""
    others = {name for row in rows for name, value in row.items() if value} - set(COLUMNS)
    table = pd.DataFrame(rows, columns=COLUMNS + sorted(others), dtype=str).fillna("")
    return table.to_csv(index=False, lineterminator="\n")


def write_text(path: AnyPath, text: str) -> bool:
    """Write a text file, whole or not at all, if that changes it; return whether it did."""
    path, data = Path(path).resolve(), text.encode()
    try:
        if path.is_file() and path.read_bytes() == data:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; what it held is unchanged") from error
    return True


def folders(runs_dir: AnyPath) -> tuple[dict[Path, Row], list[str]]:
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


def update(path: AnyPath, runs_dir: AnyPath, own: bool = False) -> tuple[list[Row], list[str]]:
    """Add a folder's runs on named sets to a results.csv and return (all its rows, warnings).

    own: those on a user's own files in their place. UserError if the file is damaged or cannot be
    written; it is then as it was.
    """
    found, warnings = folders(runs_dir)
    wanted = "file" if own else "named"
    return add(path, [row for row in found.values() if source(row) == wanted]), warnings


def add(path: AnyPath, found: list[Row], replace: bool = True) -> list[Row]:
    """Add rows to a results.csv, under a lock, and return all its rows; raises as `update`.

    replace: whether a row may take the place of one of the same run with status ok.
    """

    def added(rows):
        done = set() if replace else done_keys(rows)
        return rows + [row for row in found if not done or key_of(as_row(row)) not in done]

    return _change(path, added)


def _change(path, change):
    """Put change(its rows) in the place of a file's rows, under a lock; return them, merged."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder, name = os.path.split(os.path.abspath(path))  # of "." too
        with locked(os.path.join(folder, f".{name}.lock")):
            remove_leftovers(folder, name)
            rows = merge(change(read_rows(path)))
            write_text(path, csv_text(rows))
    except OSError as error:
        raise UserError(f"cannot update {path}: {error.strerror or error}") from error
    return rows


def key_of(row: Row) -> tuple[str, ...]:
    """Return what makes a row the row of one run: its values of KEY."""
    return tuple(row[name] for name in KEY)


def done_keys(rows: list[Row]) -> set[tuple[str, ...]]:
    """Return the keys of the rows with status ok."""
    return {key_of(row) for row in rows if row["status"] == "ok"}


def move_own(path: AnyPath, own: AnyPath) -> None:
    """Move the rows of users' files from a results.csv to another, where an earlier sweep put them.

    They are in the other one before they leave the first; raises as `update`.
    """
    moved = [row for row in read_rows(path) if source(row) == "file"]
    if moved:
        add(own, moved)
        _change(path, lambda rows: [row for row in rows if row not in moved])
