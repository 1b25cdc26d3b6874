"""The contract that every method keeps, and what is each method's own."""

import gc
import shutil
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from augment import RandomShiftRotate
from common.errors import TrainingFailed, UserError
from common.files import load_arrays, save_arrays
from metrics import acc
from models import METHODS as EVERY
from models import build, dec, load, preset
from models.core import autoencoder, phases
from models.core import base as base_module
from models.core.base import CLUSTER
from models.core.monitor import Monitor
from models.core.networks import AUTOENCODERS
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.settings.base import SGD, Adam

# Those with a clustering phase; the others are in test_baselines.py.
METHODS = {n: row for n, row in EVERY.items() if row.module in ("models.dec", "models.aspc")}
K, N, STEPS = 4, 150, 6
SMALL = {"pretrain_epochs": 1, "maxiter": STEPS, "n_init": 2, "batch_size": 50, "tol": 0}
PASS = 3  # steps a pass
INSTANT = SMALL | {"pretrain_epochs": 0, "maxiter": 0}
FC, CONV, SHUFFLED = "FcDEC-DA", "ConvIDEC-DA", "FcDCN-DA"  # where one of a kind will do
# (network, augmented) -> the method that pretrains for all others of the kind.
LEADERS = {
    ("fc", False): "FcDEC",
    ("fc", True): SHUFFLED,
    ("conv", False): "ConvDEC",
    ("conv", True): CONV,
}
KILLS = {
    SHUFFLED: [("pretrain", 1), ("pretrain", 3), ("cluster", 1), ("cluster", 4)],
    CONV: [("pretrain", 2)],
}
SMALL_NETWORKS = """
from functools import partial
from models.core.networks import AUTOENCODERS, conv_autoencoder, dense_autoencoder
AUTOENCODERS["fc"] = partial(dense_autoencoder, widths=(32,))
AUTOENCODERS["conv"] = partial(conv_autoencoder, filters=(4, 6, 8))
"""


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """The contract does not depend on the widths; test_networks.py has the papers' ones."""
    before = dict(AUTOENCODERS)
    exec(SMALL_NETWORKS, {})
    yield
    AUTOENCODERS.update(before)


class Recorder(Monitor):
    """Remembers what it is told, and the model as the clustering phase finds it."""

    def __init__(self, model=None):
        self.begins, self.steps, self.rows, self.notes = [], [], [], []
        self.model, self.start = model, None

    def __deepcopy__(self, memo):
        return Recorder()

    def begin(self, phase, total, step):
        self.begins.append((phase, total, step))
        if phase == "cluster":
            self.start = weights(self.model)

    def progress(self, phase, step):
        self.steps.append((phase, step))

    def row(self, phase, step, values, labels=None):
        self.rows.append((phase, step, dict(values), None if labels is None else labels.copy()))

    def note(self, text):
        self.notes.append(text)

    def pretrained(self):
        return any(phase == "pretrain" for phase, _, _ in self.begins)


class Killed(Exception):
    pass


class Killer(Recorder):
    """Raises after a step's training and before its checkpoint."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def progress(self, phase, step):
        super().progress(phase, step)
        if (phase, step) == self.at:
            raise Killed


class Copier(Recorder):
    """Keeps a copy of the run's folder as a kill at that moment would leave it."""

    def __init__(self, at, copy):
        super().__init__()
        self.at, self.copy = at, copy

    def progress(self, phase, step):
        super().progress(phase, step)
        if (phase, step) == self.at:
            shutil.copytree(self.model.run_dir, self.copy)


def make(method, settings=SMALL, **others):
    """A method with few, small steps, so that one pass of pretraining does not collapse."""
    config = preset(method)
    others = {"random_state": 0, "n_clusters": K, "monitor": Recorder()} | settings | others
    if config.update_interval is not None:
        others = {"update_interval": 2} | others
    gentle = Adam(3e-4) if method in (CONV, SHUFFLED) else SGD(0.01, 0.9)
    model = build(method, others.pop("n_clusters"), **({"optimizer": gentle} | others))
    model.monitor.model = model
    return model


def interval(method):
    return PASS if preset(method).update_interval is None else 2


def leader(method):
    config = preset(method)
    return LEADERS[config.network, config.aug_pretrain]


