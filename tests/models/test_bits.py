"""Short runs of every kind of method give the numbers that they gave when these were recorded.

The test compares the losses of the log, and sums over weights and centres, to 2e-4: another
processor rounds differently. Bits of one machine are compared by hand, before and after a change:

    python tests/models/test_bits.py            # a hash of each run's log, labels and model file
    python tests/models/test_bits.py numbers    # EXPECTED anew
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from common import device  # noqa: E402

device.prepare()

import tensorflow as tf  # noqa: E402

from common.files import load_arrays  # noqa: E402
from models import build, preset  # noqa: E402
from models.core.estimator import KEPT  # noqa: E402
from models.core.monitor import Monitor  # noqa: E402
from models.core.networks import AUTOENCODERS, conv_autoencoder, dense_autoencoder  # noqa: E402
from models.settings.base import Adam  # noqa: E402

K, N, SEED = 4, 70, 3  # 70: each pass ends with a short batch
TIMES = ("seconds", "graph_seconds")
PRETRAINED = {"pretrain_epochs": 2, "n_init": 2, "batch_size": 20}
ONE = {"pretrain_shuffles": 1}
STEPS = PRETRAINED | {"maxiter": 6, "update_interval": 2, "tol": 0.0}
DUAL = PRETRAINED | {"latent_dim": 6, "filters": (3, 4)}
HEAD = {"head": (9, 8), "cluster_batch_size": 20, "maxiter": 6, "update_interval": 2}
JOINT = DUAL | HEAD | {"spectral_steps": 4, "head_starts": 2}
LADDER = {
    "widths": (9, 8),
    "batch_size": 20,
    "confidence": 0.0,
    "rounds": 3,
    "epochs_first": 1,
    "epochs": 2,
}
RUNS = {
    "FcDEC": STEPS,
    "FcDEC-DA": STEPS,
    "FcDEC-DA one-shuffle": STEPS | ONE,
    "FcIDEC": STEPS,
    "FcDCN": STEPS | {"update_interval": 4},
    "ASPC-DA": PRETRAINED | ONE | {"maxiter": 9, "tol": 0.0, "epochs": 3},
    "ConvDEC-DA": STEPS | ONE,
    "AE+k-means-DA": PRETRAINED | ONE,
    "DAE+k-means": PRETRAINED,
    "ConvAE+RS": DUAL,
    "ConvAE+MI+RS": DUAL,
    "ConvAE+MI+RS augmented": DUAL | ONE | {"aug_pretrain": True},
    "DSCDAN": JOINT,
    "DSCDAN augmented": JOINT | ONE | {"aug_pretrain": True, "aug_cluster": True},
    "DSCDAN-code": JOINT | {"spectral_steps": 0},
    "DSCDAN-spectral-init": JOINT | {"spectral_steps": 2},
    "SpectralNet": PRETRAINED
    | HEAD
    | {"siamese": (9, 5), "siamese_epochs": 2, "siamese_batch": 80, "optimizer": Adam(1e-3)},
    "LADDER-IM": LADDER,
    "KINGDRA-LADDER-IM": LADDER | {"members": 2, "high": 1, "low": 0},
    "IMSAT-VAT": {"widths": (9, 8), "batch_size": 20, "epochs": 2, "neighbor": 3},
    "IMSAT-RPT": {"widths": (9, 8), "batch_size": 20, "epochs": 2, "neighbor": 3},
}


class Log(Monitor):
    """Keeps the rows without their times."""

    def __init__(self):
        self.begins, self.rows = [], []

    def begin(self, phase, total, step):
        self.begins.append((phase, total, step))

    def row(self, phase, step, values, labels=None, others=None):
        told = {name: float(v) for name, v in values.items() if name not in TIMES}
        self.rows.append((phase, step, told, labels, others or {}))


def small_networks():
    """Make the auto-encoders of all runs small."""
    AUTOENCODERS["fc"] = lambda *args: dense_autoencoder(*args, widths=(9, 8, 7))
    AUTOENCODERS["conv"] = lambda *args: conv_autoencoder(*args, filters=(3, 4, 5))


def images():
    """Return N handwritten digits, float32 (N, 8, 8, 1)."""
    from sklearn.datasets import load_digits

    return (load_digits().images[:N, :, :, None] / 16.0).astype(np.float32)


def make(name, **others):
    """Return the unfitted model of a run."""
    method = name.split()[0]
    order = {"shuffle": False} if hasattr(preset(method), "shuffle") else {}  # as recorded
    return build(method, K, random_state=SEED, **order | RUNS[name] | others)


def arrays(model):
    """Return what the fitted model's file holds, {name: array}."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.h5")
        held = load_arrays(Path(folder) / "model.h5")[0]
    return {name: array for name, array in held.items() if not name.startswith(KEPT)}


