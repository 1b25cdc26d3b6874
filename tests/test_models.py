"""The contract that every method keeps, and what is each method's own."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from augment import RandomShiftRotate
from errors import TrainingFailed, UserError
from metrics import acc
from models import METHODS, build, load, preset
from models import base as base_module
from models.base import CLUSTER
from models.config import SGD, Adam
from models.monitor import Monitor
from models.training import Trainer, derive_seed

K, N, STEPS = 4, 150, 6
SMALL = {"pretrain_epochs": 1, "maxiter": STEPS, "n_init": 2, "batch_size": 64, "tol": 0}
PASS = 3  # steps a pass: 64, 64 and 22 samples
INSTANT = SMALL | {"pretrain_epochs": 0, "maxiter": 0}
# One method of each (network, augmentation, class) that matters to what is tested once.
FC, CONV, SHUFFLED = "FcDEC-DA", "ConvIDEC-DA", "FcDCN-DA"


class Recorder(Monitor):
    """Remembers what it is told."""

    def __init__(self):
        self.begins, self.steps, self.rows, self.notes = [], [], [], []

    def begin(self, phase, total, step):
        self.begins.append((phase, total, step))

    def progress(self, phase, step):
        self.steps.append((phase, step))

    def row(self, phase, step, values, labels=None):
        self.rows.append((phase, step, dict(values), None if labels is None else labels.copy()))

    def note(self, text):
        self.notes.append(text)

    def pretrained(self):
        return any(phase == "pretrain" for phase, _ in self.steps)


class Killed(Exception):
    pass


class Killer(Recorder):
    """Raises after a step's training and before its checkpoint."""

    def __init__(self, phase, step):
        super().__init__()
        self.at = (phase, step)

    def progress(self, phase, step):
        super().progress(phase, step)
        if (phase, step) == self.at:
            raise Killed


def make(method, settings=SMALL, **others):
    """A method with few, small steps, so that one pass of pretraining does not collapse."""
    config = preset(method)
    others = {"monitor": Recorder(), "random_state": 0} | settings | others
    if config.update_interval is not None:
        others = {"update_interval": 2} | others
    gentle = SGD(0.01, 0.9) if isinstance(config.optimizer, SGD) else Adam(3e-4)
    return build(method, others.pop("n_clusters", K), **({"optimizer": gentle} | others))


def interval(method):
    return 2 if "DEC" in method else PASS


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N]


@pytest.fixture(scope="module")
def fitted(x):
    """Return a function: method -> a model fitted without any folder, once."""
    kept = {}

    def get(method):
        if method not in kept:
            model = make(method)
            labels = model.fit_predict(x)
            kept[method] = model, labels
        return kept[method][0]

    get.returned = lambda method: (get(method), kept[method][1])[1]
    return get


def weights(model):
    found = {"centers": np.array(model.cluster_centers_)}
    for name in ("encoder", "decoder"):
        variables = getattr(model, name).variables
        found |= {f"{name} {i}": np.asarray(v) for i, v in enumerate(variables)}
    return found


def same(a, b):
    """Two fitted models agree in every bit."""
    for name in ("labels_", "initial_labels_", "refresh_labels_"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    ours, theirs = weights(a), weights(b)
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name
    assert (a.n_iter_, a.converged_) == (b.n_iter_, b.converged_)


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_results_of_fit(fitted, x, method):
    model = fitted(method)
    for labels in (model.labels_, model.initial_labels_, model.refresh_labels_):
        assert labels.shape == (N,) and labels.dtype == np.int64
        assert labels.min() >= 0 and labels.max() < K
    assert len(np.unique(model.labels_)) > 1  # else the tests below would say little
    assert fitted.returned(method) is model.labels_
    assert np.array_equal(model.predict(x), model.labels_)
    assert (model.n_iter_, model.converged_) == (STEPS, False)
    assert model.n_features_in_ == 64
    z = model.transform(x)
    assert z.shape == (N, 10) and z.dtype == np.float32 and np.isfinite(z).all()
    centers = model.cluster_centers_
    assert centers.shape == (K, 10) and centers.dtype == np.float32
    distance = ((z[:, None].astype(np.float64) - centers[None]) ** 2).sum(axis=-1)
    assert np.array_equal(distance.argmin(axis=1), model.labels_)
    q = model.memberships(x)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-6)
    t = 1 / (1 + distance)
    np.testing.assert_allclose(q, t / t.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)
    assert set(model.seconds_) == {"pretrain", "initialize", "cluster"}
    assert all(seconds > 0 for seconds in model.seconds_.values())


