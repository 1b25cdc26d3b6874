"""Tables: one row per sample, one column per feature; a column may hold labels, another names."""

import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io.arff

from common.errors import UserError, unknown
from loaders.readers import LABEL_NAMES, Reading, Record, few, reading, require
from loaders.text import MISSING, as_numbers, depth, is_number, may_name_rows, parse, without_lists


def read_text(path: str | os.PathLike, how: Reading, like: dict | None = None) -> Record:
    """Read .csv, .tsv, .txt, .data, also compressed, and .xlsx: the separator is found."""
    names, columns, notes, header = parse(path)
    return _record(path, names, columns, how, notes, header, like)


FRAMES = {
    ".parquet": pd.read_parquet,
    ".feather": pd.read_feather,
    ".json": partial(pd.read_json, precise_float=True, dtype=False),
    ".jsonl": partial(pd.read_json, precise_float=True, dtype=False, lines=True),
    ".dta": pd.read_stata,
    ".sas7bdat": partial(pd.read_sas, encoding="infer"),
}


def read_columns(path: Path, how: Reading, like: dict | None = None) -> Record:
    """Read a format that pandas knows, by the file's ending: one of FRAMES."""
    ending = path.suffix.lower()
    if ending in (".parquet", ".feather"):
        require(path, "pyarrow")
    with reading(path, f"a {ending[1:]} table"):
        frame = FRAMES[ending](path)
    if frame.empty:
        raise UserError(f"{path}: no rows or no columns, expected a table of numbers")
    frame, rows, notes = _without_index(path, frame, how)
    columns = []
    for _, column in frame.items():
        kind = getattr(column.dtype, "kind", "O")
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            numbers = (
                column.to_numpy(dtype=None if kind in "iu" else np.float64, na_value=np.nan)
                if column.hasnans or kind == "f"
                else column.to_numpy()
            )
            columns.append(pd.Series(np.asarray(numbers, np.float64 if column.hasnans else None)))
        elif column.map(depth).any():
            columns.append(column)
        else:
            text = column.astype("str").where(column.notna(), "")
            columns.append(text if may_name_rows(str(column.name)) else as_numbers(text))
    names = [str(name) for name in frame.columns]
    return _record(path, names, columns, how, notes, True, like, rows)


def _without_index(path, frame, how):
    """Return a frame without its index, the names of rows that it gives, or None, and notes.

    A level of it that is asked for as labels, or to be ignored, becomes a column.
    """
    if all(isinstance(name, int | np.integer) for name in frame.columns) and all(
        isinstance(name, str) for name in frame.index
    ):
        raise UserError(
            f"{path}: its rows are named {few(list(frame.index))} and its columns by numbers, "
            "expected a row for each sample (pandas: orient='records')"
        )
    if isinstance(frame.index, pd.RangeIndex):
        return frame.reset_index(drop=True), None, []
    asked = {str(name).lower() for name in (how.label_column, *how.ignore_columns)}
    for name in [one for one in frame.index.names if one and str(one).lower() in asked]:
        if frame.index.nlevels == 1:
            return frame.reset_index(), None, []
        frame = frame.reset_index(level=name)
    keys = frame.index if frame.index.nlevels > 1 else [(key,) for key in frame.index]
    rows = tuple("/".join(map(str, key)) for key in keys)
    named = few([str(name) for name in frame.index.names if name is not None])
    notes = [f"the table's index{f' ({named})' if named else ''} is no feature"]
    return frame.reset_index(drop=True), rows if len(set(rows)) == len(rows) else None, notes


def read_arff(path: str | os.PathLike, how: Reading, like: dict | None = None) -> Record:
    """Read Weka's .arff: numeric attributes and nominal ones."""
    with reading(path, "an ARFF file"):
        rows, attributes = scipy.io.arff.loadarff(path)
    if not len(rows):
        raise UserError(f"{path}: no rows, expected a table of numbers")
    columns = [
        pd.Series(rows[name])
        if rows[name].dtype.kind == "f"
        else as_numbers(pd.Series(rows[name].astype(str)))
        for name in attributes.names()
    ]
    return _record(path, attributes.names(), columns, how, [], True, like)


# ---- the same for all tables ------------------------------------------------------------------


def _find(path, names, wanted, what):
    """Return the index of a column given by its name, or by its number from 1."""
    lowered = [name.lower() for name in names]
    for some, key in ((names, wanted), (lowered, wanted.lower())):
        if key in some:
            return some.index(key)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    raise UserError(f"{path}: {unknown(what, wanted, names)}, or a number from 1 to {len(names)}")