def weights(model):
    found = {"centers": np.array(model.cluster_centers_)}
    found |= {name: v.numpy() for name, v in model.extra_state().items()}
    for name in ("encoder", "decoder"):
        variables = getattr(model, name).variables
        found |= {f"{name} {i}": np.asarray(v).copy() for i, v in enumerate(variables)}
    return found


def same(a, b):
    """Two fitted models agree in every bit."""
    for name in ("labels_", "initial_labels_", "refresh_labels_"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    ours, theirs = weights(a), weights(b)
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name
    assert (a.n_iter_, a.converged_) == (b.n_iter_, b.converged_)


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def cache(folders):
    return folders / "cache"


LOADER = (
    """
import sys
import numpy as np
from models import load
"""
    + SMALL_NETWORKS
    + """
folder, *methods = sys.argv[1:]
x = np.load(folder + "/x.npy")
results = {}
for method in methods:
    model = load(f"{folder}/{method}.h5")
    results[method] = model.predict(x)
    results[method + " q"] = model.memberships(x)
np.savez(folder + "/results.npz", **results)
"""
)


@pytest.fixture(scope="module")
def fitted(x, folders, cache):
    """Return a function: method -> a model fitted without interruption, once.

    Leaders pretrain, the others find their weights in the cache.
    """
    kept = {}

    def get(method):
        if method not in kept:
            if method != leader(method):
                get(leader(method))
            run = folders / method
            run.mkdir()
            model = make(
                method,
                run_dir=run,
                cache_dir=cache,
                checkpoint_seconds=0,
                monitor=Copier(("cluster", 5), folders / f"{method} killed"),
            )
            model.returned = model.fit_predict(x)
            kept[method] = model
        return kept[method]

    return get


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_results_of_fit(fitted, x, method):
    model = fitted(method)
    for labels in (model.labels_, model.initial_labels_, model.refresh_labels_):
        assert labels.shape == (N,) and labels.dtype == np.int64
        assert labels.min() >= 0 and labels.max() < K
    assert len(np.unique(model.labels_)) > 1  # else the tests below would say little
    assert model.returned is model.labels_
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
    assert set(model.step_seconds_) == {"pretrain", "cluster"}
    assert all(0 < v <= model.seconds_[name] for name, v in model.step_seconds_.items())


PARTS = {"DEC": ["kl"], "IDEC": ["kl", "reconstruction"], "DCN": ["distance"], "ASPC": ["distance"]}
TOLD = {"ASPC": {"lambda", "selected", "distance_mean"}}


@pytest.mark.parametrize("method", METHODS)
def test_what_the_monitor_is_told(fitted, method):
    model, every = fitted(method), interval(method)
    log, kind = model.monitor, METHODS[method].cls
    assert log.begins[-1] == ("cluster", STEPS, 0)
    assert log.steps[-STEPS:] == [("cluster", s + 1) for s in range(STEPS)]
    rows = log.rows
    if method == leader(method):
        assert log.begins[:-1] == [("pretrain", PASS, 0)]
        assert log.steps[:-STEPS] == [("pretrain", s + 1) for s in range(PASS)]
        (phase, step, values, labels), *rows = rows
        assert (phase, step, labels) == ("pretrain", PASS, None)
        assert set(values) == {"reconstruction", "loss", "seconds"}
        assert values["loss"] == pytest.approx(values["reconstruction"])
    else:
        assert not log.pretrained() and len(log.begins) == 1 and log.notes
    steps = [("cluster", s) for s in range(0, STEPS, every)]
    assert [(phase, step) for phase, step, _, _ in rows] == [*steps, ("final", STEPS)]
    scale = {
        "kl": model.config.beta,
        "distance": model.config.beta,
        "reconstruction": model.config.alpha,
    }
    before = None
    for phase, step, values, labels in rows:
        names = {"seconds"}
        if phase == "cluster":
            names |= {"changed", "start_agreement"} | TOLD.get(kind, set())
        if step > 0:
            names |= {*PARTS[kind], "loss"}
            total = sum(scale[name] * values[name] for name in PARTS[kind])
            assert values["loss"] == pytest.approx(total, rel=1e-5)
        assert set(values) == names
        if phase == "cluster":
            changed = 1.0 if before is None else np.mean(labels != before)
            assert values["changed"] == pytest.approx(changed)
            before = labels
    assert np.array_equal(before, model.refresh_labels_)
    assert np.array_equal(rows[-1][3], model.labels_)


@pytest.mark.parametrize("method", METHODS)
def test_clustering_trains_what_it_should(fitted, method):
    before, after = fitted(method).monitor.start, weights(fitted(method))
    moved = {name.split()[0] for name in after if not np.array_equal(after[name], before[name])}
    own = {"DEC": {"centers"}, "IDEC": {"centers", "decoder"}, "DCN": {"centers", "counts"}}
    assert moved == {"encoder"} | own.get(METHODS[method].cls, set())


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith("ASPC-DA-")])
def test_resumed_equals_uninterrupted(fitted, x, folders, cache, method):
    """From the folder as a kill in the fifth step leaves it."""
    first = fitted(method)
    model = make(method, run_dir=folders / f"{method} killed", cache_dir=cache).fit(x)
    assert model.monitor.begins == [("cluster", STEPS, 4)]
    same(model, first)
    expected = [row for row in first.monitor.rows if row[0] != "pretrain" and row[1] >= 4]
    assert len(model.monitor.rows) == len(expected)
    for got, wanted in zip(model.monitor.rows, expected, strict=True):
        assert got[:2] == wanted[:2] and np.array_equal(got[3], wanted[3])
        assert got[2] | {"seconds": 0} == wanted[2] | {"seconds": 0}
    assert model.seconds_["cluster"] > 0