@pytest.mark.parametrize("method", METHODS)
def test_what_the_monitor_is_told(fitted, method):
    model, every = fitted(method), interval(method)
    log = model.monitor
    assert log.begins == [("pretrain", PASS, 0), ("cluster", STEPS, 0)]
    assert log.steps == [("pretrain", s + 1) for s in range(PASS)] + [
        ("cluster", s + 1) for s in range(STEPS)
    ]
    assert [(phase, step) for phase, step, _, _ in log.rows] == [
        ("pretrain", PASS), *[("cluster", s) for s in range(0, STEPS, every)], ("final", STEPS),
    ]  # fmt: skip
    parts = {"DEC": ["kl"], "IDEC": ["kl", "reconstruction"], "DCN": ["distance"],
             "ASPC": ["distance"]}  # fmt: skip
    parts = parts[METHODS[method][1]]
    scale = {"kl": model.config.beta, "distance": model.config.beta,
             "reconstruction": model.config.alpha}  # fmt: skip
    before = None
    for phase, step, values, labels in log.rows:
        if phase == "pretrain":
            assert set(values) == {"reconstruction", "loss", "seconds"} and labels is None
            assert values["loss"] == pytest.approx(values["reconstruction"]) and step == PASS
            continue
        losses = {name: value for name, value in values.items() if name not in
                  ("seconds", "changed", "lambda", "selected", "distance_mean")}  # fmt: skip
        assert set(losses) == (set() if (phase, step) == ("cluster", 0) else {*parts, "loss"})
        if losses:
            total = sum(scale[name] * losses[name] for name in parts)
            assert losses["loss"] == pytest.approx(total, rel=1e-5)
        if phase == "cluster":
            changed = 1.0 if before is None else np.mean(labels != before)
            assert values["changed"] == pytest.approx(changed)
            before = labels
    assert np.array_equal(before, model.refresh_labels_)
    assert np.array_equal(log.rows[-1][3], model.labels_)


@pytest.mark.parametrize("method", METHODS)
def test_clustering_trains_what_it_should(fitted, method, x):
    """Against the pretrained network, which a run without clustering steps shows."""
    before, after = weights(make(method, maxiter=0).fit(x)), weights(fitted(method))
    moved = {name.split()[0] for name in after if not np.array_equal(after[name], before[name])}
    expected = {"encoder", "centers"} | ({"decoder"} if "IDEC" in method else set())
    assert moved == expected - ({"centers"} if METHODS[method][1] == "ASPC" else set())


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_equals_uninterrupted(fitted, x, tmp_path, method):
    """Also that the same seed gives the same labels and weights bit for bit."""
    kills = [("pretrain", 3), ("cluster", 5)]
    if method in (SHUFFLED, CONV):
        kills = [("pretrain", 1), ("pretrain", 2), ("cluster", 1), ("cluster", 3), ("cluster", 4),
                 ("cluster", 6)]  # fmt: skip
    (tmp_path / "run").mkdir()
    folders = {"run_dir": tmp_path / "run", "cache_dir": tmp_path / "cache",
               "checkpoint_seconds": 0}  # fmt: skip
    reached = {"pretrain": 0, "cluster": 0}
    for phase, step in kills:
        monitor = Killer(phase, step)
        with pytest.raises(Killed):
            make(method, monitor=monitor, **folders).fit(x)
        assert monitor.begins[-1][::2] == (phase, reached[phase])
        reached[phase] = max(reached[phase], step - 1)
    last = make(method, **folders).fit(x)
    assert last.monitor.begins == [("cluster", STEPS, kills[-1][1] - 1)]  # pretraining is done
    same(last, fitted(method))


