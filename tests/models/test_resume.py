"""Runs killed at many moments, method by method: the same labels and log as without a kill."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow  # noqa: F401 (so that conftest sets it up)
from conftest import uncompiled
from test_n2d import FakeUMAP

from experiments.run_log import RunMonitor, read_log
from models import METHODS, build, spectral_sat
from models.core import classifier
from models.core.graphs import lowest_cut
from models.core.networks import AUTOENCODERS, conv_autoencoder, dense_autoencoder
from models.core.phases import once
from models.core.training import Trainer
from models.dscdan import joint as dscdan
from models.dscdan import spectralnet
from models.kingdra import imsat
from models.settings.base import Adam

K, N = 4, 40
TIMES = ("seconds", "graph_seconds")  # columns of the log that no two runs have in common
PRETRAINED = {"pretrain_epochs": 2, "n_init": 2, "batch_size": 20}
ONCE = {"pretrain_epochs": 1}  # where another method has the same pretraining
STEPS = PRETRAINED | {"maxiter": 4, "update_interval": 2, "tol": 0.0}
PASSES = PRETRAINED | {"maxiter": 4, "tol": 0.0}
DUAL = PRETRAINED | {"latent_dim": 6, "filters": (3, 4)}
SPECTRAL = {"head": (9,), "cluster_batch_size": 20, "maxiter": 4, "update_interval": 2}
LADDER = {
    "widths": (9, 8),
    "batch_size": 20,
    "confidence": 0.0,
    "rounds": 3,
    "epochs_first": 1,
    "epochs": 2,
}
SPECTRAL_SAT = {"maxiter": 4, "fit_steps": 2, "neighbors": (3, 4), "n_init": 2, "batch_size": 20}
SETTINGS = {
    "FcDEC-DA": STEPS,
    "ConvIDEC": STEPS | ONCE,
    "FcDCN": PASSES | ONCE | {"update_interval": 2},
    "ASPC-DA": PASSES | ONCE | {"epochs": 3},
    "ASPC-DA-RCC": PASSES
    | ONCE
    | {"maxiter": 5, "epochs": 2, "warmup_epochs": 1, "n_neighbors": 4, "min_share": 0.05},
    "AE+k-means": PRETRAINED,
    "N2D": PRETRAINED,
    "VaDE": PRETRAINED | {"cluster_batch_size": 20, "epochs": 3, "decay_epochs": 1},
    "SAE+k-means": PRETRAINED | {"layer_steps": 2, "pretrain_steps": 3, "burn_in": 1},
    "DEC": STEPS | {"layer_steps": 1, "pretrain_steps": 2, "burn_in": 1},
    "DCN": PASSES | ONCE | {"layer_epochs": 1, "epochs": 3, "kmeans_epochs": 1, "scale": 1.0},
    "ConvAE+MI+RS": DUAL,
    "DSCDAN": DUAL | ONCE | SPECTRAL | {"spectral_steps": 2, "head_starts": 2},
    # Too large a rate, which drops soon to the least: the first stage converges in its 4th pass.
    "SpectralNet": PRETRAINED
    | ONCE
    | SPECTRAL
    | {
        "siamese": (9, 5),
        "siamese_epochs": 9,
        "siamese_batch": 80,
        "siamese_patience": 0,
        "optimizer": Adam(0.1),
        "drop": 0.01,
    },
    "KINGDRA-LADDER-IM": LADDER | {"rounds": 2, "epochs": 1, "members": 2, "high": 1, "low": 1},
    "LADDER-IM": LADDER,
    "DeepRIM": {"widths": (9, 8), "batch_size": 20, "epochs": 3},
    "IMSAT-VAT": {"widths": (9, 8), "batch_size": 20, "epochs": 3, "neighbor": 3},
    "SpectralSAT": SPECTRAL_SAT,
    "SpectralSAT-DA": SPECTRAL_SAT | {"most_lost": 1.0},  # never back to the partition
}


@pytest.fixture(scope="module", autouse=True)
def small_and_uncompiled():
    """Small networks, and steps that are not compiled: there are only few of each."""
    with pytest.MonkeyPatch.context() as patch:
        conv = lambda *args: conv_autoencoder(*args, filters=(3, 4, 5))  # noqa: E731
        patch.setitem(AUTOENCODERS, "conv", conv)
        patch.setattr(classifier, "FILTERS", (3, 4))
        patch.setattr(classifier, "UNITS", (9,))
        patch.setattr(spectralnet, "LEAST", 1e-3)
        patch.setattr(spectral_sat, "BACK", 2)
        with uncompiled():
            yield


class Killed(BaseException):
    pass


class Killer(RunMonitor):
    """Writes the log, and raises after the training of one step, before its checkpoint.

    Attributes
    ----------
    moments : list of (phase, step)
        Of the steps made.
    early : list of (phase, step)
        Of these, the first of each phase and the first after each row of the log.
    warnings : list of str
    """

    def __init__(self, folder, y, columns, at=None):
        super().__init__(folder / "log.csv", y, show=False, columns=columns)
        self.at, self.moments, self.early, self.warnings, self._new = at, [], [], [], True

    def begin(self, phase, total, step):
        super().begin(phase, total, step)
        self._new = True

    def row(self, *args, **others):
        super().row(*args, **others)
        self._new = True

    def progress(self, phase, step):
        self.moments.append((phase, step))
        if self._new:
            self.early.append((phase, step))
        self._new = False
        if (phase, step) == self.at:
            raise Killed

    def warn(self, text):
        self.warnings.append(text)


def fit(method, folder, x, y, at=None, keep=True):
    """Fit in a folder, up to a moment; return the model, or None if it was killed.

    Without `keep` there are no checkpoints.
    """
    folder.mkdir(exist_ok=True)
    kept = {"run_dir": folder, "checkpoint_seconds": 0} if keep else {}
    model = build(method, K, **kept, **SETTINGS[method])
    monitor = model.monitor = Killer(folder, y, model.config.logged, at)
    if model.config.pretrains and keep:
        model.cache_dir = folder / "cache"
    layers = (9, 8) if "layer" in METHODS[method].module else (9,)
    try:
        with pytest.MonkeyPatch.context() as patch:
            dense = lambda *args: dense_autoencoder(*args, widths=layers)  # noqa: E731
            patch.setitem(AUTOENCODERS, "fc", dense)
            model.fit(x)
    except Killed:
        return None
    finally:
        assert not monitor.warnings
    return model


def log(folder):
    """The rows of a log without their times."""
    rows = read_log(folder / "log.csv")
    return [{name: v for name, v in row.items() if name not in TIMES} for row in rows]


def moments(monitor):
    """Return moments early in each phase and round, halfway to the next, and the last one."""
    every, early = monitor.moments, monitor.early
    places = [every.index(moment) for moment in early] + [len(every)]
    halfway = [every[(a + b) // 2] for a, b in zip(places, places[1:], strict=False)]
    return sorted({*early, *halfway, every[-1]}, key=every.index)


@pytest.fixture(scope="module")
def samples(digits):
    from sklearn.datasets import load_digits

    return digits[:N], load_digits().target[:N]


def test_every_kind_of_training_method_is_here():
    kinds = {METHODS[method].path for method in SETTINGS}
    deep = {row.path for row in METHODS.values() if not row.module.startswith("models.baselines.")}
    assert deep == kinds


@pytest.mark.parametrize("method", SETTINGS)
def test_labels_and_log_are_those_of_a_run_without_kills(method, samples, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FakeUMAP))  # itself takes long
    straight = fit(method, tmp_path / "straight", *samples, keep=False)
    expected = log(tmp_path / "straight")
    assert expected[-1]["phase"] == "final" and len(expected) >= 2
    assert len(set(straight.labels_)) > 1  # there is something to be equal
    if method == "KINGDRA-LADDER-IM":
        assert float(expected[-2]["cross_entropy"]) > 0  # with pseudo-labels, too
    points = moments(straight.monitor)
    assert len(points) >= 3
    killed = 0
    for at in points:
        killed += fit(method, tmp_path / "killed", *samples, at) is None
    assert killed >= len(points) - 1  # each resumed run gets to the next moment
    model = fit(method, tmp_path / "killed", *samples)
    assert np.array_equal(model.labels_, straight.labels_)
    assert log(tmp_path / "killed") == expected


@pytest.mark.parametrize("method", ["DSCDAN", "DSCDAN-spectral-init"])
def test_the_starts_of_a_head_go_on_where_a_kill_left_them(method, samples, tmp_path, monkeypatch):
    """A kill after each checkpoint of theirs: no step is made twice, k-means and cut only once."""
    own = {"maxiter": 1, "spectral_steps": 2 if method == "DSCDAN" else 1}
    monkeypatch.setitem(SETTINGS, method, SETTINGS["DSCDAN"] | own)
    monkeypatch.setattr(dscdan, "LABEL_STEPS", 2)
    straight = fit(method, tmp_path / "straight", *samples, keep=False)
    save, run, steps, cuts = Trainer.save, Trainer.run, [], []

    def killed(self, path):
        save(self, path)
        if os.path.basename(path).startswith("checkpoint-head"):
            raise Killed

    def counted(self, *args, **others):
        before = self.step
        try:
            run(self, *args, **others)
        finally:
            if " head " in self.identity:
                steps.append(self.step - before)

    def cut(*args):
        cuts.append(1)
        return lowest_cut(*args)

    monkeypatch.setattr(Trainer, "save", killed)
    monkeypatch.setattr(Trainer, "run", counted)
    monkeypatch.setattr(dscdan, "lowest_cut", cut)
    kills, model = 0, None
    while model is None:
        model = fit(method, tmp_path / "killed", *samples)
        kills += model is None
        assert kills < 20
    wanted = 2 * 2 if method == "DSCDAN" else 2 * (2 + 1)
    assert sum(steps) == kills == wanted
    assert len(cuts) == (method != "DSCDAN")
    assert np.array_equal(model.labels_, straight.labels_)
    assert log(tmp_path / "killed") == log(tmp_path / "straight")


def test_what_was_computed_once_is_taken_up_by_the_same_run_only(tmp_path):
    path, calls, lines = tmp_path / "checkpoint-a.h5", [], []

    def compute():
        calls.append(1)
        return {"a": np.arange(len(calls))}

    for identity, expected in (("one", 1), ("one", 1), ("other", 2), ("other", 2)):
        found, seconds = once(path, identity, compute, lines.append)
        assert len(found["a"]) == expected and 0 <= seconds < 10
    path.write_bytes(b"damaged")
    assert len(once(path, "other", compute, lines.append)[0]["a"]) == 3
    assert len(lines) == 2 and all("starts over" in line and "\n" not in line for line in lines)
    assert len(once(None, "other", compute)[0]["a"]) == 4


def test_distances_to_neighbours_go_on_where_a_kill_left_them(samples, tmp_path, monkeypatch):
    x = samples[0].reshape(N, -1)
    whole, calls = imsat.neighbor_distances(x, 3), []
    monkeypatch.setattr(imsat, "PART", 15)
    distances = imsat.neighbor_distances

    def counted(x, neighbor, some):
        calls.append(some.start)
        if len(calls) == 2:
            raise Killed
        return distances(x, neighbor, some)

    monkeypatch.setattr(imsat, "neighbor_distances", counted)
    assert fit("IMSAT-VAT", tmp_path / "run", *samples) is None
    assert fit("IMSAT-VAT", tmp_path / "run", *samples) is not None
    assert calls == [0, 15, 15, 30]
    model = build("IMSAT-VAT", K, **SETTINGS["IMSAT-VAT"])
    model._monitor, model._identity = RunMonitor(tmp_path / "log.csv", show=False), ""
    np.testing.assert_allclose(model._distances(x)[0], whole, rtol=1e-5)