def _like_labels(names, written, columns, like):
    """Return the columns whose names are those of labels, and that no model was fitted on."""
    lowered = [name.lower() for name in written]
    kinds = {name: column.dtype.kind for name, column in zip(lowered, columns, strict=True)}
    names_of_labels = set(LABEL_NAMES)
    if {kinds.get("x", ""), kinds.get("y", "")} <= set("iuf"):  # coordinates
        names_of_labels.discard("y")
    fitted = (like or {}).get("columns") or ()
    return [
        i for i, name in enumerate(lowered) if name in names_of_labels and names[i] not in fitted
    ]


def _label_index(path, names, written, columns, how, like):
    if how.label_column == "none":
        return None
    if how.label_column is not None:
        return _find(path, names, how.label_column, "label column")
    found = _like_labels(names, written, columns, like)
    if len(found) > 1:
        raise UserError(
            f"{path}: {len(found)} label columns ({few([names[i] for i in found])}), expected at "
            "most one: --label-column NAME chooses, --ignore-columns leaves others out"
        )
    return found[0] if found else None


def _as_written(column):
    """Return labels as an array: numbers if all of them are, so that 10 follows 9."""
    if column.dtype.kind in "iufb":
        return column.to_numpy()
    return column.to_numpy(dtype=str)


def _record(path, names, columns, how, notes, header, like, rows=None):
    """Return the record of a table's columns, each numbers or text."""
    written, names = names, _distinct(names)
    ignored = {_find(path, names, one, "column to ignore") for one in how.ignore_columns}
    twice = sorted({name for name in written if written.count(name) > 1 and name})
    if twice:
        notes.append(f"several columns are named {few(twice)}")
    label = _label_index(path, names, written, columns, how, like)
    if label in ignored:
        label = None
    n = len(columns[0])
    features = [i for i in range(len(names)) if i != label and i not in ignored]
    if how.label_column not in (None, "none"):
        others = [i for i in _like_labels(names, written, columns, like) if i in features]
        features = [i for i in features if i not in others]
        if others:
            notes.append(
                f"columns with names of labels left out: {few([names[i] for i in others])}"
            )
    if ignored:
        notes.append(f"columns left out as asked: {few([names[i] for i in sorted(ignored)])}")
    names, columns, features = without_lists(path, names, columns, features, notes)
    for i in list(features):
        column, name = columns[i], names[i].lower()
        if header and name == "" and column.dtype.kind == "O" and (column == "").all():
            features.remove(i)
            notes.append(f"column {i + 1}, empty and without a name, left out")
        elif header and may_name_rows(name):
            shown = repr(names[i]) if names[i] else f"{i + 1}, without a name,"
            if column.is_unique or name != "name":
                features.remove(i)
                rows = tuple(map(str, column)) if rows is None and column.is_unique else rows
                notes.append(f"column {shown} taken as names of the rows, not as a feature")
            else:
                columns[i] = _numbers(column)
        elif column.dtype.kind in "iu" and n > 2 and _counts(column):
            notes.append(
                f"column {names[i]!r} counts the rows and is used as a feature: "
                f"--ignore-columns {names[i]!r} leaves it out"
            )
    if label is not None:
        columns[label] = _numbers(columns[label])
        notes.append(f"labels: column {names[label]!r}")
    if like and like.get("columns"):
        features = _same_columns(path, names, features, like["columns"], header, notes)
    for i in features:
        if columns[i].dtype.kind not in "iufb":
            words = [w for w in columns[i] if w.lower() not in MISSING and not is_number(w)]
            raise UserError(
                f"{path}: column {names[i]!r} holds {words[0] if words else ''!r}, expected "
                f"numbers; --label-column {names[i]!r} takes it as labels, --ignore-columns "
                f"{names[i]!r} leaves it out"
            )
    if not features:
        raise UserError(
            f"{path}: no column of numbers besides labels and names of rows, expected at least one"
        )
    kept = [names[i] for i in features]
    x = np.stack([columns[i].to_numpy(dtype=_common(columns, features)) for i in features], axis=1)
    y = None if label is None else _as_written(columns[label])
    constant = [name for name, c in zip(kept, x.T, strict=True) if n > 1 and (c == c[0]).all()]
    if constant and not like:
        notes.append(f"columns of one value only: {few(constant)}")
    rows = rows or tuple(str(i + 1) for i in columns[features[0]].index)
    return Record(x, y, rows, kept, {}, notes)