# -- the seed, and what must not matter -----------------------------------------------------------


@pytest.mark.parametrize("method", [FC, CONV, SHUFFLED])
def test_another_seed_gives_another_run(fitted, x, method):
    ours, theirs = weights(fitted(method)), weights(make(method, random_state=1).fit(x))
    for name in ours:
        assert not np.array_equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("method", ["FcIDEC", "ConvDEC-DA"])
def test_labels_are_never_seen(fitted, x, method):
    y = np.random.default_rng(0).integers(0, 99, size=N).astype(str)
    same(make(method).fit(x, y), fitted(method))


def test_refit_starts_afresh(fitted, x):
    model = make(FC).fit(x[::-1])
    same(model.fit(x), fitted(FC))


@pytest.mark.parametrize("method", ["FcIDEC-DA", "ConvDEC"])
def test_flat_samples_equal_images(fitted, x, method):
    flat = x.reshape(N, 64)
    model = make(method).fit(flat)
    assert np.array_equal(model.labels_, fitted(method).labels_)
    assert np.array_equal(model.cluster_centers_, fitted(method).cluster_centers_)
    assert np.array_equal(model.predict(flat), model.labels_)
    assert np.array_equal(fitted(method).predict(flat), model.labels_)


@pytest.mark.parametrize("kind", ["float64", "list", "fortran order"])
def test_form_of_the_array_does_not_matter(x, kind):
    other = {
        "float64": lambda: x.astype(np.float64),
        "list": lambda: x.tolist(),
        "fortran order": lambda: np.asfortranarray(x),
    }[kind]()
    same(make("FcDEC", INSTANT).fit(other), make("FcDEC", INSTANT).fit(x))


def test_data_is_left_as_it_was(x):
    copy = x.copy()
    make("FcIDEC-DA", maxiter=1).fit(copy)
    assert np.array_equal(copy, x)


@pytest.mark.parametrize("pair", [("FcDEC-DA", "FcDEC"), ("ConvIDEC-DA", "ConvIDEC")])
def test_without_shift_and_rotation_DA_changes_nothing(fitted, x, pair):
    augmented, plain = pair
    same(make(augmented, shift=0, rotation=0).fit(x), fitted(plain))


# -- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_parameters_and_clone(fitted, x, method):
    model = fitted(method)
    params = model.get_params()
    assert {"n_clusters", "config", "random_state", "run_dir", "cache_dir"} <= set(params)
    copy = clone(model)
    assert type(copy) is type(model)
    assert {k: v for k, v in copy.get_params().items() if k != "monitor"} == {
        k: v for k, v in params.items() if k != "monitor"
    }
    assert not hasattr(copy, "labels_")
    with pytest.raises(NotFittedError):
        copy.predict(x)
    assert copy.set_params(n_clusters=7).n_clusters == 7 and model.n_clusters == K
    assert method in repr(model)


def test_predict_for_other_samples(fitted, x):
    model = fitted(CONV)
    assert np.array_equal(model.predict(x[7:8]), model.labels_[7:8])
    many = np.concatenate([x] * 14)  # 2100 samples, more than are encoded at a time
    assert np.array_equal(model.predict(many), np.tile(model.labels_, 14))
    np.testing.assert_allclose(model.transform(many[-N:]), model.transform(many)[-N:], atol=1e-5)


def test_fit_transform(x):
    model = make("FcDEC", INSTANT)
    assert np.array_equal(model.fit_transform(x), model.transform(x))


# -- the algorithms -------------------------------------------------------------------------------


