"""One run: a method on a data set with a seed, in a folder of its own that it can resume in.

A run folder holds config.json (what the run is), log.csv, labels.npy, embedding.npy, clusters.png,
ae_weights.h5, model_final.h5 and result.json, which is written last: its presence means done.
Labels, where there are any, are used here and only here, to score.
"""

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass, field
from inspect import signature

from common.checkout import commit_at_start
from common.errors import UserError
from common.files import remove, remove_leftovers, save_array, save_json
from datasets import DATASETS, PROBLEMS, Dataset
from experiments import health, quality
from experiments.description import describe
from experiments.predict import label_table, write_table
from experiments.run_files import (
    CHECKPOINTS,
    RUN_FILES,
    check_folder,
    held,
    labels_hash,
    score_anew,
)
from experiments.run_log import RunMonitor, read_log
from models import build, class_of
from models.core import novelty
from models.settings.base import Settings
from models.settings.presets import preset

# What main.py hands on to a run, and a run to its method, as it is.
SHARED = ("cache_dir", "pretrained_weights", "checkpoint_seconds", "steps_per_execution")


@dataclass(frozen=True)
class Run:
    """What is to be run, and where."""

    method: str
    data: Dataset
    seed: int
    config: Settings
    folder: str
    cache_dir: str | None = None
    pretrained_weights: str | None = None
    checkpoint_seconds: float = 60.0
    steps_per_execution: int = 1
    environment: dict = field(default_factory=dict)  # device, threads: recorded, not decided here

    def identity(self) -> dict:
        """Return what decides the result: a folder is only ever resumed by the same run."""
        return identity(self.method, self.data, self.seed, self.config, self.pretrained_weights)

    def overrides(self) -> str:
        """Return the settings that are not the paper's, as "name=value" separated by spaces."""
        paper = preset(self.method, self.data.preset_name, self.data.n, self.data.own_vectors)
        changes = differences(self.config, paper)
        if self.data.named and self.data.n_clusters != PROBLEMS[self.data.name][0]:
            changes.append(f"n_clusters={self.data.n_clusters}")
        if self.pretrained_weights is not None:
            changes.append(f"pretrained_weights={_file_hash(self.pretrained_weights)}")
        return " ".join(changes)


def identity(
    method: str, data: Dataset, seed: int, config: Settings, pretrained_weights: str | None = None
) -> dict:
    """Return what decides a run's result, as plain data.

    A user's file is distinguished from the data set whose name it has: its labels, which no
    hash holds, may be others.
    """
    clash = not data.named and data.name in DATASETS
    return {
        "method": method,
        "dataset": data.name,
        "n": data.n,
        "k": int(data.n_clusters),
        "seed": seed,
        "data_hash": data.sha256[:16],
        "config": config.identity_dict(),
        "pretrained_weights": _file_hash(pretrained_weights) if pretrained_weights else None,
    } | ({"source": "file"} if clash else {})


def differences(config: Settings, paper: Settings) -> list[str]:
    """Return the settings of a record that differ from another's, as "name=value"."""
    other = paper.to_dict()
    own = {name: getattr(config, name) for name in other if hasattr(config, name)}
    own |= config.to_dict()  # which leaves out some settings at their defaults
    return [f"{name}={_short(own[name])}" for name in own if own[name] != other.get(name)]


def _short(value):
    if isinstance(value, dict):  # an optimizer
        value = dict(value)
        return f"{value.pop('name')}({','.join(f'{v:g}' for v in value.values())})"
    return value


def _file_hash(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise UserError(f"cannot read the weights file {path!r}: {error.strerror}") from error


def _claim(run, overwrite):
    """Check that the folder is free for, or holds, this very run; write config.json."""
    if overwrite:
        remove(run.folder, (*RUN_FILES, *CHECKPOINTS))
    check_folder(run.folder, run.identity())
    save_json(os.path.join(run.folder, "config.json"), run.identity())


def make_folder(path: str) -> None:
    """Create a folder that can be written to; UserError if that is impossible."""
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # has no name: two processes may try at once
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {path!r}: {error.strerror}") from error


def execute(run: Run, show: bool = True, overwrite: bool = False, command: str = "") -> dict:
    """Carry out a run, or what is left of it, and return its result.

    The result is a row of results.csv, and stands in result.json too.

    Parameters
    ----------
    run : Run
    show : bool
        Progress on stderr.
    overwrite : bool
        Start over, whatever the folder holds.
    command : str
        The command line, kept in the result.

    Raises
    ------
    UserError
        If the folder holds another run, cannot be written, or is in use.
    TrainingFailed
        If the loss becomes NaN or infinite.
    """
    commit_at_start()  # main.py has asked before: this is for others
    make_folder(run.folder)

    with held(run.folder):
        remove_leftovers(run.folder)
        _claim(run, overwrite)
        done = score_anew(run.folder, run.data)
        if done is not None:
            return done
        begin = time.monotonic()
        log, data, k = os.path.join(run.folder, "log.csv"), run.data, int(run.data.n_clusters)
        monitor = RunMonitor(log, data.y, show, run.config.logged, data.x, k)
        deep = {name: getattr(run, name) for name in SHARED}
        deep |= {"run_dir": run.folder, "workers": run.environment.get("threads", 1)}
        parameters = signature(class_of(run.method)).parameters
        model = build(
            run.method,
            run.data.n_clusters,
            config=run.config,
            random_state=run.seed,
            monitor=monitor,
            **{name: v for name, v in deep.items() if name in parameters},
        )
        try:
            model.fit(run.data.x)
        finally:
            monitor.close()
        return _keep(run, model, monitor, command, time.monotonic() - begin)


def _keep(run, model, monitor, command, seconds):
    """Write a fitted run's files, result.json last, and drop its checkpoint."""
    from experiments import run_figure as report

    def path(name):
        return os.path.join(run.folder, name)

    x, labels = run.data.x, model.labels_
    model.prepared_ = run.data.prepared or {"shape": list(x.shape[1:])}
    model.kept_ = novelty.references(x)
    model.save(path("model_final.h5"))
    if hasattr(model, "save_keras"):
        model.save_keras(run.folder)
    z = model.transform(x)
    arrays = {"labels.npy": labels, "embedding.npy": z}
    if hasattr(model, "pretrained_codes_"):
        arrays["pretrained_codes.npy"] = model.pretrained_codes_
    for name, array in arrays.items():
        save_array(path(name), array)
    memberships = model.memberships(x)
    table = label_table(x, labels, memberships, model.kept_, run.data.rows)
    write_table(path("labels.csv"), table)
    start = model.other_labels().get("kmeans") if run.config.deep and model.n_iter_ else None
    log, graph = read_log(monitor.path), monitor.graph
    signals = quality.signals(model, x, z, labels, memberships, graph, start, model.converged_, log)
    found = health.judge(signals, memberships.shape[1], run.data.n)
    title = f"{run.method} on {run.data.name}, seed {run.seed}"
    report.cluster_figure(path("clusters.png"), x, z, labels, memberships, title, found.line())
    result = describe(run, model, command, seconds) | labels_hash(run.data) | found.columns()
    save_json(path("result.json"), result)
    remove(run.folder, CHECKPOINTS)
    return result
