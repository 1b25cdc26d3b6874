"""What a finished run has left in its folder, and its scores on labels that have changed since."""

import contextlib
import hashlib
import json
import math
import numbers
import os
from collections.abc import Iterator

import numpy as np
import pandas as pd

import metrics
from common.errors import FolderInUse, UserError
from common.files import save_json
from common.locks import locked
from common.logs import logger
from datasets import Dataset
from experiments.description import ABOUT, about, now
from experiments.predict import write_table

RUN_FILES = (
    *("config.json", "log.csv", "labels.npy", "labels.csv", "embedding.npy"),
    *("pretrained_codes.npy", "clusters.png", "n_clusters.csv", "n_clusters.png"),
    *("ae_weights.h5", "model_final.h5", "result.json", "encoder.keras", "autoencoder.keras"),
    *("encoder.weights.h5", "classifier.keras", "classifier.weights.h5"),
    *("checkpoint*.h5.damaged", "stderr.txt"),
    *("choice.json", "consensus.npy", "company.npy"),  # of several trials
)
CHECKPOINTS = ("checkpoint*.h5",)
WAY_OUT = "choose another --save-dir, or --overwrite it"  # where a folder is taken
# What is printed of a finished result, and of its health, if that has been judged.
PRINTED = {"n": int, "k": int, "seed": int, "iterations": int, "seconds_total": float}
JUDGED = {
    "reasons": str,
    "empty_clusters": int,
    "smallest_cluster": float,
    "largest_cluster": float,
}
# Numbers that a result need not have.
NUMBERS = (
    *("acc", "nmi", "nmi_geometric", "ari", "kmeans_acc", "kmeans_nmi", "kmeans_ari", "clusters"),
    *("stability", "neighbor_agreement", "uncertain", "start_agreement", "changed", "drift"),
)
KINDS = {int: "an integer", float: "a number", str: "a text"}


def read_record(path: str | os.PathLike) -> dict:
    """Return the JSON object in a file; {} if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def refuse_others(folder: str | os.PathLike, there: dict, here: dict) -> None:
    """Raise UserError if the record of a folder is of another run than the one here, and say how.

    `there` is {} where the record is damaged.
    """
    if not there:
        raise UserError(f"{str(folder)!r} holds a damaged record of a run: {WAY_OUT}")
    keys = _different(there, here)
    if keys == ["config"] and isinstance(there.get("config"), dict):
        there, here = there["config"], here["config"]
        keys = _different(there, here)
    if keys:
        parts = [f"{k} {there.get(k)!r} there, {here.get(k)!r} here" for k in keys if k != "config"]
        what = "; ".join(parts or ["other settings"])
        raise UserError(f"{str(folder)!r} holds another run ({what}): {WAY_OUT}")


def _different(there, here):
    return [name for name in here | there if there.get(name) != here.get(name)]


def read_result(folder: str | os.PathLike) -> dict:
    """Return the result of the run in a folder, of a failed one too; {} if there is none."""
    return read_record(os.path.join(folder, "result.json"))


def finished(folder: str | os.PathLike) -> dict | None:
    """Return the result of the run in a folder, or None if it is not done or has failed."""
    result = read_result(folder)
    return result if result.get("status") == "ok" else None


def check_folder(folder: str, identity: dict) -> None:
    """Refuse a folder that holds another run than the one of this identity, or several."""
    path, result, names = os.path.join(folder, "config.json"), finished(folder) or {}, []
    if os.path.exists(path):
        refuse_others(folder, read_record(path), identity)
        names = [name for name in ABOUT if name in result]
    elif result:
        names = [*ABOUT, "config_hash"]
    elif os.path.exists(os.path.join(folder, "choice.json")):
        raise UserError(f"{folder!r} holds the answer of several runs: {WAY_OUT}")
    if names:
        here = about(identity)
        there = {name: result.get(name) for name in names}
        refuse_others(folder, there, {name: here[name] for name in names})


@contextlib.contextmanager
def held(folder: str) -> Iterator[None]:
    """Hold the lock of a run's folder; FolderInUse if another process does."""

    def in_use():
        raise FolderInUse(f"{folder!r} is in use by another process")

    with locked(os.path.join(folder, "lock"), in_use):
        yield


def check_result(folder: str | os.PathLike, result: dict, scored: bool = False) -> dict:
    """Return a finished result, or raise UserError if what is printed of it is not as written.

    `scored`: it must have an accuracy.
    """
    judged = JUDGED if "verdict" in result else {}
    more = {name: float for name in NUMBERS if name in result or (scored and name == "acc")}
    for name, kind in (PRINTED | judged | more).items():
        value = result.get(name)
        allowed = {float: numbers.Real, int: numbers.Integral}.get(kind, kind)
        whole = isinstance(value, allowed) and not isinstance(value, bool)
        if not whole or (kind is float and not math.isfinite(value)):
            raise UserError(
                f"{os.path.join(folder, 'result.json')!r}: {name}={value!r}, expected "
                f"{KINDS[kind]}: it has been changed by hand; --overwrite makes the run again"
            )
    return result


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
            scores = metrics.scores(data.y, read_labels(folder, data))
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
    _rename(folder, data)
    save_json(os.path.join(folder, "result.json"), result)
    return result


def _rename(folder, data):
    """Give the rows of labels.csv the samples' names; leave a table that others have changed."""
    path = os.path.join(folder, "labels.csv")
    if not os.path.exists(path):
        return
    try:
        labels = read_labels(folder, data)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if table.get("label", pd.Series()).tolist() != labels.astype(str).tolist():
            raise ValueError("its labels are not those of labels.npy, in this order")
    except (OSError, ValueError, UserError) as error:
        logger.warning(f"{path!r} keeps the names of samples that it has: {error}")
        return
    table["sample"] = range(data.n) if data.rows is None else data.rows
    write_table(path, table)


def read_labels(folder: str | os.PathLike, data: Dataset) -> np.ndarray:
    """Return the labels in a run's folder, int (n,); UserError if they are not one a sample."""
    labels = read_array(folder, "labels.npy")
    whole = labels.shape == (data.n,) and labels.dtype.kind in "iu"
    if not whole or not 0 <= labels.min() <= labels.max() < data.n:
        path = os.path.join(folder, "labels.npy")
        raise UserError(
            f"{path!r}: expected {data.n} integers from 0 to {data.n - 1}, "
            f"the labels of {data.name}"
        )
    return labels


def read_array(folder: str | os.PathLike, name: str) -> np.ndarray:
    """Return an array of a run's folder; UserError if its file is missing or damaged."""
    path = os.path.join(folder, name)
    try:
        array = np.load(path)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return array
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path!r}: {error}") from error
