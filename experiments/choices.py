"""choices.csv: which of several runs that differ in the seed alone was chosen; the consensus."""

import csv
import os

from common.errors import UserError
from common.files import replacing
from common.locks import locked

COLUMNS = [
    *("method", "dataset", "n", "k", "data_hash", "overrides", "config_hash", "runs", "seeds"),
    *("chosen_seed", "chosen_verdict", "company", "similarity", "chosen_acc", "consensus_acc"),
    *("mean_acc", "best_acc", "chosen_nmi", "consensus_nmi", "finished"),
]
KEY = ("method", "dataset", "data_hash", "k", "config_hash")  # two rows, one question


def read(path: str | os.PathLike) -> list[dict]:
    """Return the rows of a choices.csv as dicts of text; none if there is no such file."""
    if not os.path.exists(path):
        return []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names, rows = set(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no table as it was written: {error}") from error
    wrong = [i for i, row in enumerate(rows, 2) if None in row or None in row.values()]
    if wrong or not set(COLUMNS) <= names:
        where = f"line {wrong[0]}" if wrong else "line 1"
        raise UserError(f"{path}, {where}: expected {', '.join(COLUMNS)}; move it away")
    return rows


def keep(path: str | os.PathLike, rows: list[dict]) -> None:
    """Put rows into a choices.csv; a row replaces one on the same runs but fewer."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with locked(f"{path}.lock"):
        kept = {tuple(row[name] for name in KEY): row for row in read(path)}
        for row in rows:
            text = {name: str(row.get(name, "")) for name in COLUMNS}
            key = tuple(text[name] for name in KEY)
            if key not in kept or int(kept[key]["runs"]) <= int(text["runs"]):
                kept[key] = text
        with replacing(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept[key] for key in sorted(kept))
