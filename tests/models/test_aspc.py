"""Self-paced selection by hand, and what a run of ASPC does with it."""

import pickle
from functools import partial

import keras
import numpy as np
import pytest

from common.errors import UserError
from metrics import acc
from models import build, load, preset
from models.aspc import selected_mean, selection_threshold
from models.core import rcc
from models.core.arrays import cluster_means
from models.core.monitor import Monitor
from models.core.networks import AUTOENCODERS, dense_autoencoder

SMALL = {"pretrain_epochs": 1, "n_init": 2, "batch_size": 64, "tol": 0, "epochs": 3}


class Log(Monitor):
    """Keeps the rows of clustering, and the notes but for those of pretrained weights."""

    def __init__(self):
        self.rows, self.notes = [], []

    def row(self, phase, step, values, labels=None):
        if phase == "cluster":
            self.rows.append((step, dict(values), labels))

    def note(self, text):
        if not text.startswith("pretrained weights found"):
            self.notes.append(text)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    before = AUTOENCODERS["fc"]
    AUTOENCODERS["fc"] = partial(dense_autoencoder, widths=(32,))
    yield
    AUTOENCODERS["fc"] = before


@pytest.fixture(scope="module")
def x(digits):
    return digits[:150]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder where the weights of one pretraining are, once there was one."""
    return tmp_path_factory.mktemp("pretrained")


def on_codes(centers, epochs=4, **settings):
    """An ASPC that is given codes, not samples."""
    model = build("ASPC", len(centers), latent_dim=1, batch_size=5, epochs=epochs, **settings)
    model.centers = keras.Variable(np.array(centers, np.float32)[:, None])
    return model


def test_lambda_and_selection_of_ten_losses_by_hand():
    """Losses 0, 1, 4, ..., 81: mean 28.5, std sqrt(721.05) = 26.852."""
    losses = np.arange(10.0) ** 2
    assert selection_threshold(losses, 0.0) == pytest.approx(28.5)
    assert selection_threshold(losses, 1.0) == pytest.approx(28.5 + 26.852374)
    model = on_codes([0.0, 1000.0])
    model.initial_labels_ = np.zeros(10, np.int64)
    z = np.arange(10, dtype=np.float32)[:, None]
    for step, kept, threshold in (
        (0, 10, np.inf),  # the first epoch takes all
        (2, 6, 28.5),  # then t = 0: 0, 1, 4, 9, 16, 25
        (4, 6, 28.5 + 26.852374 / 4),  # 35.2
        (8, 7, 28.5 + 26.852374 * 3 / 4),  # 48.6: 36 is below, 49 is not
    ):
        labels, targets, told = model.refresh(z, step)
        assert labels.tolist() == [0] * 10
        assert np.asarray(targets["v"]).tolist() == [1.0] * kept + [0.0] * (10 - kept)
        assert np.asarray(targets["center"]).tolist() == [[0.0]] * 10
        assert told["lambda"] == pytest.approx(threshold)
        assert told["selected"] == pytest.approx(kept / 10)
        assert told["distance_mean"] == pytest.approx(28.5)


def test_basic_dc_takes_all_in_every_epoch():
    model = on_codes([0.0, 1000.0], self_paced=False)
    labels, targets, told = model.refresh(np.arange(10, dtype=np.float32)[:, None], 6)
    assert np.asarray(targets["v"]).tolist() == [1.0] * 10 and told["selected"] == 1


def test_assignment_to_the_nearest_fixed_centre():
    model = on_codes([0.0, 10.0])
    z = np.array([[1], [4], [6], [12], [5.5]], np.float32)
    labels, targets, _ = model.refresh(z, 1)
    assert labels.tolist() == [0, 0, 1, 1, 1]
    assert np.asarray(targets["center"])[:, 0].tolist() == [0, 0, 10, 10, 10]
    assert model.cluster_centers_.tolist() == [[0.0], [10.0]]


def test_batch_loss_is_the_mean_over_the_selected():
    losses = np.array([1.0, 2.0, 30.0, 5.0], np.float32)
    for v, mean in (([1, 1, 0, 1], 8 / 3), ([1, 1, 1, 1], 9.5), ([0, 0, 0, 0], 0.0)):
        assert float(selected_mean(losses, np.array(v, np.float32))) == pytest.approx(mean)


def test_a_batch_without_selected_samples_moves_nothing(x):
    import tensorflow as tf

    model = build("ASPC", 4, pretrain_epochs=0, epochs=1, batch_size=64, n_init=1).fit(x)
    with tf.GradientTape() as tape:
        targets = {"center": np.ones((8, 10), np.float32), "v": np.zeros(8, np.float32)}
        loss = model.loss(tf.constant(x[:8]), targets, None)["distance"]
    gradients = tape.gradient(loss, [v.value for v in model.cluster_variables()])
    assert float(loss) == 0 and all(not np.asarray(g).any() for g in gradients)


def test_means_by_hand_with_an_empty_cluster():
    z = np.array([[0, 0], [2, 4], [5, 5]], np.float32)
    assert cluster_means(z, np.array([0, 0, 2]), 3).tolist() == [[1, 2], [0, 0], [5, 5]]


@pytest.mark.parametrize("method", ["ASPC", "ASPC-DA", "BasicDC"])
def test_centres_stay_and_the_encoder_learns(x, tmp_path, method):
    start = build(method, 4, cache_dir=tmp_path, **(SMALL | {"maxiter": 0})).fit(x)
    model = build(method, 4, cache_dir=tmp_path, **SMALL).fit(x)
    assert np.array_equal(model.cluster_centers_, start.cluster_centers_)
    assert not np.array_equal(model.transform(x), start.transform(x))
    assert model.n_iter_ == 3 * 3  # epochs of 64 + 64 + 22 samples


def test_the_log_tells_lambda_and_the_share_selected(x):
    model = build("ASPC-DA", 4, monitor=Log(), **SMALL).fit(x)
    steps = [step for step, _, _ in model.monitor.rows]
    assert steps == [0, 3, 6]
    for step, values, labels in model.monitor.rows:
        assert {"lambda", "selected", "distance_mean", "changed"} <= set(values)
        assert labels.shape == (150,)
        assert (values["selected"] == 1) == (step == 0)
        assert 0 < values["selected"] <= 1


def test_augmented_losses_select_other_samples(x, tmp_path):
    logs = []
    for selection in ("clean", "augmented"):
        settings = SMALL | {"selection": selection, "cache_dir": tmp_path}
        model = build("ASPC-DA", 4, monitor=Log(), **settings).fit(x)
        logs.append([values["distance_mean"] for _, values, _ in model.monitor.rows])
    assert logs[0][0] == logs[1][0]  # nothing is selected yet
    assert logs[0][1] != logs[1][1]


def test_stops_by_itself_without_labels(x):
    model = build("ASPC", 4, **(SMALL | {"tol": 1.0, "epochs": 50})).fit(x)
    assert model.converged_ and model.n_iter_ < 50 * 3


@pytest.mark.parametrize("init", ["spectral", "agglomerative", "gmm"])
def test_initialisers_of_table_6(x, init, monkeypatch, pretrained):
    """On all samples, and on a sample of 100 of them: every sample gets a label either way."""
    settings = SMALL | {"init": init, "maxiter": 0, "cache_dir": pretrained}
    model = build("ASPC-DA", 4, monitor=Log(), **settings).fit(x)
    assert not model.monitor.notes and len(np.unique(model.initial_labels_)) == 4
    np.testing.assert_allclose(
        model.cluster_centers_,
        cluster_means(model.transform(x), model.initial_labels_, 4),
        atol=1e-4,
    )
    monkeypatch.setattr("models.core.initialization.SAMPLE", 100)
    model = build("ASPC-DA", 4, monitor=Log(), **settings).fit(x)
    assert model.initial_labels_.shape == (150,)
    assert bool(model.monitor.notes) == (init != "gmm")
    if init != "gmm":
        assert "100 of 150" in model.monitor.notes[0]


# -- the start by robust continuous clustering --------------------------------------------------

RCC = SMALL | {"warmup_epochs": 2, "min_share": 0.1, "n_neighbors": 4}


def three_heaps(monkeypatch):
    """RCC that finds 60, 50, 30 and 10 samples, in that order."""
    labels = np.repeat([3, 0, 2, 1], [60, 50, 30, 10])
    found = rcc.Clusters(labels, np.zeros((150, 2)), 5, True)
    monkeypatch.setattr(rcc, "cluster", lambda z, n_neighbors, metric, maxiter: found)
    return np.repeat([2, 0, 1, -1], [60, 50, 30, 10])


def test_noise_has_weight_0_in_the_first_epochs_and_a_label_then(x, monkeypatch):
    labels = three_heaps(monkeypatch)
    weights = []

    class Watched(type(build("ASPC-DA-RCC", 2))):
        def refresh(self, z, step):
            given, targets, logged = super().refresh(z, step)
            weights.append((step, np.asarray(targets["v"]), np.asarray(targets["center"]), given))
            return given, targets, logged

    config = preset("ASPC-DA-RCC").changed(RCC)
    model = Watched(2, config, method="ASPC-DA-RCC", monitor=Log()).fit(x)
    assert [step for step, *_ in weights] == [0, 3, 6, 9, 12]  # two epochs and ASPC's three
    noise = labels < 0
    for step, v, targets, given in weights:
        if step < 6:
            assert np.array_equal(v == 0, noise) and np.array_equal(given[~noise], labels[~noise])
        elif step == 6:
            assert v.all() and given.min() >= 0
        assert np.array_equal(targets, model.cluster_centers_[given])
    assert not weights[-1][1].all()  # ASPC selects
    assert model.cluster_centers_.shape == (3, 10) and model.memberships(x).shape == (150, 3)
    means = cluster_means(model.pretrained_codes_[~noise], labels[~noise], 3)
    np.testing.assert_allclose(model.cluster_centers_, means, atol=1e-6)
    d = ((model.pretrained_codes_[noise][:, None] - means) ** 2).sum(axis=2)
    assert np.array_equal(model.initial_labels_[noise], d.argmin(axis=1))
    (note,) = model.monitor.notes
    assert note == (
        "RCC: 4 clusters; 3 hold at least 10.0% of the samples each, 10 of 150 samples in the "
        "others are noise"
    )


def test_it_does_not_stop_before_the_first_epochs_are_over(x, monkeypatch):
    three_heaps(monkeypatch)
    model = build("ASPC-DA-RCC", 2, **(RCC | {"tol": 1.0, "epochs": 50})).fit(x)
    assert model.converged_ and model.n_iter_ == 2 * 3 + 3


def test_a_loaded_model_has_as_many_clusters_as_were_found(x, monkeypatch, tmp_path):
    three_heaps(monkeypatch)
    model = build("ASPC-DA-RCC", 7, **RCC).fit(x)
    model.save(tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    assert np.array_equal(again.cluster_centers_, model.cluster_centers_)
    assert np.array_equal(again.predict(x), model.labels_)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).memberships(x), model.memberships(x))


def test_all_noise_is_told(x, monkeypatch):
    three_heaps(monkeypatch)
    words = "largest of 4 clusters has 60 of 150 samples, and all are noise at --min-share 0.5"
    with pytest.raises(UserError, match=words):
        build("ASPC-DA-RCC", 2, **(RCC | {"min_share": 0.5})).fit(x)


def test_rcc_of_real_codes(x):
    model = build("ASPC-DA-RCC", 2, monitor=Log(), **RCC).fit(x)
    alone = rcc.cluster(model.pretrained_codes_, 4, "cosine", 100)
    large = np.bincount(alone.labels) >= 15
    assert len(model.cluster_centers_) == large.sum() >= 1
    kept = large[alone.labels]
    assert acc(alone.labels[kept], model.initial_labels_[kept]) == 1.0


def test_presets_and_settings():
    assert preset("ASPC-DA", "usps").epochs == preset("ASPC-DA").epochs == 100
    assert preset("ASPC-DA", "fmnist").epochs == 10
    assert preset("ASPC-DA").pretrain_dict() == preset("FcDEC-DA").pretrain_dict()
    assert preset("ConvASPC-DA").pretrain_dict() == preset("ConvDEC-DA").pretrain_dict()
    for wrong in ({"epochs": 0}, {"selection": "both"}, {"init": "kmeans"}, {"update_interval": 5}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            build("ASPC-DA", 4, **wrong)