@pytest.mark.parametrize("method", KILLS)
def test_killed_again_and_again_equals_uninterrupted(fitted, x, tmp_path, method):
    """Also that a second pretraining with the same seed gives the same weights bit for bit."""
    (tmp_path / "run").mkdir()
    folders = {
        "run_dir": tmp_path / "run",
        "cache_dir": tmp_path / "cache",
        "checkpoint_seconds": 0,
    }
    reached = {"pretrain": 0, "cluster": 0}
    for phase, step in KILLS[method]:
        model = make(method, monitor=Killer((phase, step)), **folders)
        with pytest.raises(Killed):
            model.fit(x)
        assert model.monitor.begins[-1][::2] == (phase, reached[phase])
        reached[phase] = max(reached[phase], step - 1)
    last = make(method, **folders).fit(x)
    assert last.monitor.begins[-1] == ("cluster", STEPS, reached["cluster"])
    if KILLS[method][-1][0] == "pretrain":
        assert last.monitor.begins[:-1] == [("pretrain", PASS, reached["pretrain"])]
    else:
        assert not last.monitor.pretrained()
    same(last, fitted(method))


# -- the seed, and what must not matter -----------------------------------------------------------


def test_another_seed_gives_another_run(fitted, x):
    ours, theirs = weights(fitted(FC)), weights(make(FC, random_state=1).fit(x))
    for name in ours:
        assert not np.array_equal(ours[name], theirs[name]), name


def test_labels_are_never_seen(fitted, x, cache):
    expected = fitted(FC)
    y = np.random.default_rng(0).integers(0, 99, size=N).astype(str)
    same(make(FC, cache_dir=cache).fit(x, y), expected)


def test_refit_starts_afresh(fitted, x):
    """Without any folder."""
    model = make(FC, INSTANT).fit(x[::-1])
    model.set_params(config=fitted(FC).config)
    same(model.fit(x), fitted(FC))


@pytest.mark.parametrize("method", ["FcIDEC", "ConvDEC"])
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


def test_data_is_left_as_it_was(x, eager):
    copy = x.copy()
    make("FcIDEC-DA", maxiter=1).fit(copy)
    assert np.array_equal(copy, x)


@pytest.mark.parametrize(("name", "other"), [("FcDEC", "FcIDEC"), ("ConvDEC-DA", CONV)])
def test_IDEC_is_DEC_with_alpha(fitted, x, cache, name, other):
    """Bit for bit: --alpha acts on DEC, and without it IDEC does not reconstruct."""
    assert dec.IDEC is dec.DEC
    for method, like in ((name, fitted(other)), (other, fitted(name))):
        c = like.config
        settings = {"alpha": c.alpha, "beta": c.beta, "optimizer": c.optimizer}
        model = make(method, cache_dir=cache, **settings).fit(x)
        assert np.array_equal(model.labels_, like.labels_)
        assert np.array_equal(model.transform(x), like.transform(x))
        assert set(model.loss_weights()) == {"kl"} | ({"reconstruction"} if c.alpha else set())
    half = make(name, cache_dir=cache, alpha=0.5).fit(x)
    assert half.loss_weights() == {"kl": half.config.beta, "reconstruction": 0.5}
    assert not np.array_equal(half.transform(x), fitted(name).transform(x))


