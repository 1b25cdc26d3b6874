"""A run's row: what it is, scores, settings, times, machine and versions."""

import datetime
import importlib.metadata
import math
import platform
import resource
from typing import TYPE_CHECKING

import numpy as np

import metrics
from common.checkout import commit_at_start
from models.settings.base import digest

if TYPE_CHECKING:
    from experiments.runs import Run
    from models.core.estimator import Estimator


ABOUT = ("method", "dataset", "n", "k", "seed", "data_hash")  # of an identity, as columns


def about(identity: dict) -> dict:
    """Return the columns of results.csv that a run's identity gives."""
    config = identity["config"] | {"weights": identity["pretrained_weights"]}
    columns = {name: identity[name] for name in ABOUT}
    versions = {name: config.get(name, 1) for name in ("protocol", "pretrain_protocol")}
    return columns | {"config_hash": digest(config)} | versions


def describe(run: "Run", model: "Estimator", command: str, seconds: float) -> dict:
    """Return a run's row: scores, settings, time, machine, versions."""
    row = about(run.identity()) | {"status": "ok", "source": run.data.source}
    if run.data.y is not None:
        row |= metrics.scores(run.data.y, model.labels_)
    if run.data.y is not None and run.config.deep:
        for kind, labels in model.other_labels().items():
            found = [metrics.scores(run.data.y, one) for one in np.atleast_2d(labels)]
            for name in ("acc", "nmi") + ("ari",) * (kind == "kmeans"):
                row[f"{kind}_{name}"] = float(np.mean([score[name] for score in found]))
    if run.data.held_out is not None:
        x, y = run.data.held_out
        found = metrics.scores(y, model.predict(x))
        row |= {f"test_{name}": found[name] for name in ("acc", "nmi", "ari")}
    settings = ("pretrain_epochs", "aug_pretrain", "aug_cluster")
    row |= {name: getattr(run.config, name) for name in settings if hasattr(run.config, name)}
    if getattr(run.config, "n_init", None) == "auto":
        row["n_init_made"] = model.n_init_
    if run.config.finds_k:
        row["clusters"] = int(np.unique(model.labels_).size)
    row |= {
        "iterations": model.n_iter_,
        "converged": model.converged_,
        "overrides": run.overrides(),
        **{f"seconds_{name}": round(float(value), 2) for name, value in model.seconds_.items()},
        "seconds_steps": _rounded(sum(getattr(model, "step_seconds_", {}).values())),
        "seconds_total": round(float(sum(model.seconds_.values())), 2),
        "seconds_process": round(seconds, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        **run.environment,
        "precision": getattr(run.config, "precision", "float32"),
        "python": platform.python_version(),
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
        "scikit_learn": version("scikit-learn"),
        "numpy": np.__version__,
        "commit": commit_at_start(),
        "command": command,
        "finished": now(),
    }
    return row


def _rounded(seconds):
    return round(seconds, 2) if math.isfinite(seconds) else None


def version(package: str) -> str:
    """Return the version of an installed package, which need not be imported; "" if none is."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def now() -> str:
    """Return the date and time in UTC, ISO, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
