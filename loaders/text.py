"""Tables as text: their separator, header, decimal points and numbers are found."""

import bz2
import csv
import gzip
import io
import lzma
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from loaders.readers import LABEL_NAMES, reading, require

SEPARATORS = (",", ";", "\t", "|")
COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "-nan", "<na>")
NAMES_OF_ROWS = ("id", "index", "idx", "row", "rowid", "row_id", "row number", "name", "filename")


def is_number(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return False


def _decoded(path, notes):
    opened = COMPRESSED.get(Path(path).suffix.lower(), open)
    with reading(path, "a CSV table"), opened(path, "rb") as file:
        raw = file.read()
        if b"\0" in raw[:4096] and raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(
                f"{path}: cannot be read as a CSV table: it holds bytes that are no text"
            )
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return raw.decode("utf-16")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if not raw[:1].isascii() or sum(b >= 128 for b in raw[:4096]) > len(raw[:4096]) / 4:
                raise
            notes.append(f"read as Latin-1, as it is not UTF-8 ({error.reason})")
            return raw.decode("latin-1")


def _from_excel(path):
    """Return the first sheet of an Excel workbook as comma-separated text."""
    require(path, "openpyxl")
    with reading(path, "an Excel workbook"):
        sheet = pd.read_excel(path, header=None, dtype=str, na_filter=False)
        return sheet.to_csv(index=False, header=False)


def _without_comments(text, notes):
    """Return the text after its first lines that start with #, and how many they are.

    The last of them is the header, without its #, if the next line is none and has as many cells.
    """
    lines = text.splitlines(keepends=True) if text.startswith("#") else [text]
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    if not count:
        return text, 0
    last, rest = lines[count - 1].lstrip("#").lstrip(" "), "".join(lines[count:])
    separator = _separator(rest)
    cells = [row for _, row in _split(last + "".join(lines[count : count + 1]), separator)]
    header = len(cells) == 2 and len(cells[0]) == len(cells[1]) and not _has_header(cells[1], [])
    count -= header
    if count:
        notes.append(f"lines at the top that start with # left out: {count}")
    return (last if header else "") + rest, count


def _separator(text):
    """Return what separates the cells: what gives the first lines the same number, above 1."""
    lines = [line for line in text[:65536].splitlines()[:21] if line.strip()][:20]
    best = (1, ",")
    for separator in SEPARATORS:
        counts = {len(row) for row in csv.reader(lines, delimiter=separator) if row}
        if len(counts) == 1 and max(counts) > best[0]:
            best = (max(counts), separator)
    if best[0] == 1:  # ragged lines: the commonest one, that the error may tell
        counts = {s: sum(s in line for line in lines) for s in SEPARATORS}
        top = max(SEPARATORS, key=counts.get)
        if counts[top]:
            return top
        parts = {len(line.split()) for line in lines}
        if len(parts) == 1 and max(parts) > 1 and all(map(is_number, lines[-1].split())):
            return r"\s+"
    return best[1]


def _split(text, separator):
    """Yield (line number, cells) of the lines that are not empty."""
    if separator == r"\s+":
        yield from (
            (i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()
        )
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _has_header(cells, notes):
    """Return whether a table's first line names its columns."""
    plain = [cell.strip().lower() for cell in cells]
    words = [cell for cell in plain if cell not in MISSING and not is_number(cell)]
    if any(cell in LABEL_NAMES or cell in NAMES_OF_ROWS for cell in plain):
        return True
    if words and len(words) + plain.count("") == len(plain):
        return True
    counted = [str(i) for i in range(len(cells))]
    if len(cells) > 2 and plain == counted:
        notes.append("line 1 counts the columns (0, 1, 2, ...) and is taken as their names")
        return True
    # pandas' numbered columns beside its index:
    return plain[0] == "" and plain[1:] == counted[: len(cells) - 1] and len(cells) > 2


def parse(path: str | os.PathLike) -> tuple[list[str], list[pd.Series], list[str], bool]:
    """Return the names and columns (pandas' series), the notes, and whether there is a header."""
    notes = []
    excel = Path(path).suffix.lower() == ".xlsx"
    text, above = _without_comments(_from_excel(path) if excel else _decoded(path, notes), notes)
    separator = "," if excel else _separator(text)
    with reading(path, "a CSV table"):
        lines = _split(text, separator)
        first = next(lines, (1, []))[1]
        header = _has_header(first, notes) if first else False
        width = len(first)
        n = 0 if header else 1
        for number, cells in lines:
            n += 1
            if len(cells) != width:
                raise UserError(
                    f"{path}: {len(cells)} values in line {number + above}, expected {width} as in "
                    f"line {1 + above}"
                )
    if not first or not n:
        expected = f"{width} values in each" if first else "a table of numbers"
        raise UserError(f"{path}: no rows, expected {expected}")
    names = [cell.strip() for cell in first] if header else [str(i + 1) for i in range(width)]
    if separator not in (",", r"\s+"):
        shown = {"\t": "tabs"}.get(separator, repr(separator))
        notes.append(f"columns are separated by {shown}")
    options = {
        "sep": separator,
        "header": None,
        "skiprows": 1 if header else 0,
        "dtype": str,
        "keep_default_na": False,
        "na_filter": False,
        "skipinitialspace": True,
        "engine": "c",
    }
    with reading(path, "a CSV table"):
        frame = pd.read_csv(io.StringIO(text, newline=""), **options)
    if len(frame) != n:
        raise UserError(f"{path}: {len(frame)} rows read of {n}, expected all")
    frame.columns = range(width)
    cells = {i: frame[i].str.strip() for i in frame.columns}
    comma = separator != "," and _decimal_comma(cells)
    if comma:
        notes.append("commas are taken as decimal points")
        cells = {i: _points(column) for i, column in cells.items()}
    columns = [_numbers(column) for column in cells.values()]
    return names, columns, notes, header


def _decimal_comma(cells):
    """Whether numbers are written with a comma: some are, and none with a point."""
    found = False
    for column in cells.values():
        some = column.iloc[:1000]
        found |= bool(some.str.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?").any())
        if some.str.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?").any():
            return False
    return found


def _points(column):
    fits = column.str.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
    return column.where(~fits, column.str.replace(",", ".", regex=False))


def _numbers(column):
    """Return text as numbers, NaN where a value is missing; as it is if any is another word."""
    lowered = column.str.lower()
    missing = lowered.isin(MISSING)
    with suppress(ValueError, OverflowError):
        values = column.where(~missing, "nan").to_numpy(dtype=str)
        if (~missing).any() and lowered[~missing].isin(("true", "false")).all():
            return pd.Series(np.where(missing, np.nan, lowered == "true"))
        if not missing.any():
            with suppress(ValueError, OverflowError):
                return pd.Series(values.astype(np.int64))
        return pd.Series(values.astype(np.float64))
    return column