def state_hash(model, x):
    """Return a hash of labels, model file and what the model gives for samples."""
    h = hashlib.sha256(repr((model.n_iter_, model.converged_)).encode())
    kept = arrays(model) | {
        "labels": model.labels_,
        "soft": model.memberships(x),
        "space": model.transform(x),
    }
    for name, array in sorted((kept | model.other_labels()).items()):
        h.update(name.encode())
        h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()[:16]


def log_hash(log):
    """Return a hash of the rows of a log and of what phases it announced."""
    h = hashlib.sha256(repr(log.begins).encode())
    for phase, step, told, labels, others in log.rows:
        h.update(repr((phase, step, sorted(told.items()))).encode())
        h.update(b"" if labels is None else np.asarray(labels, np.int64).tobytes())
        for name, some in sorted(others.items()):
            h.update(name.encode())
            for rows, found in some:
                h.update(b"" if rows is None else np.asarray(rows, np.int64).tobytes())
                h.update(np.asarray(found, np.int64).tobytes())
    return h.hexdigest()[:16]


def numbers(model, log):
    """Return {what: number}: the last losses of each phase, and the weights' sizes."""
    found = {}
    for phase, _, told, _, _ in log.rows:
        kept = (
            "loss",
            "reconstruction",
            "spectral",
            "contrastive",
            "ladder",
            "noise_kl",
            "cross_entropy",
            "augmentation",
            "distance",
            "relative",
        )
        found |= {f"{phase} {name}": told[name] for name in kept if name in told}
    for name, array in arrays(model).items():
        kind = name.split("/")[0]
        if kind.startswith(("statistics", "mappings", "orthonormal")):
            continue
        found[kind] = found.get(kind, 0.0) + float(np.abs(array).sum(dtype=np.float64))
    return {name: float(f"{value:.6g}") for name, value in found.items()}