def test_without_shift_and_rotation_DA_changes_nothing(fitted, x):
    augmented = make("FcIDEC-DA", shift=0, rotation=0, pretrain_shuffles=1).fit(x)
    plain = fitted("FcIDEC")
    assert np.array_equal(augmented.labels_, plain.labels_)
    np.testing.assert_allclose(augmented.transform(x), plain.transform(x), rtol=1e-4, atol=1e-5)


# -- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_parameters_and_clone(fitted, x, method):
    model = fitted(method)
    params = model.get_params()
    assert {"n_clusters", "tol", "random_state", "run_dir", "cache_dir"} <= set(params)
    assert "config" not in params  # but all its options
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


NEVER = 10**9


@pytest.mark.parametrize(
    ("often", "large", "kept"), [(1, NEVER, 0), (NEVER, 1, 0), (NEVER, NEVER, 1)]
)
def test_what_was_traced_for_an_earlier_fit_is_let_go(x, monkeypatch, often, large, kept):
    """After some phases, and before each phase on large data."""
    monkeypatch.setattr(phases, "OFTEN", often)
    monkeypatch.setattr(phases, "LARGE", large)
    traced, trainer = [], autoencoder.Trainer

    def watched(*args, **others):
        made = trainer(*args, **others)
        traced.append(weakref.ref(made._train_step))
        return made

    monkeypatch.setattr(autoencoder, "Trainer", watched)
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            make("FcDEC", pretrain_epochs=1, maxiter=0).fit(x)
        assert (traced[0]() is None) == ((often, large) != (NEVER, NEVER))
    finally:
        gc.enable()


# -- the algorithms -------------------------------------------------------------------------------


def test_without_steps_the_result_is_k_means_on_the_pretrained_embedding(x):
    model = make("FcDEC", maxiter=0).fit(x)
    assert np.array_equal(model.labels_, model.initial_labels_)
    assert np.array_equal(model.refresh_labels_, model.initial_labels_)
    assert model.n_iter_ == 0 and not model.converged_
    z = model.transform(x)
    means = [z[model.labels_ == j].mean(axis=0) for j in range(K)]
    np.testing.assert_allclose(model.cluster_centers_, means, atol=1e-3)


@pytest.mark.parametrize("method", ["FcDEC", "FcDCN-DA", "ASPC"])
def test_settled_labels_stop_at_the_second_refresh(x, method):
    still = {"optimizer": Adam(1e-12), "pretrain_epochs": 0}
    model = make(method, tol=1e-3, **still).fit(x)
    assert model.converged_ is True and model.n_iter_ == interval(method)
    assert [row[1] for row in model.monitor.rows if row[0] == "cluster"] == [0, interval(method)]


def test_tol_zero_never_stops(x):
    model = make("FcDEC", optimizer=Adam(1e-12), pretrain_epochs=0, tol=0).fit(x)
    assert model.n_iter_ == STEPS and not model.converged_


