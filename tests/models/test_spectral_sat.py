"""SpectralSAT: what becomes of its partition, and when training is taken back."""

import numpy as np
import pytest

from models import build
from models.core import classifier, graphs
from models.core.monitor import Monitor
from models.core.tangents import tangent_neighbors

SMALL = {
    "neighbors": (5, 8),
    "judge": 5,
    "candidates": 20,
    "n_init": 2,
    "partners": 2,
    "fit_steps": 40,
    "batch_size": 64,
}
K = 10


class Log(Monitor):
    def __init__(self):
        self.notes, self.steps = [], []

    def note(self, text):
        self.notes.append(text)

    def row(self, phase, step, values, labels=None):
        self.steps.append((phase, step))


@pytest.fixture(scope="module")
def x(digits):
    return digits[:400]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(classifier, "FILTERS", (16, 24, 32))


def fit(x, **settings):
    log = Log()
    return build("SpectralSAT-DA", K, monitor=log, **SMALL | settings).fit(x), log


def share(a, b):
    """Return the share of samples with equal labels, of networks fitted to the same partition."""
    return float(np.mean(a == b))


def test_training_that_leaves_the_neighbours_is_taken_back(x):
    """Without entropy and sizes the predictions become alike: every term is lowest there."""
    spoilt = {"maxiter": 100, "entropy_weight": 0.0, "size_weight": 0.0, "partners_until": 1.0}
    kept, log = fit(x, **spoilt, most_lost=1.0)
    back, told = fit(x, **spoilt)
    assert kept.n_iter_ == 40 + 100 and back.n_iter_ == 40 + 100 + 5 * 40
    assert "back to the partition" in told.notes[-1] and "back to" not in log.notes[-1]
    assert share(back.labels_, back.initial_labels_) > 0.9
    assert share(back.labels_, back.initial_labels_) > share(kept.labels_, kept.initial_labels_)
    assert (back.predict(x) == back.labels_).all()
    steps = [step for _, step in told.steps]
    assert steps == sorted(steps) and steps[-1] == back.n_iter_


def test_training_that_keeps_them_is_the_result(x):
    model, log = fit(x, maxiter=30)
    assert model.n_iter_ == 70 and "share" in log.notes[-1] and "back" not in log.notes[-1]


def test_without_steps_on_the_partition_nothing_is_taken_back(x):
    model, _ = fit(x, maxiter=5, fit_steps=0, most_lost=0.0)
    assert model.n_iter_ == 5


def test_information_of_neighbours_by_hand():
    """Two pairs of mutual neighbours: log 2 where a pair is a cluster, 0 where pairs are split."""
    w = graphs.unweighted_graph(np.array([[1], [0], [3], [2]]), 1)
    assert w.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert graphs.neighbor_information(w, np.array([0, 0, 1, 1])) == pytest.approx(np.log(2))
    assert graphs.neighbor_information(w, np.array([0, 0, 0, 0])) == pytest.approx(0)
    half = graphs.neighbor_information(w, np.array([0, 1, 0, 0]))
    joint = np.array([[0.5, 0.25], [0.25, 0.0]])
    p = joint.sum(axis=0)
    expected = sum(
        joint[i, j] * np.log(joint[i, j] / p[i] / p[j])
        for i in (0, 1)
        for j in (0, 1)
        if joint[i, j]
    )
    assert half == pytest.approx(expected)


@pytest.fixture(scope="module")
def coloured():
    """Squares of three colours, equally bright but for noise; and their colours."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    colours = np.array([[0.7, 0.4, 0.4], [0.4, 0.7, 0.4], [0.4, 0.4, 0.7]])[y]
    light = rng.normal(0, 0.05, (120, 8, 8, 1)) + rng.normal(0, 0.02, (120, 8, 8, 3))
    return np.float32(colours[:, None, None] + light), y


@pytest.mark.parametrize("side", [1, 6])  # 48 x 48 x 3: blocks of pixels are averaged
def test_the_partition_sees_colours(coloured, side):
    x, y = (array[::2] for array in coloured)
    large = x.repeat(side, axis=1).repeat(side, axis=2)
    near = tangent_neighbors(large, 5, 0.04 * 8 * side, 30)
    assert (y[near] == y[:, None]).all()


def test_flat_images_and_images_without_channels(x, eager):
    """A pipeline gives flat samples: 8 x 8 pixels in rows of 64."""
    x = x[:200]
    few = {"fit_steps": 2, "maxiter": 2}
    first, _ = fit(x, **few)
    for other in (x.reshape(len(x), 64), x[..., 0]):
        model, _ = fit(other, **few)
        assert share(model.labels_, first.labels_) == 1.0
        assert share(model.predict(other), model.labels_) == 1.0
