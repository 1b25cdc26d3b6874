"""Ladder networks, Kingdra and IMSAT: losses by hand, members apart, rounds, kill and resume."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import uncompiled
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

from common.errors import TrainingFailed, UserError
from common.files import load_arrays, save_arrays
from metrics import acc
from models import METHODS, build, load, preset
from models.core.monitor import Monitor
from models.kingdra import model as kingdra
from models.kingdra.authors import KingdraCluster
from models.kingdra.ensemble import side_by_side
from models.kingdra.imsat import IMSAT, neighbor_distances
from models.kingdra.ladder import (
    Ladder,
    combine,
    dot_loss,
    entropy,
    information_loss,
    noise_divergence,
    normalize,
)
from models.kingdra.model import Member, supervised_stream
from models.kingdra.rounds import RoundState
from models.settings.base import SGD, digest
from models.settings.kingdra import COSTS, KingdraConfig, translate

NAMES = [name for name, row in METHODS.items() if row.module.startswith("models.kingdra.")]
K, D = 3, 7
TINY = {"widths": (12, 9), "batch_size": 60}  # of 100 samples: two steps a pass, the last one short
# Few steps, uncompiled: one is traced for each of two members, without and with pseudo-labels, and
# each time that takes as long as 16 steps.
SMALL = TINY | {
    "rounds": 2,
    "members": 2,
    "high": 1,
    "low": 0,
    "epochs": 1,
    "epochs_first": 2,
    "confidence": 0.0,
}
ONE_PASS = SMALL | {"epochs_first": 1}
SHORT = ["LADDER-DOT", "IMSAT-VAT"]  # where one of a kind will do
COMPILED = SMALL | {
    "widths": (64,),
    "denoising_costs": (1000.0, 10.0, 0.1),
    "batch_size": 16,
    "epochs_first": 12,
    "epochs": 4,
}


def settings(method, **others):
    """Small settings that suit a method."""
    own = TINY | {"epochs": 3, "neighbor": 3} if method.startswith("IMSAT") else ONE_PASS
    if method == "DeepRIM":
        own = TINY | {"epochs": 3}
    if method == "KINGDRA-LADDER-IM":
        own = SMALL
    if method in ("LADDER-IM", "LADDER-DOT"):
        own = own | {"members": 1, "high": 1}
    return own | others


HASHES = {
    "KINGDRA-LADDER-IM mnist": "bea2912b5a4d",
    "KINGDRA-LADDER-IM reuters10k": "d6852a46a879",
    "LADDER-IM mnist": "6e4f118e163d",
    "LADDER-IM reuters10k": "2524cd9996f8",
    "LADDER-IM-ensemble mnist": "0f63a7dde7b5",
    "LADDER-IM-ensemble reuters10k": "82b3a915da7e",
    "LADDER-DOT mnist": "73f6e6052eba",
    "LADDER-DOT reuters10k": "c19d2b1c30ff",
}


@pytest.fixture(scope="module")
def blobs():
    """Three blobs, float32 (100, 7), and which is whose."""
    x, y = make_blobs(100, D, centers=K, cluster_std=0.7, random_state=0)
    return (x / np.abs(x).max()).astype(np.float32), y


@pytest.fixture(scope="module")
def fitted(blobs):
    """A fitted model of each method; uncompiled but for IMSAT-VAT."""
    models = {}
    for method in NAMES:
        tf.config.run_functions_eagerly(method != "IMSAT-VAT")
        model = build(method, K, monitor=Recorder(), **settings(method))
        models[method] = model.fit(blobs[0])
    tf.config.run_functions_eagerly(False)
    return models


def test_sorted_samples_are_found_as_mixed_ones_are(blobs):
    """The information loss looks at one batch: of a single class it learns nothing of classes."""
    x, y = (a[np.argsort(blobs[1], kind="stable")] for a in blobs)
    own = {"widths": (64, 64), "batch_size": 16, "rounds": 1, "epochs_first": 30, "mi_weight": 1.0}
    found = {}
    for shuffle in (False, True):
        model = build("LADDER-IM", K, shuffle=shuffle, **own)
        found[shuffle] = acc(y, model.fit(x).labels_)
    assert build("LADDER-IM", K).config.shuffle
    assert found[True] > 0.95 and found[False] < 0.8


@pytest.fixture(scope="module")
def compiled(blobs):
    """A model of more steps, compiled."""
    return build("KINGDRA-LADDER-IM", K, **COMPILED).fit(blobs[0])


class Recorder(Monitor):
    def __init__(self):
        self.rows, self.warnings, self.steps = [], [], 0

    def __deepcopy__(self, memo):
        return Recorder()

    def row(self, phase, step, values, labels=None, others=None):
        self.rows.append((phase, step, dict(values), labels, others))

    def progress(self, phase, step):
        self.steps = step

    def warn(self, text):
        self.warnings.append(text)


# ---- the ladder -------------------------------------------------------------------------------


def plain_ladder(network, x, noisy_layers, costs):
    """The costs in NumPy, one layer after the other; noisy_layers are z~ of each layer."""

    def bn(z):
        return (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-10)

    up, down = ([np.asarray(v) for v in vs] for vs in (network.up, network.down))
    betas, laterals = ([np.asarray(v) for v in vs] for vs in (network.betas, network.laterals))
    clean, h = [x], x
    for i, (w, beta) in enumerate(zip(up, betas, strict=True)):
        z = h @ w
        z = bn(z) if i < len(up) - 1 or network.last_bn else z
        clean.append(z)
        h = z + beta
        h = np.maximum(h, 0) if i < len(up) - 1 else h
    total, u = 0.0, bn(noisy_layers[-1] + betas[-1])
    for i in range(len(clean) - 1, -1, -1):
        a = laterals[i]
        mean = a[0] / (1 + np.exp(-(a[1] * u + a[2]))) + a[3] * u + a[4]
        gain = a[5] / (1 + np.exp(-(a[6] * u + a[7]))) + a[8] * u + a[9]
        estimate = (noisy_layers[i] - mean) * gain + mean
        width = clean[i].shape[1]
        total += costs[i] * np.mean(np.sum((estimate - clean[i]) ** 2, axis=1)) / width
        if i:
            u = bn(estimate @ down[i - 1])
    return total


@pytest.mark.parametrize("last_bn", [False, True])
def test_denoising_costs_are_those_of_a_loop(last_bn):
    rng = np.random.default_rng(1)
    network = Ladder((D, 6, 5, K), 0.3, last_bn, seed=3)
    for v in network.variables:  # away from where they start
        v.assign(np.asarray(v) + 0.3 * rng.normal(size=v.shape))
    x = rng.normal(size=(11, D)).astype(np.float32)
    logits, layers = network.encode([x, x], 1, tf.constant([1, 2]))
    found = network.denoising_costs(layers[0], layers[1], logits[1])
    noisy = [z.numpy() for z in layers[1]]
    expected = plain_ladder(network, x, noisy, COSTS)
    weighted = sum(c * float(cost) for c, cost in zip(COSTS, found, strict=True))
    assert weighted == pytest.approx(expected, rel=1e-4)
    assert not np.allclose(noisy[0], x)
    assert np.allclose(layers[0][0], x)


def test_noise_is_of_the_size_asked_for_and_the_clean_path_has_none():
    network = Ladder((400, 300, K), 0.3, False, seed=0)
    x = np.zeros((200, 400), np.float32)
    _, (clean, noisy) = network.encode([x, x], 1, tf.constant([0, 1]))
    assert np.std(noisy[0]) == pytest.approx(0.3, rel=0.02)
    assert np.all(clean[0].numpy() == 0)
    again = network.encode([x, x], 1, tf.constant([0, 1]))[1][1]
    other = network.encode([x, x], 1, tf.constant([0, 2]))[1][1]
    assert np.array_equal(noisy[0], again[0])
    assert not np.array_equal(noisy[0], other[0])
    assert not np.allclose(noisy[0][:, :300], noisy[1])  # each layer draws its own


def test_paths_are_normalised_apart_and_share_weights():
    network = Ladder((D, 6, K), 0.0, False, seed=0)
    rng = np.random.default_rng(0)
    a, b = (rng.normal(i, 1 + i, (9, D)).astype(np.float32) for i in range(2))
    together = network.encode([a, b], 1, tf.constant([0, 0]))[0]
    alone = [network.encode([one], 0, tf.constant([0, 0]))[0][0] for one in (a, b)]
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("last_bn", [False, True])
def test_a_set_predicted_in_parts_is_one_batch(last_bn, monkeypatch):
    network = Ladder((D, 6, 5, K), 0.3, last_bn, seed=3)
    rng = np.random.default_rng(2)
    for v in network.betas:
        v.assign(rng.normal(size=v.shape))
    x = rng.normal(1, 2, (23, D)).astype(np.float32)
    whole = tf.nn.softmax(network.encode([x], 0, tf.constant([0, 0]))[0][0])
    monkeypatch.setattr("models.kingdra.ladder.CHUNK", 7)
    p, statistics = network.predict_whole(tf.constant(x))
    assert np.allclose(p, whole, atol=1e-5)
    assert np.array_equal(network.predict(x, statistics), p)
    assert np.allclose(network.predict(x[4:5], statistics), p[4:5], atol=1e-6)


def test_the_combinator_starts_as_a_sigmoid_of_nothing():
    u = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    network = Ladder((3, 4, K), 0.0, False, seed=0)
    # a2 = a7 = 1 and the others 0: mean and gain are 0.
    assert np.all(combine(u, u, network.laterals[0].value).numpy() == 0)
    one = np.zeros((10, 3), np.float32)
    one[9] = 1.0  # gain 1, mean 0: the noisy layer as it is
    assert np.allclose(combine(2 * u, u, one), 2 * u)
    one[:] = 0.0
    one[[3, 4]] = [[2.0], [0.5]]  # gain 0: mean 2 u + .5
    assert np.allclose(combine(u, u, one), 2 * u + 0.5)


def test_normalisation_has_mean_zero_variance_one_and_takes_constants():
    z = normalize(np.random.default_rng(0).normal(5, 3, (2, 50, 4)).astype(np.float32)).numpy()
    assert np.allclose(z.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(z.var(axis=1), 1, atol=1e-4)
    assert np.all(np.isfinite(normalize(np.full((6, 2), 3.0, np.float32))))


# ---- losses on predictions --------------------------------------------------------------------


def test_information_loss_at_its_extremes():
    k, mu = 4, 3.0
    certain_and_even = np.eye(k, dtype=np.float32)
    assert float(information_loss(certain_and_even, mu)) == pytest.approx(-mu * np.log(k), abs=1e-5)
    one_cluster = np.tile(np.eye(k, dtype=np.float32)[:1], (5, 1))
    assert float(information_loss(one_cluster, mu)) == pytest.approx(0, abs=1e-5)
    undecided = np.full((5, k), 1 / k, np.float32)
    assert float(information_loss(undecided, mu)) == pytest.approx((1 - mu) * np.log(k), abs=1e-5)
    assert float(entropy(undecided)[0]) == pytest.approx(np.log(k), abs=1e-5)


def test_dot_loss_is_zero_for_orthogonal_predictions_only():
    eye = np.eye(3, dtype=np.float32)
    assert float(dot_loss(eye)) == pytest.approx(0, abs=1e-6)
    same = np.tile(eye[:1], (3, 1))
    assert float(dot_loss(same)) == pytest.approx(6 / 9, abs=1e-6)  # all but the diagonal
    assert float(dot_loss(0.5 * eye)) == pytest.approx(0, abs=1e-6)  # length does not count


def test_noise_divergence_by_hand_and_its_gradient_spares_the_clean_path():
    clean = tf.Variable([[0.0, np.log(3.0)], [1.0, 1.0]])
    corrupted = tf.Variable([[0.0, 0.0], [1.0, 1.0]])
    with tf.GradientTape() as tape:
        found = noise_divergence(clean, corrupted)
    expected = (0.25 * np.log(0.5) + 0.75 * np.log(1.5)) / 2
    assert float(found) == pytest.approx(expected, abs=1e-6)
    by_clean, by_corrupted = tape.gradient(found, [clean, corrupted])
    assert by_clean is None
    assert np.abs(by_corrupted).sum() > 0


def test_the_supervised_stream_is_even_and_goes_round():
    groups = [np.array([4, 5]), np.array([7]), np.array([1, 2, 3, 6])]
    rows, labels = supervised_stream(groups, [2, 0, 1], 12, np.random.default_rng(0))
    assert np.bincount(labels).tolist() == [4, 4, 4]
    for group, cluster in zip(groups, [2, 0, 1], strict=True):
        counts = np.bincount(rows[labels == cluster], minlength=8)[group]
        assert counts.tolist() == [4 // len(group)] * len(group)


# ---- members and rounds -----------------------------------------------------------------------


def weights(model):
    return [np.asarray(v) for network in model.networks for v in network.variables]


def test_members_are_independent(blobs, eager):
    x = blobs[0]
    own = ONE_PASS | {"pseudo_labels": False}
    two = build("LADDER-IM-ensemble", K, **own).fit(x)
    one = build("LADDER-IM-ensemble", K, **own | {"members": 1}).fit(x)
    for a, b in zip(weights(two), weights(one), strict=False):
        assert np.array_equal(a, b)
    first, second = (network.up[0].numpy() for network in two.networks)
    assert not np.allclose(first, second)


def test_members_side_by_side_give_the_same_whatever_the_labels(blobs, compiled):
    model = build("KINGDRA-LADDER-IM", K, workers=2, **COMPILED).fit(blobs[0], np.zeros(100, int))
    assert np.array_equal(model.labels_, compiled.labels_)
    for a, b in zip(weights(model), weights(compiled), strict=True):
        assert np.array_equal(a, b)


def test_one_that_fails_stops_the_others():
    import threading

    stop, ended = threading.Event(), []

    def fail():
        raise TrainingFailed("no")

    def other():
        ended.append(stop.wait(20))

    with pytest.raises(TrainingFailed, match="no"):
        side_by_side([fail, other], 2, stop)
    assert ended in ([True], [])  # told to stop, or never begun


def test_the_first_failure_in_time_is_told():
    import threading

    stop = threading.Event()

    def told_to_stop():
        assert stop.wait(20)
        raise TrainingFailed("stopped")

    def fail():
        raise TrainingFailed("diverged")

    with pytest.raises(TrainingFailed, match="diverged"):
        side_by_side([told_to_stop, fail], 2, stop)


def test_pseudo_labels_come_with_the_second_round_and_train(fitted):
    recorder = fitted["KINGDRA-LADDER-IM"].monitor
    rows = [values for phase, _, values, _, _ in recorder.rows if phase == "cluster"]
    assert [row["cross_entropy"] > 0 for row in rows] == [False, True]
    for row in rows:
        assert row["groups"] == K
        assert 0 < row["smallest_group"] <= row["largest_group"] <= row["pseudo_labels"] <= 100
        assert 0 <= row["agreement"] <= 1
    others = recorder.rows[0][4]
    assert [len(labels) for _, labels in others["member"]] == [100] * 2
    ((rows, labels),) = others["pseudo"]
    assert len(rows) == len(labels) == recorder.rows[0][2]["pseudo_labels"]
    assert recorder.rows[-1][0] == "final"


def test_an_empty_group_leaves_the_round_unsupervised(blobs, eager):
    recorder = Recorder()
    own = SMALL | {"confidence": 0.999999}  # nobody is so sure
    model = build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    rows = [values for phase, _, values, _, _ in recorder.rows if phase == "cluster"]
    assert [row["groups"] for row in rows] == [0, 0]
    assert [row["cross_entropy"] for row in rows] == [0, 0]
    # Such rounds are as long as the first.
    assert [step for phase, step, *_ in recorder.rows if phase == "cluster"] == [8, 16]
    assert model.n_iter_ == 2


def test_a_missing_group_falls_back_to_the_best_groups(blobs, monkeypatch, eager):
    every = kingdra.find_groups
    calls = []

    def sometimes(labels, confident, high, low, k):
        calls.append(1)
        found = every(labels, confident, high, low, k)
        return found if len(calls) == 1 else found[:-1]

    monkeypatch.setattr(kingdra, "find_groups", sometimes)
    recorder = Recorder()
    own = ONE_PASS | {"rounds": 3}
    build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    rows = [values for phase, _, values, _, _ in recorder.rows if phase == "cluster"]
    assert [row["groups"] for row in rows] == [K, K - 1, K - 1]
    assert rows[2]["cross_entropy"] > 0  # on the first round's groups


def test_weights_of_the_clustering_loss_by_round(blobs):
    model = build("KINGDRA-LADDER-IM", K, **SMALL | {"mi_weight": 0.5, "mi_weight_later": 0.0})
    model._identity, model._monitor = "", Monitor()
    model._build((D,))
    member = Member(model, 0, tf.constant(blobs[0]))
    state, found = RoundState.beginning(2, K, 100), []
    for state.round in (0, 1):
        member.prepare(state)
        found.append(float(member.weight))
    assert found == [0.5, 0.0]


def test_released_alignment_follows_the_last_member(blobs, eager):
    recorder = Recorder()
    own = ONE_PASS | {"alignment": "last"}
    model = build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    assert model.mappings_.tolist() == [[0, 1, 2]] * 2


def test_the_vote_is_the_mean_over_matched_clusters_or_the_first_alone(blobs, fitted, eager):
    model = fitted["KINGDRA-LADDER-IM"]
    flat = [n.predict(blobs[0], s) for n, s in zip(model.networks, model.statistics_, strict=True)]
    by_hand = np.zeros((100, K))
    for p, mapping in zip(flat, model.mappings_, strict=True):
        for cluster in range(K):
            by_hand[:, mapping[cluster]] += p[:, cluster] / 2
    assert np.allclose(model.transform(blobs[0]), by_hand, atol=1e-6)
    first = build("KINGDRA-LADDER-IM", K, **ONE_PASS | {"vote": "first"}).fit(blobs[0])
    expected = first.networks[0].predict(blobs[0], first.statistics_[0]).argmax(axis=1)
    assert np.array_equal(first.labels_, expected)


def test_one_round_only(blobs, eager):
    model = build("KINGDRA-LADDER-IM", K, **ONE_PASS | {"rounds": 1}).fit(blobs[0])
    assert model.n_iter_ == 1
    assert model.labels_.shape == (100,)


def test_it_clusters(blobs, compiled):
    assert acc(blobs[1], compiled.labels_) > 0.95


# ---- IMSAT ------------------------------------------------------------------------------------


def test_neighbour_distances():
    x = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    assert neighbor_distances(x, 1).tolist() == [1, 1, 2, 4]
    assert neighbor_distances(x, 2).tolist() == [3, 2, 3, 6]


def test_the_adversarial_direction_changes_predictions_most(blobs):
    x = tf.constant(blobs[0])
    lengths = tf.fill([100], 0.3)
    change = {}
    for kind in ("vat", "rpt"):
        model = IMSAT(K, preset("IMSAT-VAT"))
        model.config = type(model.config)(**TINY, perturbation=kind, xi=0.1)
        model._build((D,))
        clean = model.logits(x)
        r = model.perturbation(x, clean, lengths, tf.constant([0, 5]))
        assert np.allclose(np.linalg.norm(r, axis=1), 0.3, atol=1e-5)
        change[kind] = float(noise_divergence(clean, model.logits(x + r)))
    assert change["vat"] > 1.5 * change["rpt"]


def test_imsat_refuses_too_few_samples(blobs):
    with pytest.raises(UserError, match="neighbor=10: expected less than n_samples=10"):
        build("IMSAT-VAT", 2, batch_size=4, widths=(4, 4)).fit(blobs[0][:10])


# ---- the contract -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", NAMES)
def test_labels_are_predictions_of_a_batch_of_any_size(method, fitted, blobs):
    x, model = blobs[0], fitted[method]
    assert model.labels_.dtype == np.int64
    assert np.array_equal(model.predict(x), model.labels_)
    for i in (0, 57):
        assert model.predict(x[i : i + 1]) == model.labels_[i : i + 1]
    assert np.array_equal(model.predict(x[::-1]), model.labels_[::-1])
    p = model.transform(x)
    assert p.shape == (100, K)
    assert p.dtype == np.float32
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(model.memberships(x), p)


@pytest.mark.parametrize("method", SHORT)
def test_a_seed_repeats_whatever_the_labels(method, fitted, blobs, request):
    if method != "IMSAT-VAT":
        request.getfixturevalue("eager")
    again = clone(fitted[method]).fit(blobs[0], y=np.zeros(100, int))
    for a, b in zip(weights(again), weights(fitted[method]), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(again.labels_, fitted[method].labels_)


def test_another_seed_differs(fitted, blobs, eager):
    other = build("LADDER-DOT", K, random_state=1, **settings("LADDER-DOT")).fit(blobs[0])
    assert not np.array_equal(weights(other)[0], weights(fitted["LADDER-DOT"])[0])


def test_saved_and_loaded_in_another_process(fitted, blobs, tmp_path, new_process):
    methods, data = ["KINGDRA-LADDER-IM", "IMSAT-VAT"], tmp_path / "x.npy"
    paths = [tmp_path / f"{method}.h5" for method in methods]
    for method, path in zip(methods, paths, strict=True):
        fitted[method].save(path)
    np.save(data, blobs[0])
    new_process(
        "import sys, numpy as np; from models import load; x = np.load(sys.argv[1])\n"
        "for path in sys.argv[2:]: np.save(path + '.npy', load(path).predict(x))",
        data,
        *paths,
    )
    for method, path in zip(methods, paths, strict=True):
        assert np.array_equal(np.load(f"{path}.npy"), fitted[method].labels_)
        assert np.array_equal(load(path).predict(blobs[0]), fitted[method].labels_)


def test_a_model_of_another_version_is_one_line(fitted, blobs, tmp_path):
    path = tmp_path / "model.h5"
    fitted["KINGDRA-LADDER-IM"].save(path)
    arrays, about = load_arrays(path)
    for kept, name in ((arrays, "mappings"), (about, "shape")):
        left = {key: value for key, value in kept.items() if key != name}
        save_arrays(path, *((left, about) if kept is arrays else (arrays, left)))
        with pytest.raises(UserError, match=f"model.h5' holds no '{name}': another version's"):
            load(path)


def test_before_fit_and_of_another_shape(fitted, blobs):
    with pytest.raises(NotFittedError):
        build("KINGDRA-LADDER-IM", K).predict(blobs[0])
    with pytest.raises(UserError, match=r"data of shape \(100, 6\): expected \(n, 7\)"):
        fitted["KINGDRA-LADDER-IM"].predict(blobs[0][:, :6])


def test_images_are_flattened(blobs, eager):
    x = np.random.default_rng(0).random((40, 4, 4, 1), dtype=np.float32)
    model = build("LADDER-IM", 2, **settings("LADDER-IM", rounds=1)).fit(x)
    assert np.array_equal(model.predict(x.reshape(40, 16)), model.labels_)


def test_data_that_cannot_be_clustered(blobs, eager):
    with pytest.raises(UserError, match="n_clusters=101: expected 1 to n_samples=100"):
        build("LADDER-IM", 101, **settings("LADDER-IM")).fit(blobs[0])
    with pytest.raises(UserError, match=r"beyond 1e\+15"):
        build("LADDER-IM", K, **settings("LADDER-IM")).fit(1e30 * blobs[0])
    with pytest.raises(TrainingFailed, match="not finite"):
        build("LADDER-IM", K, **settings("LADDER-IM"), optimizer=SGD(1e30)).fit(blobs[0])


# ---- kill and resume --------------------------------------------------------------------------


class Killed(BaseException):
    pass


class Killer(Recorder):
    """Stops the run after a step; of earlier ones it keeps the folder as a kill would leave it."""

    def __init__(self, at, run_dir=None, copies=()):
        super().__init__()
        self.at, self.run_dir, self.copies = at, run_dir, copies

    def progress(self, phase, step):
        if step in self.copies:
            shutil.copytree(self.run_dir, f"{self.run_dir}-{step}")
        if step == self.at:
            raise Killed


# Of two members, two steps a pass, two passes in the first round and one in the second.
FIRST, SECOND, END = 3, 11, 12  # the first member in its first round, the second in its second


@pytest.fixture(scope="module")
def killed(blobs, tmp_path_factory):
    """Return a function that copies to a folder what a run killed at a step leaves."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    folder.mkdir()
    killer = Killer(END, folder, (FIRST, SECOND, END))
    own = SMALL | {"run_dir": folder, "checkpoint_seconds": 0}
    with uncompiled(), pytest.raises(Killed):
        build("KINGDRA-LADDER-IM", K, monitor=killer, **own).fit(blobs[0])
    return lambda at, to: shutil.copytree(f"{folder}-{at}", to, dirs_exist_ok=True)