@pytest.mark.parametrize("method", ["FcIDEC", "FcDCN-DA", "ASPC-DA"])
def test_finds_four_kinds_of_image(method):
    """Class j has row j of its 4x4 pixels lit."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, size=100)
    x = np.repeat(np.eye(4), 4, axis=1)[y] + 0.05 * rng.normal(size=(100, 16))
    settings = {"pretrain_epochs": 20, "maxiter": 12, "rotation": 0, "shift": 0.05}
    model = make(method, settings | {"batch_size": 50, "n_init": 4})
    assert acc(y, model.fit_predict(x)) == 1.0


def test_pretraining_learns_to_reconstruct(x):
    model = make("ConvDEC", pretrain_epochs=8, pretrain_optimizer=Adam(3e-3), maxiter=0).fit(x)
    losses = [values["loss"] for phase, _, values, _ in model.monitor.rows if phase == "pretrain"]
    assert len(losses) == 8 and losses[-1] < 0.7 * losses[0]
    error = np.mean((np.asarray(model.decoder(model.encoder(x))) - x) ** 2)
    assert error == pytest.approx(losses[-1], rel=0.3)


def with_centers(method, centers, **settings):
    model = build(method, len(centers), latent_dim=len(centers[0]), **settings)
    model.centers = keras.Variable(np.array(centers, np.float32))
    return model


def column(*values):
    return np.array(values, np.float32)[:, None]


def of_dcn(centers, sizes):
    """FcDCN after k-means, which found clusters of some sizes."""
    model = with_centers("FcDCN", centers)
    model.counts = keras.Variable(np.zeros(len(sizes), np.float32))
    model.initial_labels_ = np.repeat(np.arange(len(sizes)), sizes)
    return model


def test_DCN_refresh_by_hand():
    """Assign to the nearest centre, then take up; the third cluster is empty and stays."""
    model = of_dcn([[1, 1], [9, 1], [50, 50]], [2, 6, 1])
    z = np.array([[0, 0], [2, 0], [10, 0], [10, 4]], np.float32)
    labels, targets, _ = model.refresh(z, 0)
    assert labels.tolist() == [0, 0, 1, 1]
    moved = [[1, 0.5], [9.25, 1.25], [50, 50]]
    assert model.cluster_centers_.tolist() == moved
    assert model.counts.numpy().tolist() == [4, 8, 1]
    assert list(targets) == ["center"]
    assert np.asarray(targets["center"]).tolist() == [moved[0], moved[0], moved[1], moved[1]]
    assert model.loss_weights() == {"distance": 1.0}


def test_DCN_remembers_all_that_its_centres_took_up():
    """The mean over k-means' samples and two passes, in whatever order."""
    model = of_dcn([[0.0], [10.0]], [2, 1])
    model.refresh(column(3, 3, 9), 0)
    model.refresh(column(1, 1, 1, 16), 3)
    assert model.counts.numpy().tolist() == [7, 3]
    np.testing.assert_allclose(
        model.cluster_centers_, [[(2 * 0 + 6 + 3) / 7], [(10 + 9 + 16) / 3]], rtol=1e-6
    )


def test_DCN_assigns_before_it_moves_the_centres():
    """The third sample is nearer to centre 0 as it was, nearer to centre 1 as it becomes."""
    model = of_dcn([[0.0], [10.0]], [3, 1])
    labels, targets, _ = model.refresh(column(0, 0, 4.8, 2), 0)
    assert labels.tolist() == [0, 0, 0, 0]
    labels, targets, _ = model.refresh(column(0, 0, 5.3, 6), 3)
    assert labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(
        np.ravel(targets["center"]), [12.1 / 10, 12.1 / 10, 12.1 / 10, 8], rtol=1e-6
    )


def test_an_empty_cluster_of_k_means_counts_for_one_sample():
    model = of_dcn([[0.0], [10.0]], [4, 0])
    model.refresh(column(12), 0)
    assert model.counts.numpy().tolist() == [4, 2] and model.cluster_centers_[1, 0] == 11


def test_a_DCN_model_from_before_its_counts_is_loaded(fitted, x, tmp_path):
    model = fitted("FcDCN")
    model.save(tmp_path / "new.h5")
    arrays, about = load_arrays(tmp_path / "new.h5")
    assert arrays.pop("counts").sum() > len(x)
    save_arrays(tmp_path / "old.h5", arrays, about)
    assert np.array_equal(load(tmp_path / "old.h5").predict(x), model.predict(x))


@pytest.mark.parametrize("method", ["FcDEC", "ConvIDEC"])
def test_DEC_refresh_by_hand(method):
    """The four points of test_functional.py: P from all samples, centres left as they are."""
    model = with_centers(method, [[0, 0], [2, 0]])
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
    got = model.loss(tf.constant(batch), {"p": tf.constant(p), "center": tf.constant(center)}, None)
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


@pytest.mark.parametrize("method", ["FcDEC", "FcDEC-DA", "FcDCN-DA"])
def test_targets_come_from_clean_samples_and_losses_from_augmented_ones(
    x, method, eager, monkeypatch
):
    """Every batch's samples and targets, step by step, against what the last refresh wrote."""
    x, n, b = x[:30], 30, 8
    order = {} if "DCN" in method else {"shuffle": False}
    own = {"pretrain_epochs": 0, "maxiter": 7, "batch_size": b, "optimizer": Adam(1e-2)}
    model = make(method, **own | order)
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

    def loss(x, targets, seed):
        given = {name: np.asarray(value) for name, value in targets.items()}
        batches.append((np.asarray(x), given, len(refreshes) - 1))
        return type(model).loss(model, x, targets, seed)

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