EXPECTED = {
    "FcDEC": {
        "pretrain loss": 0.122994,
        "pretrain reconstruction": 0.122994,
        "cluster loss": 2.0641e-06,
        "final loss": 1.71875e-06,
        "centers": 0.877165,
        "decoder": 144.588,
        "encoder": 74.037,
    },
    "FcDEC-DA": {
        "pretrain loss": 0.135273,
        "pretrain reconstruction": 0.135273,
        "cluster loss": 6.22117e-06,
        "final loss": 3.88504e-06,
        "centers": 0.923516,
        "decoder": 139.532,
        "encoder": 74.0524,
    },
    "FcDEC-DA one-shuffle": {
        "pretrain loss": 0.100408,
        "pretrain reconstruction": 0.100408,
        "cluster loss": 6.34717e-06,
        "final loss": 3.8752e-06,
        "centers": 0.980189,
        "decoder": 144.451,
        "encoder": 74.0736,
    },
    "FcIDEC": {
        "pretrain loss": 0.122994,
        "pretrain reconstruction": 0.122994,
        "cluster loss": 0.0791051,
        "cluster reconstruction": 0.0791049,
        "final loss": 0.076444,
        "final reconstruction": 0.0764438,
        "centers": 0.877221,
        "decoder": 146.92,
        "encoder": 74.03,
    },
    "FcDCN": {
        "pretrain loss": 0.122994,
        "pretrain reconstruction": 0.122994,
        "cluster loss": 0.000231274,
        "cluster distance": 0.000231274,
        "final loss": 0.000262178,
        "final distance": 0.000262178,
        "centers": 0.876192,
        "counts": 210.0,
        "decoder": 144.588,
        "encoder": 74.0057,
    },
    "ASPC-DA": {
        "pretrain loss": 0.100408,
        "pretrain reconstruction": 0.100408,
        "cluster loss": 0.000110274,
        "cluster distance": 0.000110274,
        "final loss": 0.000104099,
        "final distance": 0.000104099,
        "centers": 0.980201,
        "decoder": 144.451,
        "encoder": 74.0804,
    },
    "ConvDEC-DA": {
        "pretrain loss": 0.189196,
        "pretrain reconstruction": 0.189196,
        "cluster loss": 0.000265665,
        "final loss": 0.000361443,
        "centers": 6.6184,
        "decoder": 74.7397,
        "encoder": 79.6768,
    },
    "AE+k-means-DA": {
        "pretrain loss": 0.100408,
        "pretrain reconstruction": 0.100408,
        "centers": 0.980201,
        "decoder": 144.451,
        "encoder": 74.0736,
    },
    "DAE+k-means": {
        "pretrain loss": 0.123023,
        "pretrain reconstruction": 0.123023,
        "centers": 0.861066,
        "decoder": 144.569,
        "encoder": 74.0356,
    },
    "ConvAE+RS": {
        "pretrain loss": 28.5597,
        "pretrain reconstruction": 11.4219,
        "pretrain relative": 0.000986443,
        "centers": 9.32117,
        "decoder": 67.6269,
        "encoder": 74.6342,
    },
    "ConvAE+MI+RS": {
        "pretrain loss": 29.1311,
        "pretrain reconstruction": 11.4341,
        "pretrain relative": 0.0209151,
        "T1": 3044.6,
        "T2": 2414.28,
        "centers": 6.56506,
        "decoder": 67.247,
        "encoder": 74.1834,
    },
    "ConvAE+MI+RS augmented": {
        "pretrain loss": 23.3054,
        "pretrain reconstruction": 9.08795,
        "pretrain relative": 0.0167803,
        "T1": 3045.29,
        "T2": 2414.62,
        "centers": 6.59687,
        "decoder": 67.2232,
        "encoder": 74.1834,
    },
    "DSCDAN": {
        "pretrain loss": 29.1311,
        "pretrain reconstruction": 11.4341,
        "pretrain relative": 0.0209151,
        "cluster loss": 29.8679,
        "cluster reconstruction": 11.4323,
        "cluster spectral": 2.4563,
        "cluster relative": 0.0166674,
        "final loss": 29.6464,
        "final reconstruction": 11.3828,
        "final spectral": 2.35364,
        "final relative": 0.0187795,
        "T1": 3045.06,
        "T2": 2413.87,
        "centers": 12.6189,
        "decoder": 67.1787,
        "encoder": 74.3571,
        "head": 48.6781,
        "means": 6.42,
    },
    "DSCDAN augmented": {
        "pretrain loss": 23.3054,
        "pretrain reconstruction": 9.08795,
        "pretrain relative": 0.0167803,
        "cluster loss": 24.1559,
        "cluster reconstruction": 8.98381,
        "cluster spectral": 2.87455,
        "cluster relative": 0.0178518,
        "final loss": 24.1058,
        "final reconstruction": 8.93482,
        "final spectral": 2.93216,
        "final relative": 0.0144945,
        "T1": 3045.39,
        "T2": 2414.12,
        "centers": 12.5227,
        "decoder": 67.0084,
        "encoder": 74.2747,
        "head": 48.6903,
        "means": 6.45059,
    },
    "DSCDAN-code": {
        "pretrain loss": 27.7271,
        "pretrain reconstruction": 11.4341,
        "pretrain relative": 0.0209148,
        "cluster loss": 72.7802,
        "cluster reconstruction": 11.4926,
        "cluster spectral": 16.1797,
        "cluster relative": 0.0167035,
        "final loss": 71.8026,
        "final reconstruction": 11.4682,
        "final spectral": 15.3332,
        "final relative": 0.0185229,
        "T1": 2451.05,
        "centers": 13.128,
        "classifier": 48.2584,
        "decoder": 67.2169,
        "encoder": 74.1157,
        "head": 48.2473,
        "means": 0.332006,
    },
    "DSCDAN-spectral-init": {
        "pretrain loss": 29.1311,
        "pretrain reconstruction": 11.4341,
        "pretrain relative": 0.0209151,
        "cluster loss": 28.9685,
        "cluster reconstruction": 11.4344,
        "cluster spectral": 1.30867,
        "cluster relative": 0.0165325,
        "final loss": 28.6363,
        "final reconstruction": 11.3853,
        "final spectral": 1.10308,
        "final relative": 0.0186012,
        "T1": 3045.09,
        "T2": 2413.88,
        "centers": 12.8196,
        "decoder": 67.1757,
        "encoder": 74.329,
        "head": 62.38,
        "means": 6.01847,
    },
    "SpectralNet": {
        "pretrain loss": 0.122994,
        "pretrain reconstruction": 0.122994,
        "cluster loss": 0.969522,
        "cluster contrastive": 0.496103,
        "cluster spectral": 0.969522,
        "centers": 13.8085,
        "decoder": 144.588,
        "encoder": 74.037,
        "head": 57.7996,
        "siamese": 43.1077,
    },
    "LADDER-IM": {
        "cluster loss": 211.954,
        "cluster ladder": 212.611,
        "cluster noise_kl": 0.189417,
        "cluster cross_entropy": 0.0,
        "member0": 393.151,
    },
    "KINGDRA-LADDER-IM": {
        "cluster loss": 195.305,
        "cluster ladder": 194.733,
        "cluster noise_kl": 0.134815,
        "cluster cross_entropy": 1.27334,
        "member0": 398.772,
        "member1": 400.163,
    },
    "IMSAT-VAT": {
        "cluster loss": -0.415876,
        "cluster augmentation": 1.27693e-05,
        "member0": 301.898,
    },
    "IMSAT-RPT": {
        "cluster loss": -0.415876,
        "cluster augmentation": 1.25439e-05,
        "member0": 301.96,
    },
}