# In either member and round, and at the very end.
@pytest.mark.parametrize("at", [FIRST, SECOND, END])
def test_a_killed_run_ends_like_one_that_was_not(at, fitted, killed, blobs, tmp_path, eager):
    own = SMALL | {"run_dir": tmp_path, "checkpoint_seconds": 0}
    killed(at, tmp_path)
    recorder = Recorder()
    model = build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    assert not recorder.warnings
    for a, b in zip(weights(model), weights(fitted["KINGDRA-LADDER-IM"]), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(model.labels_, fitted["KINGDRA-LADDER-IM"].labels_)
    assert np.array_equal(model.first_labels_, fitted["KINGDRA-LADDER-IM"].first_labels_)


@pytest.mark.parametrize("name", ["checkpoint-member1.h5", "checkpoint-rounds.h5"])
def test_a_damaged_checkpoint_starts_the_run_over(name, fitted, killed, blobs, tmp_path, eager):
    own = SMALL | {"run_dir": tmp_path, "checkpoint_seconds": 0}
    killed(SECOND, tmp_path)
    (tmp_path / name).write_bytes(b"nothing")
    recorder = Recorder()
    model = build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    assert any("the run starts over" in line for line in recorder.warnings)
    assert np.array_equal(model.labels_, fitted["KINGDRA-LADDER-IM"].labels_)
    assert np.array_equal(weights(model)[0], weights(fitted["KINGDRA-LADDER-IM"])[0])


@pytest.mark.parametrize("missing", ["best", "first_vote"])
def test_a_checkpoint_of_an_older_version_starts_the_run_over(
    missing, fitted, killed, blobs, tmp_path, eager
):
    own = SMALL | {"run_dir": tmp_path, "checkpoint_seconds": 0}
    killed(SECOND, tmp_path)
    arrays, about = load_arrays(tmp_path / "checkpoint-rounds.h5")
    for kept in (arrays, about):
        kept.pop(missing, None)
    save_arrays(tmp_path / "checkpoint-rounds.h5", arrays, about)
    killer = Killer(1)
    with pytest.raises(Killed):
        build("KINGDRA-LADDER-IM", K, monitor=killer, **own).fit(blobs[0])
    (line,) = killer.warnings
    assert f"holds no {missing}: another version's; the run starts over" in line
    recorder = Recorder()  # and the next start finds nothing of that version
    model = build("KINGDRA-LADDER-IM", K, monitor=recorder, **own).fit(blobs[0])
    assert not recorder.warnings
    assert np.array_equal(model.labels_, fitted["KINGDRA-LADDER-IM"].labels_)


def test_a_killed_imsat_ends_like_one_that_was_not(fitted, blobs, tmp_path):
    own = settings("IMSAT-VAT", run_dir=tmp_path, checkpoint_seconds=0)
    with pytest.raises(Killed):
        build("IMSAT-VAT", K, monitor=Killer(5), **own).fit(blobs[0])
    model = build("IMSAT-VAT", K, **own).fit(blobs[0])
    assert np.array_equal(weights(model)[0], weights(fitted["IMSAT-VAT"])[0])


# ---- settings and the authors' form -----------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (
            "mnist",
            {
                "rounds": 50,
                "epochs_first": 5,
                "epochs": 5,
                "confidence": 0.9,
                "high": 9,
                "low": 1,
                "noise_std": 0.3,
                "mi_weight": 0.1,
                "kl_weight": 1.0,
            },
        ),
        ("20news", {"rounds": 10, "epochs": 5, "confidence": 0.0, "mi_weight": 0.2}),
        (
            "cifar10",
            {
                "rounds": 30,
                "epochs_first": 1,
                "epochs": 1,
                "mi_weight": 1.0,
                "vote": "first",
                "mi_weight_later": 0.5,
                "kl_weight": 0.0,
                "last_bn": True,
            },
        ),
        (
            "reuters10k",
            {
                "rounds": 10,
                "epochs_first": 5,
                "epochs": 6,
                "high": 8,
                "low": 2,
                "noise_std": 3.0,
                "mi_weight": 0.2,
            },
        ),
        (
            "stl10",
            {
                "rounds": 30,
                "epochs_first": 6,
                "epochs": 6,
                "noise_std": 1.0,
                "mi_weight": 0.2,
                "mi_weight_later": 0.0,
                "last_bn": True,
            },
        ),
    ],
)
def test_published_settings(dataset, expected):
    config = preset("KINGDRA-LADDER-IM", dataset)
    plain = config.to_dict()
    assert {name: plain[name] for name in expected} == expected
    assert config.widths == (1200, 1200)
    assert config.batch_size == 64
    assert config.members == 10
    assert config.optimizer.lr == (0.02 if dataset == "cifar10" else 0.002)
    assert config.denoising_costs == (1000.0, 10.0, 0.1, 0.1)
    single = preset("LADDER-IM", dataset)
    assert (single.members, single.rounds, single.epochs_first) == (1, 15, 3)
    assert single.noise_std == config.noise_std