@pytest.mark.parametrize("method", [FC, CONV])
def test_bfloat16_keeps_the_contract(fitted, x, tmp_path, method):
    model = make(method, precision="bfloat16", run_dir=tmp_path / "run").fit(x)
    assert not np.array_equal(model.transform(x), fitted(method).transform(x))
    assert np.array_equal(model.predict(x), model.labels_)
    again = make(method, precision="bfloat16").fit(x)
    assert all(np.array_equal(weights(again)[name], v) for name, v in weights(model).items())
    model.save(tmp_path / "model.h5")
    loaded = load(tmp_path / "model.h5")
    assert loaded.config.precision == "bfloat16"
    assert np.array_equal(loaded.predict(x), model.labels_)


# -- files ----------------------------------------------------------------------------------------


def test_saved_models_predict_the_same_in_a_new_process(fitted, x, tmp_path, new_process):
    methods = ["FcDEC", SHUFFLED, CONV, "ASPC-DA"]
    np.save(tmp_path / "x.npy", x)
    for method in methods:
        fitted(method).save(tmp_path / f"{method}.h5")
    new_process(LOADER, tmp_path, *methods)
    results = np.load(tmp_path / "results.npz")
    for method in methods:
        model = fitted(method)
        assert np.array_equal(results[method], model.labels_), method
        np.testing.assert_allclose(results[method + " q"], model.memberships(x), atol=1e-5)


@pytest.mark.parametrize("method", ["FcIDEC", SHUFFLED, CONV, "ConvASPC-DA"])
def test_loaded_model_is_the_one_saved(fitted, x, tmp_path, method):
    path = tmp_path / "model.h5"
    fitted(method).save(path)
    model = load(str(path))
    assert type(model) is type(fitted(method))
    assert (model.n_clusters, model.random_state, model.method) == (K, 0, method)
    assert model.config == fitted(method).config
    ours, theirs = weights(model), weights(fitted(method))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert np.array_equal(model.predict(x), fitted(method).labels_)


def test_loaded_model_can_be_saved_again(fitted, tmp_path):
    fitted("FcDEC").save(tmp_path / "model.h5")
    load(tmp_path / "model.h5").save(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "model.h5").read_bytes()


def begins_pretraining(cache_dir, x, method="FcDEC", **others):
    model = make(method, INSTANT, cache_dir=cache_dir, **others).fit(x)
    return model.monitor.pretrained()


@pytest.mark.parametrize("other", ["FcIDEC", "FcDCN", "ASPC", "BasicDC"])
def test_pretraining_is_shared_by_those_who_need_the_same(fitted, x, cache, other):
    """What the others found is what the leader of their kind made."""
    lead, model = fitted("FcDEC"), fitted(other)
    for name, array in lead.monitor.start.items():
        assert np.array_equal(array, model.monitor.start[name]), name
    assert model.seconds_["pretrain"] == pytest.approx(lead.seconds_["pretrain"])
    count = len(list(cache.iterdir()))
    assert not begins_pretraining(cache, x, other, n_clusters=7, pretrain_epochs=1)
    assert len(list(cache.iterdir())) == count


def test_pretraining_is_not_shared_by_others(x, tmp_path):
    others = [
        {"random_state": 1},
        {"batch_size": 32},
        {"latent_dim": 9},
        {"method": "FcDEC-DA"},
        {"pretrain_epochs": 1},
    ]
    for other in [{}, *others]:
        assert begins_pretraining(tmp_path, x, **other), other
    assert not begins_pretraining(tmp_path, x)


def test_pretraining_on_other_data_is_not_shared(x, tmp_path):
    other = x.copy()
    other[-1, -1, -1, 0] += 0.5
    assert begins_pretraining(tmp_path, x)
    assert begins_pretraining(tmp_path, other)
    assert begins_pretraining(tmp_path, x[:-1])
    assert not begins_pretraining(tmp_path, other)