@pytest.fixture
def small():
    before = dict(AUTOENCODERS)
    small_networks()
    yield
    AUTOENCODERS.update(before)


@pytest.mark.parametrize("name", RUNS)
def test_numbers_are_those_recorded(name, small, request):
    if name != "DSCDAN-spectral-init":  # it makes a thousand steps, the others few
        request.getfixturevalue("eager")
    log = Log()
    model = make(name, monitor=log).fit(images())
    found = numbers(model, log)
    assert found.keys() == EXPECTED[name].keys()
    assert found == pytest.approx(EXPECTED[name], rel=2e-4, abs=1e-5)


# A round without pseudo-labels and one with them, of two members: each of the four is compiled.
LESS = {"KINGDRA-LADDER-IM": {"rounds": 2, "widths": (20,), "denoising_costs": (1000.0, 10.0, 0.1)}}


@pytest.mark.parametrize("name", ["FcDEC-DA", "DSCDAN-code", "KINGDRA-LADDER-IM", "SpectralNet"])
def test_several_steps_in_one_call_give_the_same_bits(name, small):
    """The others are compared by hand, as above, with STEPS_PER_EXECUTION=7."""
    found = []
    for steps in (1, 7):
        log = Log()
        others = LESS.get(name, {}) | {"steps_per_execution": steps}
        model = make(name, monitor=log, **others).fit(images())
        found.append((log_hash(log), state_hash(model, images())))
        assert name not in LESS or log.rows[-2][2]["cross_entropy"] > 0  # of the pseudo-labels
    assert found[0] == found[1]


def main(words):
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    small_networks()
    x = images()
    for name in RUNS:
        log = Log()
        steps = int(os.environ.get("STEPS_PER_EXECUTION", 1))
        model = make(name, monitor=log, steps_per_execution=steps).fit(x)
        if words[1:] == ["numbers"]:
            print(f"    {name!r}: {numbers(model, log)},", flush=True)
        else:
            print(f"{name:<24} {log_hash(log)} {state_hash(model, x)}", flush=True)


if __name__ == "__main__":
    main(sys.argv)