def test_without_steps_the_result_is_k_means_on_the_pretrained_embedding(x):
    model = make("FcDEC", maxiter=0).fit(x)
    assert np.array_equal(model.labels_, model.initial_labels_)
    assert np.array_equal(model.refresh_labels_, model.initial_labels_)
    assert model.n_iter_ == 0 and not model.converged_
    z = model.transform(x)
    means = [z[model.labels_ == j].mean(axis=0) for j in range(K)]
    np.testing.assert_allclose(model.cluster_centers_, means, atol=1e-3)


@pytest.mark.parametrize("method", ["FcDEC", "ConvIDEC", "FcDCN-DA"])
def test_settled_labels_stop_at_the_second_refresh(x, method):
    still = {"optimizer": Adam(1e-12), "pretrain_epochs": 0}
    model = make(method, tol=1e-3, **still).fit(x)
    assert model.converged_ is True and model.n_iter_ == interval(method)
    assert [row[1] for row in model.monitor.rows if row[0] == "cluster"] == [0, interval(method)]


def test_tol_zero_never_stops(x):
    model = make("FcDEC", optimizer=Adam(1e-12), pretrain_epochs=0, tol=0).fit(x)
    assert model.n_iter_ == STEPS and not model.converged_


@pytest.mark.parametrize("method", ["FcDEC", "FcIDEC", "FcDCN", "FcDEC-DA"])
def test_finds_four_blobs(method):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, size=200)
    side = np.repeat(np.eye(4), 4, axis=1).reshape(4, 4, 2, 2).repeat(2, axis=1)[:, :4]
    x = side.reshape(4, 16)[y] + 0.05 * rng.normal(size=(200, 16))
    settings = {"pretrain_epochs": 15, "maxiter": 12, "rotation": 0, "shift": 0.05}
    model = build(method, 4, batch_size=50, n_init=4, update_interval=4, **settings)
    assert acc(y, model.fit_predict(x)) == 1.0


def test_pretraining_learns_to_reconstruct(x):
    model = make("ConvDEC", pretrain_epochs=8, pretrain_optimizer=Adam(3e-3), maxiter=0).fit(x)
    losses = [values["loss"] for phase, _, values, _ in model.monitor.rows if phase == "pretrain"]
    assert len(losses) == 8 and losses[-1] < 0.7 * losses[0]
    error = np.mean((model.decoder(model.encoder(x)) - x) ** 2)
    assert error == pytest.approx(losses[-1], rel=0.3)


def four_points(method, centers, z=4):
    model = build(method, len(centers), latent_dim=len(centers[0]))
    model.centers = keras.Variable(np.array(centers, np.float32))
    return model


def test_DCN_refresh_by_hand():
    """Assign to the nearest centre, then one Lloyd step; the third cluster is empty and stays."""
    model = four_points("FcDCN", [[1, 1], [9, 1], [50, 50]])
    z = np.array([[0, 0], [2, 0], [10, 0], [10, 4]], np.float32)
    labels, targets, told = model.refresh(z, 0)
    assert told == {}
    assert labels.tolist() == [0, 0, 1, 1]
    assert model.cluster_centers_.tolist() == [[1, 0], [10, 2], [50, 50]]
    assert list(targets) == ["center"]
    assert np.asarray(targets["center"]).tolist() == [[1, 0], [1, 0], [10, 2], [10, 2]]
    loss = model.loss_weights()
    assert loss == {"distance": 1.0}


def test_DCN_assigns_before_it_moves_the_centres():
    model = four_points("FcDCN", [[0.0], [10.0]])
    z = np.array([[0], [4], [4], [11]], np.float32)
    labels, _, _ = model.refresh(z, 0)
    assert labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(model.cluster_centers_, [[8 / 3], [11]], rtol=1e-6)