def test_given_weights_take_the_place_of_pretraining(fitted, x, folders):
    """Those that a run left in its folder."""
    fitted("FcDEC")
    path = folders / "FcDEC" / "ae_weights.h5"
    model = make("FcDCN", pretrained_weights=path).fit(x)
    assert not model.monitor.pretrained()
    same(model, fitted("FcDCN"))


def test_a_whole_model_can_be_started_from(fitted, x, tmp_path):
    path = tmp_path / "model_final.h5"
    fitted("FcDEC").save(path)
    model = make("FcIDEC", INSTANT, pretrained_weights=path).fit(x)
    assert np.array_equal(model.transform(x), fitted("FcDEC").transform(x))


def test_folders_are_made(x, tmp_path):
    make("FcDEC", INSTANT, run_dir=tmp_path / "a" / "run", cache_dir=tmp_path / "b" / "c").fit(x)
    assert (tmp_path / "a" / "run").is_dir()


@pytest.mark.parametrize("change", ["seed", "data", "settings"])
def test_checkpoint_of_another_run_is_not_taken_up(x, tmp_path, eager, change):
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


@pytest.mark.parametrize("k", [0, -3, N + 1, True, 2.0, "4", None])
def test_bad_number_of_clusters(x, k):
    with pytest.raises(UserError, match="n_clusters=") as caught:
        make("FcDEC", INSTANT, n_clusters=k).fit(x)
    assert repr(k) in one_line(caught)


def test_numpy_integers_will_do(x, tmp_path):
    model = make(
        "FcDEC", INSTANT, n_clusters=np.int64(3), random_state=np.int64(0), cache_dir=tmp_path
    ).fit(x)
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
    "beyond 1e+15": np.where(np.eye(20) > 0, 1e300, 0.0),
    "no samples": np.zeros((0, 16)),
    "no values": np.zeros((20, 0)),
    "ragged": [[1.0, 2.0], [3.0]] * 10,
}


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
def test_images_without_or_with_too_many_axes(method, shape):
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
    [("ConvDEC", {}, "images"), ("FcDEC", {"latent_dim": 9}, "images"), ("FcDEC", {}, "smaller")],
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


def test_load_refuses_what_is_no_model(fitted, x, folders, tmp_path):
    auto_encoder, model = tmp_path / "ae_weights.h5", tmp_path / "model_final.h5"
    fitted("FcDEC").save_autoencoder(auto_encoder)
    with pytest.raises(UserError, match="autoencoder weights: expected a whole model"):
        load(auto_encoder)
    with pytest.raises(UserError, match="expected a whole model"):
        load(folders / "FcDEC" / "checkpoint.h5")
    with pytest.raises(UserError, match="no weights file"):
        load(tmp_path / "absent.h5")
    fitted("FcDEC").save(model)
    model.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot read"):
        load(model)


@pytest.mark.parametrize(
    "changes",
    [{"config": 3}, {"n_clusters": "x"}, {"shape": 8}, {"shape": [7, 8, 1]}]
    + [{"config": None}, {"method": 4}],
    ids=str,
)
def test_load_refuses_a_model_that_was_changed_by_hand(fitted, tmp_path, changes):
    path = tmp_path / "model_final.h5"
    fitted("FcDEC").save(path)
    arrays, about = load_arrays(path)
    save_arrays(path, arrays, about | changes)
    with pytest.raises(UserError) as caught:
        load(path)
    one_line(caught)


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
    "shape",
    [
        (64,),
        (8, 8, 1),
        (5, 63),
        (5, 16, 16, 1),
        (5, 8, 8, 3),
        (5, 16, 4, 1),
        (5, 1, 8, 8),
        (0, 8, 8, 1),
    ],
    ids=str,
)
def test_predict_for_another_shape(fitted, shape):
    with pytest.raises(UserError) as caught:
        fitted("FcDEC").predict(np.zeros(shape, np.float32))
    assert str(shape) in one_line(caught)


@pytest.mark.parametrize("value", [np.nan, np.inf, "a"])
def test_predict_for_no_numbers(fitted, value):
    with pytest.raises(UserError):
        fitted("FcDEC").predict(np.full((3, 8, 8, 1), value))


@pytest.mark.parametrize("phase", ["pretrain", "last pretrain step", "cluster"])
def test_divergence_is_told_and_nothing_bad_is_kept(x, tmp_path, eager, phase):
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