@pytest.mark.parametrize("dataset", ["mnist", "20news", "cifar10", "reuters", "stl10"])
def test_the_json_files_are_the_published_settings(dataset, root):
    arguments = json.loads((root / "configs" / "kingdra" / f"ladder_im_{dataset}.json").read_text())
    name = arguments.pop("dataset")
    config, k = translate(arguments)
    expected = preset("KINGDRA-LADDER-IM", name)
    assert config == expected
    assert k == {"20news": 20, "reuters": 4}.get(dataset, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_enn": 3}, "unknown key 'n_enn'; did you mean 'n_en'?"),
        ({"n_en": 0}, "members=0: expected an integer >= 1"),
        ({"fc_layer_sizes": [5, 4], "n_class": 3}, r"fc_layer_sizes=\[5, 4\]: expected a list"),
        ({"ens_common_mapping": 2}, "ens_common_mapping=2: expected true or false"),
        ({"sup_loss_w_init": 1}, "sup_loss_w_init=1: expected 0"),
        ({"lr": -1}, "lr=-1: expected a finite number > 0"),
        ({"high_th": 12}, "high=12: expected an integer >= 0 and <= 10"),
    ],
)
def test_wrong_keywords_of_the_authors_class(arguments, message):
    with pytest.raises(UserError, match=message):
        KingdraCluster(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (1.5, 2)}, r"widths=\(1.5, 2\): expected integers >= 1"),
        ({"denoising_costs": (1.0,)}, "expected 4 numbers >= 0"),
        ({"members": 0}, "members=0: expected an integer >= 1"),
        ({"low": 11}, "low=11: expected an integer >= 0 and <= 10"),
        ({"confidence": 1.0}, "confidence=1.0: expected a number >= 0 and < 1"),
        ({"alignment": "none"}, "unknown alignment 'none'"),
        ({"vote": "all"}, "unknown vote 'all'"),
        ({"batch_size": 1}, "batch_size=1: expected an integer >= 2"),
        ({"pseudo_labels": 1}, "pseudo_labels=1: expected True or False"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(UserError, match=message):
        KingdraConfig(**changes)


@pytest.mark.parametrize("changes", [{}, {"members": 5}, {"of_ten": (8, 2)}, {"high": 3}])
def test_settings_survive_json(changes):
    config = KingdraConfig(widths=(5, 4), mi_weight_later=0.5, **changes)
    plain = json.loads(json.dumps(config.to_dict()))
    assert plain == config.to_dict()
    assert KingdraConfig.from_dict(plain) == config
    assert hash(KingdraConfig.from_dict(plain)) == hash(config)
    assert (config == KingdraConfig(widths=(5, 4), mi_weight_later=0.5)) is (not changes)


# ---- any number of members --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "members", "expected"),
    [
        ("mnist", 1, (0, 0)),
        ("mnist", 2, (1, 0)),
        ("mnist", 5, (4, 0)),
        ("mnist", 9, (8, 0)),
        ("mnist", 10, (9, 1)),
        ("mnist", 11, (9, 1)),
        ("mnist", 20, (18, 2)),
        ("reuters10k", 5, (4, 1)),
        ("reuters10k", 10, (8, 2)),
        ("reuters10k", 1, (0, 0)),
    ],
)
def test_thresholds_follow_the_number_of_members(dataset, members, expected):
    model = build("KINGDRA-LADDER-IM", K, dataset=dataset, members=members)
    assert model.config.thresholds == expected
    plain = model.config.to_dict()
    assert (plain["high"], plain["low"]) == expected and "of_ten" not in plain
    # As many as the published share of ten: the same counts of agreement pass.
    high, low = preset("KINGDRA-LADDER-IM", dataset).thresholds
    for agree in range(members + 1):
        assert (agree > expected[0]) == (10 * agree > high * members)
        assert (agree <= expected[1]) == (10 * agree <= low * members)


