"""DEC, IDEC and DCN by their own papers, and Deep RIM: settings, stages, losses by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import build, preset
from models.core.cost import method_flops
from models.core.functional import squared_distances
from models.core.training import Trainer
from models.layerwise import BurnInSGD, dropped
from models.settings.fields import SGD, Adam
from models.vade import Steps

K, N = 4, 60
SMALL = {"layer_steps": 2, "pretrain_steps": 3, "batch_size": 20, "n_init": 2}


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N].reshape(N, -1)


def made(method, x, **settings):
    """A model with its networks, not fitted."""
    model = build(method, K, **settings)
    model._build(x.shape[1:])
    model.seconds_, model.step_seconds_ = {}, {}
    return model


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["SAE+k-means", "DEC", "IDEC"])
def test_pretraining_is_DECs(method):
    c = preset(method, "mnist", 70000)
    assert (c.pretrain_optimizer, c.batch_size, c.dropout) == (SGD(0.1, 0.9), 256, 0.2)
    assert (c.layer_steps, c.pretrain_steps, c.drop_steps, c.burn_in) == (
        50000,
        100000,
        20000,
        1000,
    )
    assert (c.init_std, c.scale, c.n_init, c.aug_pretrain) == (0.01, 5.1, 20, False)
    assert c.pretraining_steps(274) == (50000, 100000)


@pytest.mark.parametrize(
    ("method", "dataset", "n", "optimizer", "interval"),
    [
        ("DEC", "mnist", 70000, SGD(0.01, 0.9), 160),
        ("DEC", "usps", 9298, SGD(0.01, 0.9), 30),
        ("DEC", "reuters10k", 10000, SGD(0.01, 0.9), 20),
        ("DEC", "stl10", 13000, SGD(0.01, 0.9), 40),
        ("IDEC", "mnist", 70000, Adam(1e-3), 140),
        ("IDEC", "usps", 9298, SGD(0.1, 0.99), 30),
        ("IDEC", "reuters10k", 10000, SGD(0.1, 0.99), 3),
    ],
)
def test_clustering_is_the_papers(method, dataset, n, optimizer, interval):
    c = preset(method, dataset, n)
    weights = (0, 1) if method == "DEC" else (1, 0.1)
    assert (c.alpha, c.beta, c.tol, c.maxiter) == (*weights, 1e-3, 20000)
    assert (c.optimizer, c.update_interval) == (optimizer, interval)
    assert c.scale == (44.72 if dataset == "reuters10k" else 5.1)


def test_DCNs_settings_are_its_codes():
    c = preset("DCN", "mnist", 70000)
    assert (c.pretrain_optimizer, c.optimizer) == (SGD(1e-4, 0.9), SGD(1e-4, 0.9))
    assert (c.pretraining_steps(273), c.total_steps(273)) == ((250 * 273,) * 2, 50 * 273)
    assert (c.alpha, c.beta, c.n_init, c.dropout, c.init_std) == (1, 1, 10, 0, None)
    assert (c.count, c.kmeans_epochs, c.scale, c.tol) == (100, 10, 5.1, 0)


def test_the_estimate_counts_every_stage():
    one, two = (
        method_flops(preset("DEC").changed({"layer_steps": s}), 1000, 64, 10)[0] for s in (0, 500)
    )
    assert 0 < one < two


# -- pretraining ----------------------------------------------------------------------------------


def test_the_optimizer_is_that_of_the_release():
    """By hand: no momentum at first, twice the rate for biases, a tenth of it after each drop."""
    rng = np.random.default_rng(0)
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    values = [v.numpy().astype(np.float64) for v in layer.trainable_variables]
    optimizer = BurnInSGD(0.01, momentum=0.9)
    optimizer.burn_in = 5
    optimizer.learning_rate = Steps(0.01, 8, 0.1, 0.0)
    optimizer.build(layer.trainable_variables)
    speeds = [np.zeros_like(v) for v in values]
    for step in range(20):
        gradients = [rng.normal(size=v.shape) for v in values]
        tensors = [tf.constant(g, tf.float32) for g in gradients]
        optimizer.apply(tensors, layer.trainable_variables)
        rate = 0.01 * 0.1 ** (step // 8)
        for i, gradient in enumerate(gradients):
            speeds[i] *= 0.9 * (step >= 5)
            speeds[i] -= rate * (1 + i) * gradient  # the second is the bias
            values[i] += speeds[i]
    for v, expected in zip(layer.trainable_variables, values, strict=True):
        assert v.numpy() == pytest.approx(expected, abs=1e-6)


def test_scaled_samples_are_in_the_networks(x):
    model = made("DEC", x, scale=3.0)
    h = 3 * x
    for i, layer in enumerate(model.up):
        h = h @ layer.kernel.numpy() + layer.bias.numpy()
        h = np.maximum(h, 0) if i < 3 else h
    assert model.encoder(x).numpy() == pytest.approx(h, abs=1e-5)
    rebuilt = model.decoder(h).numpy()
    loss = model.pretrain_loss(tf.constant(x), {}, tf.zeros(2, tf.int32))["reconstruction"]
    total = model.pretrain_weights()["reconstruction"] * float(loss)
    assert total == pytest.approx(0.5 * np.mean((3 * x - 3 * rebuilt) ** 2), rel=1e-5)
    dcn = made("DCN", x, scale=3.0)
    rebuilt = dcn.decoder(dcn.encoder(x)).numpy()
    loss = dcn.pretrain_loss(tf.constant(x), {}, tf.zeros(2, tf.int32))["reconstruction"]
    total = dcn.pretrain_weights()["reconstruction"] * float(loss)
    assert total == pytest.approx(np.mean(np.sum((3 * x - 3 * rebuilt) ** 2, axis=1)), rel=1e-5)


@pytest.mark.parametrize("i", [0, 1, 3])
def test_the_loss_of_a_layer(x, i):
    """Without dropout, by hand: half the mean squared error of what the layers below give."""
    model = made("DEC", x, dropout=0.0, init_std=0.2)
    layers, back = model.up, model.down[::-1]

    def forward(layer, h, linear):
        h = h @ layer.kernel.numpy() + layer.bias.numpy()
        return h if linear else np.maximum(h, 0)

    h = 5.1 * x
    for below in layers[:i]:
        h = forward(below, h, False)
    rebuilt = forward(back[i], forward(layers[i], h, i == 3), i == 0)
    loss = model.layer_loss(i)(tf.constant(x), {}, tf.zeros(2, tf.int32))["reconstruction"]
    assert float(loss) == pytest.approx(np.mean((h - rebuilt) ** 2), rel=1e-4)


def test_what_dropout_drops(x):
    h = tf.ones((200, 50))
    some = dropped(h, 0.2, tf.constant([1, 2])).numpy()
    assert set(np.unique(some)) == {0, np.float32(1.25)}
    assert np.mean(some == 0) == pytest.approx(0.2, abs=0.01)
    assert dropped(h, 0.0, None) is h
    model, seeds = made("DEC", x), (tf.constant([1, 2]), tf.constant([3, 4]))
    for i in range(4):
        one, two = (
            float(model.layer_loss(i)(tf.constant(x), {}, s)["reconstruction"]) for s in seeds
        )
        assert one != two


def test_layers_are_trained_one_after_the_other(x, monkeypatch):
    """Each stage moves its own pair of layers, the last all of them."""
    moved, init, run = [], Trainer.__init__, Trainer.run

    def made_with(self, data, loss, weights, variables, *args, **others):
        init(self, data, loss, weights, variables, *args, **others)
        self.count = len(variables)

    def watched(self, *args, **others):
        layers = [*model.up, *model.down]
        before = [layer.kernel.numpy().copy() for layer in layers]
        run(self, *args, **others)
        now = [layer.kernel.numpy() for layer in layers]
        moved.append(
            [i for i, (a, b) in enumerate(zip(before, now, strict=True)) if (a != b).any()]
        )

    monkeypatch.setattr(Trainer, "__init__", made_with)
    monkeypatch.setattr(Trainer, "run", watched)
    model = build("SAE+k-means", K, **SMALL, init_std=0.05)
    model.fit(x)
    assert moved == [[0, 7], [1, 6], [2, 5], [3, 4], list(range(8))]


# -- DCN and IDEC ---------------------------------------------------------------------------------


def test_centres_are_running_means(x):
    """As a loop over the samples of a batch, each with the rate 1 / (samples taken up so far)."""
    model = made("DCN", x, count=3)
    rng = np.random.default_rng(0)
    model.centers.assign(rng.normal(size=(K, 10)))
    for _ in range(5):
        z = rng.normal(size=(20, 10)).astype(np.float32)
        centers = model.centers.numpy().astype(np.float64)
        counts = model.counts.numpy().copy()
        labels = np.argmin(squared_distances(z, model.centers), axis=1)
        for label, code in zip(labels, z, strict=True):
            counts[label] += 1
            centers[label] += (code - centers[label]) / counts[label]
        model.absorb(tf.constant(z))
        assert model.centers.numpy() == pytest.approx(centers, abs=1e-6)
        assert (model.counts.numpy() == counts).all()


def test_the_losses_of_DCN_and_IDEC(x):
    model = made("DCN", x, scale=2.0, alpha=0.5)
    z, labels = model.encoder(x).numpy(), np.arange(N) % K
    model.centers.assign(np.eye(K, 10))
    losses = model.loss(tf.constant(x), {"label": tf.constant(labels, tf.int32)}, None)
    expected = np.mean(np.sum((z - np.eye(K, 10)[labels]) ** 2, axis=1))
    assert float(losses["distance"]) == pytest.approx(expected, rel=1e-5)
    assert model.loss_weights() == {"distance": 1.0, "reconstruction": 0.5 * 4 * 64}
    idec = made("IDEC", x, scale=2.0)
    assert idec.loss_weights() == {"kl": 0.1, "reconstruction": 4.0}
    assert made("DEC", x).loss_weights() == {"kl": 1.0}


def test_a_saved_DCN_predicts_the_same(x, tmp_path):
    from models import load

    model = build("DCN", K, layer_epochs=1, pretrain_epochs=1, epochs=2, batch_size=20, scale=1.0)
    labels = model.fit_predict(x)
    model.save(tmp_path / "model.h5")
    again = load(tmp_path / "model.h5")
    assert np.array_equal(again.predict(x), labels)
    assert np.array_equal(again.counts, model.counts)


# -- Deep RIM -------------------------------------------------------------------------------------


def test_the_loss_of_deep_RIM(x):
    model = build("DeepRIM", K, widths=(6, 5), batch_size=20)
    model._build(x.shape[1:])
    losses = model.loss(tf.constant(x), {}, None)
    p = tf.nn.softmax(model.logits(tf.constant(x))).numpy().astype(np.float64)
    mean = p.mean(axis=0)
    entropy = -np.mean(np.sum(p * np.log(p), axis=1)) + 4 * np.sum(mean * np.log(mean))
    assert float(losses["clustering"]) == pytest.approx(entropy, abs=1e-5)
    squares = sum(np.sum(w.numpy() ** 2) for w in model.networks[0].up)
    assert float(losses["decay"]) == pytest.approx(squares, rel=1e-5)
    assert len(model.networks[0].up) == 3
    c = preset("DeepRIM", "mnist", 70000)
    assert (c.mi_mu, c.weight_decay, c.widths, c.epochs, c.batch_size, c.optimizer) == (
        4,
        0.005,
        (1200, 1200),
        50,
        250,
        Adam(0.002),
    )
