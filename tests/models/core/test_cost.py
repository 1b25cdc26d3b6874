"""The longest time of a dry run against the operations in the graphs of the steps themselves."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models import build, preset
from models.core.cost import method_flops
from models.core.training import Trainer

K, N = 4, 120


def operations(graph):
    """Return how many operations the matrix products and convolutions of a graph take."""
    total = 0
    for op in graph.get_operations():
        if op.type == "MatMul":
            a, (rows, columns) = op.inputs[0].shape, op.outputs[0].shape
            inner = a[0] if op.get_attr("transpose_a") else a[1]
            total += 2 * rows * columns * inner
        elif op.type == "BatchMatMulV2":
            rows, columns = op.outputs[0].shape[-2:]
            inner = op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1]
            total += 2 * math.prod(op.outputs[0].shape) * inner
        elif op.type == "Conv2D":
            h, w, c, _ = op.inputs[1].shape
            total += 2 * math.prod(op.outputs[0].shape) * h * w * c
        elif op.type == "Conv2DBackpropInput":
            h, w, _, out = op.inputs[1].shape
            total += 2 * math.prod(op.inputs[2].shape[:3]) * out * h * w * op.outputs[0].shape[-1]
        elif op.type == "Conv2DBackpropFilter":
            total += 2 * math.prod(op.inputs[2].shape) * math.prod(op.outputs[0].shape[:3])
    return total


@pytest.fixture
def counted(monkeypatch):
    """Return a function: fit a method without training; its steps' operations, by the graphs."""
    found = []

    def keep(self, *args):
        self.parts = args
        return None, None

    def run(self, total, *args, **others):
        loss, weights, variables, _, augment = self.parts
        rows = tf.constant(self.rows(self.step))

        def step():
            x = tf.gather(self.x, rows)
            seed = tf.constant([0, 0])
            x = x if augment is None else augment(x, seed)
            targets = {name: tf.gather(t, rows) for name, t in self.targets.items()}
            with tf.GradientTape() as tape:
                parts = loss(x, targets, seed)
                value = tf.add_n([w * parts[name] for name, w in weights.items()])
            return [g for g in tape.gradient(value, [v.value for v in variables]) if g is not None]

        if total > self.step:
            if not hasattr(self, "operations"):  # a round after another has the same batches
                self.operations = operations(tf.function(step).get_concrete_function().graph)
            found.append((total - self.step) * self.operations)
        self._sums.assign(tf.ones_like(self._sums))  # as if there had been a step
        self.step = total

    monkeypatch.setattr(Trainer, "_compile", keep)
    monkeypatch.setattr(Trainer, "run", run)

    def fit(method, x, **settings):
        found.clear()
        model = build(method, K, **settings).fit(x)
        shape = x.shape[1:] if getattr(model.config, "network", "") == "conv" else (64,)
        told = method_flops(model.config, len(x), math.prod(x.shape[1:]), K, shape)
        return list(found), told

    return fit


SMALL = {"pretrain_epochs": 50, "n_init": 1, "batch_size": 40}
JOINT = {"cluster_batch_size": 40, "maxiter": 5000, "head": (64, 32)}
CASES = {
    "FcDEC": SMALL | {"maxiter": 9000, "update_interval": 900},
    "ConvIDEC": SMALL | {"maxiter": 9000, "update_interval": 900},
    "SpectralNet": SMALL | JOINT | {"siamese": (200, 90, 20), "siamese_epochs": 300},
    "DSCDAN": SMALL
    | JOINT
    | {
        "filters": (6, 8),
        "latent_dim": 20,
        "update_interval": 500,
        "spectral_steps": 15000,
        "head_starts": 2,
    },
    "LADDER-IM": {"batch_size": 40, "widths": (60, 50)},
    "IMSAT-VAT": {"batch_size": 40, "widths": (60, 50), "neighbor": 3, "epochs": 200},
}


@pytest.mark.parametrize("method", CASES)
def test_the_estimate_is_that_of_the_steps(counted, digits, method):
    stages, (pretraining, clustering) = counted(method, digits[:N], **CASES[method])
    if preset(method).pretrains:
        assert 0.75 < pretraining / stages.pop(0) < 1.3
    assert 0.8 < clustering / sum(stages) < 1.4


def test_spectralnet_counts_both_stages():
    """On MNIST: passes over the pairs and steps of the spectral network, no auto-encoder's."""
    config = preset("SpectralNet", "mnist", 70000)
    pretraining, clustering = method_flops(config, 70000, 784, 10)
    one = 10 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 10  # either network: 10-1024-1024-512-10
    pairs = 2 * 2 * 70000 // 128 * 128
    first, second = 400 * pairs * 2 * 6 * one, 40000 * 1024 * (6 + 2) * one
    assert first + second < clustering < 1.1 * (first + second)
    assert first > 3 * second
    assert pretraining == method_flops(preset("FcDEC", "mnist", 70000), 70000, 784, 10)[0]
    without = type(config)(siamese_epochs=0, maxiter=0)
    assert method_flops(without, 70000, 784, 10)[1] < 0.01 * clustering


def test_other_stages_are_counted():
    """Each against the same settings without it."""
    n, d, k = 10000, 784, 10

    def clustering(method, **changes):
        model = build(method, k, **changes)
        return method_flops(model.config, n, d, k)[1]

    five = clustering("DSCDAN-restarts", maxiter=0)
    assert five > 5 * clustering("DSCDAN", maxiter=0) / 2
    assert clustering("DSCDAN-restarts", maxiter=0, head_init="spectral") > five
    assert clustering("FcDEC", update_interval=10) > 2 * clustering("FcDEC", update_interval=1000)
    vat = clustering("IMSAT-VAT", epochs=1)
    assert vat > 2 * n * n * d and vat > clustering("IMSAT-RPT", epochs=1)
    short = clustering("KINGDRA-LADDER-IM", epochs=1, epochs_first=5)
    assert short == clustering("KINGDRA-LADDER-IM", epochs=5, epochs_first=5)
    assert np.isclose(clustering("DSCDAN", head=(8,)), clustering("DSCDAN", head=(9,)), rtol=0.01)