def _numbers(column):
    """Return a column of text as numbers, if all of it is."""
    return as_numbers(column) if column.dtype.kind == "O" else column


def _distinct(names):
    """Return names of columns, the second of the same name with .1, the third with .2, ..."""
    found = []
    for name in names:
        new, count = name, 0
        while new and new in found:
            count += 1
            new = f"{name}.{count}"
        found.append(new)
    return found


def _common(columns, features):
    kinds = {columns[i].dtype.kind for i in features}
    return np.int64 if kinds <= set("iub") and kinds & set("iu") else np.float64


def _counts(column):
    first = int(column.iloc[0])
    return first in (0, 1) and bool((np.diff(column.to_numpy()) == 1).all())


def _same_columns(path, names, features, fitted, header, notes):
    """Return the columns that a model was fitted on, in that order."""
    lowered = {name.lower() for name in fitted}
    numbered = fitted == [str(i + 1) for i in range(len(fitted))]  # of a file without a header
    if not header or (numbered and not any(names[i].lower() in lowered for i in features)):
        if len(features) != len(fitted):
            raise UserError(
                f"{path}: {len(features)} columns of features, expected "
                f"{len(fitted)}: {few(fitted)}"
            )
        return features
    exact = {name.lower(): name for name in fitted}
    if not any(names[i] in fitted for i in features) and len(exact) == len(fitted):
        names = [exact.get(name.lower(), name) for name in names]
    lacking = [name for name in fitted if name not in [names[i] for i in features]]
    if lacking:
        raise UserError(f"{path}: lacks the columns {few(lacking)} that the model was fitted on")
    others = [names[i] for i in features if names[i] not in fitted]
    if others:
        notes.append(f"columns that the model does not know left out: {few(others)}")
    by_name = {names[i]: i for i in reversed(features)}
    return [by_name[name] for name in fitted]


def without_missing(
    path: str | os.PathLike, record: Record, how: Reading, like: dict | None = None
) -> Record:
    """Return the record with its missing values replaced or left out, as `how` says.

    What replaces them are the means of the columns that the model was fitted on, if any, whether
    these had missing values or not; of a model that keeps none, those of this file.
    """
    x = record.x
    if x.ndim != 2 or x.dtype.kind not in "iufb":
        return record
    names = record.columns or [str(i) for i in range(x.shape[1])]
    known = (like or {}).get("means", {})
    holes = np.isnan(x)
    if not holes.any():
        record.means = known if like else _means(names, x)
        return record
    if how.missing == "error" and record.columns is None:
        return record  # an array: it is refused with its other values that are no numbers
    rows = record.rows or tuple(map(str, range(len(x))))
    counts = {names[i]: int(k) for i, k in enumerate(holes.sum(axis=0)) if k}
    text = ", ".join(f"{k} of {len(x)} in column {name!r}" for name, k in list(counts.items())[:3])
    more = f" and {len(counts) - 3} more columns" if len(counts) > 3 else ""
    if how.missing == "error":
        row = rows[int(np.argmax(holes.any(axis=1)))]
        raise UserError(
            f"{path}: missing values: {text}{more}, the first in row {row}; expected a number in "
            "each cell: --missing mean puts the column's mean in their place, --missing drop "
            "leaves the rows out"
        )
    if how.missing == "drop":
        keep = ~holes.any(axis=1)
        record.x, record.rows = x[keep], tuple(np.array(rows)[keep])
        record.y = record.y if record.y is None else record.y[keep]
        record.notes.append(f"{(~keep).sum()} of {len(x)} rows left out for missing values")
        record.means = known if like else _means(names, record.x)
        return record
    for i, name in enumerate(names):
        if name not in known and holes[:, i].all():
            raise UserError(
                f"{path}: column {name!r} has no value at all, expected some: "
                f"--ignore-columns {name!r} leaves it out"
            )
    record.means = _means(names, x) | known
    for i, name in enumerate(names):
        x[holes[:, i], i] = record.means[name]
    whose = "the fitted column" if known else "the column"
    record.notes.append(f"missing values ({text}{more}) replaced by the mean of {whose}")
    return record


def _means(names, x):
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a column that holds nothing
        return dict(zip(names, np.nanmean(x, axis=0).tolist(), strict=True))