@pytest.mark.parametrize("method", ["FcDEC", "ConvIDEC"])
def test_DEC_refresh_by_hand(method):
    """The four points of test_functional.py: P from all samples, centres left as they are."""
    model = four_points(method, [[0, 0], [2, 0]])
    z = np.array([[0, 0], [1, 0], [3, 0], [1, 2]], np.float32)
    labels, targets, _ = model.refresh(z, 0)
    assert labels[[0, 2]].tolist() == [0, 1]
    expected = [[25 / 26, 1 / 26], [0.5, 0.5], [1 / 26, 25 / 26], [0.5, 0.5]]
    np.testing.assert_allclose(targets["p"], expected, rtol=1e-5)
    assert model.cluster_centers_.tolist() == [[0, 0], [2, 0]]
    assert model.loss_weights() == (
        {"kl": 1.0} if method == "FcDEC" else {"kl": 0.1, "reconstruction": 1.0}
    )


@pytest.mark.parametrize("method", ["ConvIDEC-DA", "FcDCN-DA", "FcDEC"])
def test_losses_of_a_batch_by_hand(fitted, x, method):
    model = fitted(method)
    batch = x[:5]
    z = model.transform(batch).astype(np.float64)
    p = np.random.default_rng(0).dirichlet(np.ones(K), size=5).astype(np.float32)
    center = np.ones((5, 10), np.float32)
    got = model.loss(tf.constant(batch), {"p": tf.constant(p), "center": tf.constant(center)})
    q = 1 / (1 + ((z[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=-1))
    q /= q.sum(axis=1, keepdims=True)
    decoded = np.asarray(model.decoder(z.astype(np.float32)))
    expected = {
        "kl": (p * np.log(p / q)).sum(axis=1).mean(),
        "reconstruction": ((decoded - batch) ** 2).mean(),
        "distance": ((z - center) ** 2).sum(axis=1).mean(),
    }
    assert set(got) == set(model.loss_weights())
    for name in got:
        assert float(got[name]) == pytest.approx(expected[name], rel=1e-3), name


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("method", ["FcDEC", "FcDEC-DA", "FcDCN-DA"])
def test_targets_come_from_clean_samples_and_losses_from_augmented_ones(
    x, method, eager, monkeypatch
):
    """Every batch's samples and targets, step by step, against what the last refresh wrote."""
    x, n, b = x[:30], 30, 8
    model = make(method, pretrain_epochs=0, maxiter=7, batch_size=b, optimizer=Adam(1e-2))
    refreshes, batches, rows = [], [], []

    def refresh(z, step):
        np.testing.assert_allclose(z, np.asarray(model.encoder(x)), atol=1e-5)
        labels, targets, told = type(model).refresh(model, z, step)
        refreshes.append({name: np.asarray(value) for name, value in targets.items()})
        if "p" in targets:
            q = 1 / (1 + ((z[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=-1))
            q /= q.sum(axis=1, keepdims=True)
            p = q**2 / q.sum(axis=0)
            np.testing.assert_allclose(targets["p"], p / p.sum(axis=1, keepdims=True), rtol=1e-3)
        return labels, targets, told

    def loss(x, targets):
        given = {name: np.asarray(value) for name, value in targets.items()}
        batches.append((np.asarray(x), given, len(refreshes) - 1))
        return type(model).loss(model, x, targets)

    class SpyTrainer(Trainer):
        def rows(self, step):
            rows.append(super().rows(step))
            return rows[-1]

    model.refresh, model.loss = refresh, loss
    monkeypatch.setattr(base_module, "Trainer", SpyTrainer)
    model.fit(x)

    every = -(-n // b) if "DCN" in method else 2
    assert len(batches) == len(rows) == 7 and len(refreshes) == -(-7 // every)
    augment = RandomShiftRotate()
    for step, (seen, targets, last) in enumerate(batches):
        if "DCN" not in method:  # contiguous, in data order, around and around
            start = step % 4 * b
            assert rows[step].tolist() == list(range(start, min(start + b, n)))
        assert last == step // every
        for name, value in targets.items():
            assert np.array_equal(value, refreshes[last][name][rows[step]])
        clean = x[rows[step]]
        if method.endswith("-DA"):
            assert np.abs(seen - clean).max() > 0.05
            clean = augment(tf.constant(clean), (derive_seed(0, CLUSTER), step))
        np.testing.assert_allclose(seen, clean, atol=1e-5)
    first, second = (next(iter(r.values())) for r in refreshes[:2])
    assert not np.array_equal(first, second)


# -- files ----------------------------------------------------------------------------------------

LOADER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from models import load
folder = sys.argv[2]
x = np.load(folder + "/x.npy")
results = {}
for method in sys.argv[3:]:
    model = load(f"{folder}/{method}.h5")
    results[method] = model.predict(x)
    results[method + " q"] = model.memberships(x)
    assert model.method == method, model.method
np.savez(folder + "/results.npz", **results)
"""


def test_saved_models_predict_the_same_in_a_new_process(fitted, x, tmp_path, root):
    np.save(tmp_path / "x.npy", x)
    for method in METHODS:
        fitted(method).save(tmp_path / f"{method}.h5")
    command = [sys.executable, "-c", LOADER, str(root), str(tmp_path), *METHODS]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    results = np.load(tmp_path / "results.npz")
    for method in METHODS:
        model = fitted(method)
        assert np.array_equal(results[method], model.labels_), method
        np.testing.assert_allclose(results[method + " q"], model.memberships(x), atol=1e-5)


def test_loaded_model_is_the_one_saved(fitted, x, tmp_path):
    path = tmp_path / "model.h5"
    fitted(CONV).save(path)
    model = load(str(path))
    assert type(model) is type(fitted(CONV))
    assert (model.n_clusters, model.random_state, model.method) == (K, 0, CONV)
    assert model.config == fitted(CONV).config
    ours, theirs = weights(model), weights(fitted(CONV))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    model.save(tmp_path / "again.h5")
    assert np.array_equal(load(tmp_path / "again.h5").predict(x), fitted(CONV).labels_)


def begins_pretraining(cache_dir, x, method="FcDEC", **others):
    model = make(method, INSTANT | {"pretrain_epochs": 1}, cache_dir=cache_dir, **others).fit(x)
    return model.monitor.pretrained()


def test_pretraining_is_shared_by_those_who_need_the_same(fitted, x, tmp_path):
    cache = tmp_path / "cache"
    assert begins_pretraining(cache, x)
    second = make("FcIDEC", cache_dir=cache).fit(x)
    assert not second.monitor.pretrained()
    assert second.monitor.notes and second.seconds_["pretrain"] > 0
    same(second, fitted("FcIDEC"))
    assert not begins_pretraining(cache, x, "FcDCN", n_clusters=7)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "other",
    [{"method": "FcDEC-DA"}, {"random_state": 1}, {"batch_size": 32}, {"latent_dim": 9}],
    ids=str,
)
def test_pretraining_is_not_shared_by_others(x, tmp_path, other):
    assert begins_pretraining(tmp_path, x)
    assert begins_pretraining(tmp_path, x, **other)


def test_pretraining_on_other_data_is_not_shared(x, tmp_path):
    other = x.copy()
    other[-1, -1, -1, 0] += 0.5
    assert begins_pretraining(tmp_path, x)
    assert begins_pretraining(tmp_path, other)
    assert begins_pretraining(tmp_path, x[:-1])
    assert not begins_pretraining(tmp_path, other)


def test_given_weights_take_the_place_of_pretraining(fitted, x, tmp_path):
    first = make("FcDEC", INSTANT | {"pretrain_epochs": 1}).fit(x)
    path = tmp_path / "ae_weights.h5"
    first.save_autoencoder(path)
    model = make("FcDCN", pretrained_weights=path).fit(x)
    assert not model.monitor.pretrained()
    same(model, fitted("FcDCN"))


def test_a_whole_model_can_be_started_from(fitted, x, tmp_path):
    path = tmp_path / "model_final.h5"
    fitted("FcDEC").save(path)
    model = make("FcIDEC", INSTANT, pretrained_weights=path).fit(x)
    assert np.array_equal(model.transform(x), fitted("FcDEC").transform(x))


def test_run_folder_holds_the_pretrained_weights(fitted, x, tmp_path):
    make("FcDEC", INSTANT | {"pretrain_epochs": 1}, run_dir=tmp_path).fit(x)
    model = make("FcDCN", pretrained_weights=tmp_path / "ae_weights.h5").fit(x)
    same(model, fitted("FcDCN"))


def test_folders_are_made(x, tmp_path):
    make("FcDEC", INSTANT, run_dir=tmp_path / "a" / "run", cache_dir=tmp_path / "b" / "c").fit(x)
    assert (tmp_path / "a" / "run").is_dir()


@pytest.mark.parametrize("change", ["seed", "data", "settings"])
def test_checkpoint_of_another_run_is_not_taken_up(x, tmp_path, change):
    """It may be refused or ignored; the result of the other run must not come back."""
    settings = {"pretrain_epochs": 0, "maxiter": 2}
    make("FcDEC", run_dir=tmp_path, checkpoint_seconds=0, **settings).fit(x)
    data = x[::-1] if change == "data" else x
    others = {"seed": {"random_state": 1}, "settings": {"optimizer": SGD(0.5, 0.9)}}
    settings |= others.get(change, {})
    try:
        model = make("FcDEC", run_dir=tmp_path, **settings).fit(data)
    except UserError:
        return
    same(model, make("FcDEC", **settings).fit(data))


# -- mistakes -------------------------------------------------------------------------------------


def one_line(caught):
    text = str(caught.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize("k", [0, 1, -3, N + 1, True, 2.0, "4", None])
def test_bad_number_of_clusters(x, k):
    with pytest.raises(UserError, match="n_clusters=") as caught:
        make("FcDEC", INSTANT, n_clusters=k).fit(x)
    assert repr(k) in one_line(caught)


def test_numpy_integers_will_do(x, tmp_path):
    model = make("FcDEC", INSTANT, n_clusters=np.int64(3), random_state=np.int64(0),
                 cache_dir=tmp_path).fit(x)  # fmt: skip
    model.save(tmp_path / "model.h5")
    assert np.array_equal(load(tmp_path / "model.h5").predict(x), model.labels_)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_bad_seed(x, seed):
    with pytest.raises(UserError, match="random_state"):
        make("FcDEC", INSTANT, random_state=seed).fit(x)


BAD_DATA = {
    "one dimension": np.zeros(20),
    "a number": np.float32(3),
    "none": None,
    "strings": np.full((20, 4), "1.0"),
    "objects": np.full((20, 4), None),
    "complex": np.zeros((20, 4), complex),
    "nan": np.where(np.eye(20) > 0, np.nan, 0.0),
    "infinite": np.where(np.eye(20) > 0, -np.inf, 0.0),
    "beyond float32": np.where(np.eye(20) > 0, 1e300, 0.0),
    "no samples": np.zeros((0, 16)),
    "no values": np.zeros((20, 0)),
    "ragged": [[1.0, 2.0], [3.0]] * 10,
}


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data(kind):
    with pytest.raises(UserError) as caught:
        make("FcDEC", INSTANT).fit(BAD_DATA[kind])
    one_line(caught)


@pytest.mark.parametrize("method", ["FcDEC-DA", "ConvDEC", "ConvDEC-DA"])
def test_flat_samples_that_are_no_square(method):
    with pytest.raises(UserError, match="50 values"):
        make(method, INSTANT).fit(np.random.default_rng(0).random((20, 50)))


@pytest.mark.parametrize("method", ["FcDEC-DA", "FcDCN-DA", "ConvDEC-DA", "ConvDEC"])
@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8, 1)], ids=str)
def test_images_without_or_with_too_many_axes(x, method, shape):
    data = np.random.default_rng(0).random((20, *shape))
    with pytest.raises(UserError) as caught:
        make(method, maxiter=1).fit(data)
    one_line(caught)


def test_any_shape_will_do_without_augmentation_and_convolution():
    data = np.random.default_rng(0).random((20, 50))
    labels = make("FcDEC", INSTANT).fit_predict(data)
    for shape in [(5, 10), (5, 2, 5, 1)]:
        model = make("FcDEC", INSTANT).fit(data.reshape(20, *shape))
        assert np.array_equal(model.labels_, labels)


def test_images_too_small_for_convolution():
    with pytest.raises(UserError, match="at least 8 pixels"):
        make("ConvDEC", INSTANT).fit(np.random.default_rng(0).random((20, 7, 9, 1)))


@pytest.mark.parametrize(
    ("method", "others", "data"),
    [
        ("ConvDEC", {}, "images"),
        ("FcDEC", {"latent_dim": 9}, "images"),
        ("FcDEC", {}, "smaller"),
    ],
    ids=["network", "latent size", "sample shape"],
)
def test_weights_of_another_network(fitted, x, tmp_path, method, others, data):
    path = tmp_path / "ae_weights.h5"
    fitted("FcDEC").save_autoencoder(path)
    with pytest.raises(UserError, match="ae_weights.h5") as caught:
        make(method, INSTANT, pretrained_weights=path, **others).fit(
            x if data == "images" else x[:, :6]
        )
    one_line(caught)


def test_missing_and_damaged_weights(fitted, x, tmp_path):
    path = tmp_path / "ae_weights.h5"
    with pytest.raises(UserError, match="no weights file"):
        make("FcDEC", INSTANT, pretrained_weights=path).fit(x)
    fitted("FcDEC").save_autoencoder(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot read"):
        make("FcDEC", INSTANT, pretrained_weights=path).fit(x)


def test_load_refuses_what_is_no_model(fitted, x, tmp_path):
    auto_encoder, model = tmp_path / "ae_weights.h5", tmp_path / "model_final.h5"
    fitted("FcDEC").save_autoencoder(auto_encoder)
    with pytest.raises(UserError, match="autoencoder weights: expected a whole model"):
        load(auto_encoder)
    make("FcDEC", INSTANT | {"maxiter": 1}, run_dir=tmp_path, checkpoint_seconds=0).fit(x)
    with pytest.raises(UserError, match="expected a whole model"):
        load(tmp_path / "checkpoint.h5")
    with pytest.raises(UserError, match="no weights file"):
        load(tmp_path / "absent.h5")
    fitted("FcDEC").save(model)
    model.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot read"):
        load(model)


def test_use_before_fit(x, tmp_path):
    model = make("FcDEC")
    for use in (model.predict, model.transform, model.memberships):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(x)
    with pytest.raises(NotFittedError, match="call fit first"):
        _ = model.cluster_centers_
    with pytest.raises(NotFittedError):
        model.save(tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "shape", [(64,), (8, 8, 1), (5, 63), (5, 16, 16, 1), (5, 8, 8, 3), (5, 16, 4, 1), (5, 1, 8, 8),
              (0, 8, 8, 1)], ids=str
)  # fmt: skip
def test_predict_for_another_shape(fitted, shape):
    with pytest.raises(UserError) as caught:
        fitted("FcDEC").predict(np.zeros(shape, np.float32))
    assert str(shape) in one_line(caught)


@pytest.mark.parametrize("value", [np.nan, np.inf, "a"])
def test_predict_for_no_numbers(fitted, value):
    with pytest.raises(UserError):
        fitted("FcDEC").predict(np.full((3, 8, 8, 1), value))


@pytest.mark.parametrize("phase", ["pretrain", "last pretrain step", "cluster"])
def test_divergence_is_told_and_nothing_bad_is_kept(x, tmp_path, phase):
    huge = SGD(1e30, 0.9)
    settings = {
        "pretrain": {"pretrain_optimizer": huge},
        "last pretrain step": {"pretrain_optimizer": SGD(1e38), "batch_size": N},
        "cluster": {"optimizer": huge},
    }[phase]
    with pytest.raises(TrainingFailed):
        make("FcIDEC", cache_dir=tmp_path, **settings).fit(x)
    kept = list(tmp_path.glob("*/ae_weights.h5"))
    assert bool(kept) == (phase == "cluster")