def test_thresholds_that_are_set_are_kept_and_checked():
    assert KingdraConfig(members=5, high=3, low=2).thresholds == (3, 2)
    with pytest.raises(UserError, match="high=9: expected an integer >= 0 and <= 5"):
        build("KINGDRA-LADDER-IM", K, members=5, high=9)
    with pytest.raises(UserError, match=r"of_ten=\(9,\): expected 2 integers"):
        KingdraConfig(of_ten=(9,))


def test_only_members_side_by_side_get_a_thread_each():
    """One member alone computes with all threads."""
    found = {method: preset(method).parallel for method in NAMES}
    several = {"KINGDRA-LADDER-IM", "KINGDRA-LADDER-DOT", "LADDER-IM-ensemble"}
    assert found == {method: method in several for method in NAMES}
    assert not KingdraConfig(members=1).parallel and KingdraConfig(members=2).parallel


def test_one_member_makes_groups_of_its_own_clusters():
    labels = np.array([[0, 2, 1, 0, 2, 0, 1]])
    config = KingdraConfig(members=1)
    groups = kingdra.find_groups(labels, np.ones(7, bool), *config.thresholds, K)
    assert [group.tolist() for group in groups] == [[0, 3, 5], [1, 4], [2, 6]]


def test_published_hashes_are_as_they_were():
    """Rows of results.csv and caches are found by them."""
    found = {
        f"{method} {dataset}": digest(preset(method, dataset).to_dict())
        for method in ("KINGDRA-LADDER-IM", "LADDER-IM", "LADDER-IM-ensemble", "LADDER-DOT")
        for dataset in ("mnist", "reuters10k")
    }
    assert found == HASHES


# ---- the authors' class -----------------------------------------------------------------------


def test_the_authors_class(blobs, eager):
    x = blobs[0]
    seen = []
    model = KingdraCluster(
        n_en=2,
        high_th=1,
        low_th=0,
        thresh=0,
        n_iter=2,
        n_epochs_per_iter0=1,
        n_epochs_per_iter=1,
        batch_size=60,
        n_class=K,
        fc_layer_sizes=[12, 9, K],
    )
    with pytest.raises(NotFittedError):
        model.predict(x)
    model.fit(x, callback=lambda number, labels: seen.append((number, labels.shape)))
    assert seen == [(0, (100,)), (1, (100,))]
    assert np.array_equal(model.predict(x), model.model.labels_)


def test_optimizers_and_keras_variables_are_the_networks_own():
    model = build("KINGDRA-LADDER-IM", K, **SMALL)
    model._build((D,))
    for network in model.networks:
        assert len(network.variables) == 3 + 3 + 3 + 4
        assert all(isinstance(v, keras.Variable) for v in network.variables)
