"""What a finished run has left in its folder, and its scores on labels that have changed since."""

import hashlib
import json
import os

import numpy as np
import pandas as pd

import metrics
from common.errors import UserError
from common.files import save_json
from common.logs import logger
from datasets import Dataset
from experiments.description import now
from experiments.predict import write_table


def read_record(path: str | os.PathLike) -> dict:
    """Return the JSON object in a file; {} if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def read_result(folder: str | os.PathLike) -> dict:
    """Return the result of the run in a folder, of a failed one too; {} if there is none."""
    return read_record(os.path.join(folder, "result.json"))


def finished(folder: str | os.PathLike) -> dict | None:
    """Return the result of the run in a folder, or None if it is not done or has failed."""
    result = read_result(folder)
    return result if result.get("status") == "ok" else None


def labels_hash(data: Dataset) -> dict[str, str]:
    """Return what may differ in a user's file of the same samples, as a column: labels, names."""
    if data.named:
        return {}
    digest = hashlib.sha256("\n".join(data.rows or ()).encode())
    digest.update(b"" if data.y is None else data.y.tobytes())
    return {"labels_hash": digest.hexdigest()[:16]}


def score_anew(folder: str | os.PathLike, data: Dataset) -> dict | None:
    """Return the finished result in a folder, with the scores of the labels that `data` has now.

    No label and no name of a sample decides a run: where a user has changed them in the file, the
    run stays, and its scores and the names in labels.csv are brought up to date. Of a file that
    has no labels any more, and of a run whose labels.npy is lost, the scores stay as they were.
    """
    result = finished(folder)
    if result is None or (digest := labels_hash(data)).items() <= result.items():
        return result
    scores = {}
    if data.y is not None:
        try:
            scores = metrics.scores(data.y, read_array(folder, "labels.npy"))
        except UserError as error:
            logger.warning(f"{error}: its scores may be of other labels than {data.name} has now")
            return result
    result |= digest
    if not scores.items() <= result.items():
        if "acc" in result:
            logger.warning(
                f"{folder!r} was scored on other labels than {data.name} has now: its scores are "
                "made anew, those in its log.csv are of the labels before"
            )
        others = [name for name in result if name.endswith(("_acc", "_nmi", "_ari"))]
        result = {name: value for name, value in result.items() if name not in others}
        result |= scores | {"finished": now()}
    path = os.path.join(folder, "labels.csv")
    if os.path.exists(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table["sample"] = range(data.n) if data.rows is None else data.rows
        write_table(path, table)
    save_json(os.path.join(folder, "result.json"), result)
    return result


def read_array(folder: str | os.PathLike, name: str) -> np.ndarray:
    """Return an array of a run's folder; UserError if its file is missing or damaged."""
    path = os.path.join(folder, name)
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path!r}: {error}") from error
