import math
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.errors import UserError
from models.core.fast_kernels import ThinConv2DTranspose
from models.core.networks import AUTOENCODERS, conv_autoencoder, dense_autoencoder

IMAGES = [
    (28, 28, 1),
    (16, 16, 1),
    (8, 8, 1),
    (55, 55, 3),
    (12, 20, 1),
    (20, 12, 2),
    (16, 20, 1),
    (8, 9, 1),
    (12, 8, 1),
    (9, 9, 1),
    (33, 30, 3),
]


SMALL = {
    "fc": partial(dense_autoencoder, widths=(6, 5, 4)),
    "conv": partial(conv_autoencoder, filters=(3, 4, 5)),
}


def test_the_papers_widths_are_the_defaults():
    assert AUTOENCODERS["fc"] is dense_autoencoder
    assert AUTOENCODERS["conv"] is conv_autoencoder


def kernels(model):
    return [np.asarray(v) for v in model.variables if v.name == "kernel"]


def biases(model):
    return [np.asarray(v) for v in model.variables if v.name == "bias"]


# -- shapes and sizes -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_conv_returns_the_shape_of_its_input(shape):
    encoder, decoder = conv_autoencoder(shape, latent_dim=7)
    z = encoder(np.random.default_rng(0).random((2, *shape), dtype=np.float32))
    assert z.shape == (2, 7)
    assert decoder(z).shape == (2, *shape)


@pytest.mark.parametrize("shape", [(784,), (28, 28, 1), (55, 55, 3), (12, 20, 1), (3,)], ids=str)
def test_fc_returns_the_shape_of_its_input(shape):
    encoder, decoder = dense_autoencoder(shape, widths=(6, 5, 4))
    z = encoder(np.zeros((2, *shape), np.float32))
    assert z.shape == (2, 10)
    assert decoder(z).shape == (2, *shape)


def test_fc_parameters_by_hand():
    encoder, decoder = dense_autoencoder((28, 28, 1))
    inner = (500 * 500 + 500) + (500 * 2000 + 2000)
    assert encoder.count_params() == (784 * 500 + 500) + inner + (2000 * 10 + 10)
    inner = (2000 * 500 + 500) + (500 * 500 + 500)
    assert decoder.count_params() == (10 * 2000 + 2000) + inner + (500 * 784 + 784)
    assert [k.shape for k in kernels(encoder)] == [(784, 500), (500, 500), (500, 2000), (2000, 10)]
    assert [k.shape for k in kernels(decoder)] == [(10, 2000), (2000, 500), (500, 500), (500, 784)]


@pytest.mark.parametrize(
    ("shape", "sides", "flat"),
    [((28, 28, 1), (14, 7, 3), 1152), ((16, 16, 1), (8, 4, 2), 512), ((8, 8, 3), (4, 2, 1), 128)],
    ids=str,
)
def test_conv_parameters_by_hand(shape, sides, flat):
    c = shape[-1]
    encoder, decoder = conv_autoencoder(shape)
    assert encoder.count_params() == (
        (25 * c * 32 + 32) + (25 * 32 * 64 + 64) + (9 * 64 * 128 + 128) + (flat * 10 + 10)
    )
    assert decoder.count_params() == (
        (10 * flat + flat) + (9 * 128 * 64 + 64) + (25 * 64 * 32 + 32) + (25 * 32 * c + c)
    )
    maps = [layer.output.shape[1:] for layer in encoder.layers if len(layer.output.shape) == 4]
    assert maps == [(s, s, f) for s, f in zip(sides, (32, 64, 128), strict=True)]
    maps = [layer.output.shape[1] for layer in decoder.layers if "transpose" in layer.name]
    assert maps == [*reversed(sides[:2]), shape[0]]


# -- what they compute ----------------------------------------------------------------------------


def test_all_ones_auto_encoder_adds_up():
    models = dense_autoencoder((5,), latent_dim=2, widths=(2, 3, 4))
    for model in models:
        for v in model.variables:
            v.assign(np.full(v.shape, float(v.name == "kernel")))
    encoder, decoder = models
    z = encoder(np.ones((1, 5), np.float32))  # 5, 5 * 2, 10 * 3, 30 * 4
    assert np.asarray(z).tolist() == [[120, 120]]
    assert np.asarray(decoder(z)).tolist() == [[5760] * 5]  # 240, 240 * 4, 960 * 3, 2880 * 2


def test_fc_against_numpy():
    encoder, decoder = dense_autoencoder((3, 4, 1), latent_dim=3, seed=4, widths=(7, 6, 5))
    rng = np.random.default_rng(0)
    for v in encoder.variables + decoder.variables:
        v.assign(rng.normal(size=v.shape))
    x = rng.normal(size=(6, 3, 4, 1)).astype(np.float32)
    out, results = x.reshape(6, 12).astype(np.float64), []
    for model in (encoder, decoder):
        for i, (w, b) in enumerate(zip(kernels(model), biases(model), strict=True)):
            out = out @ w + b
            if i < 3:
                out = np.maximum(out, 0)
        results.append(out)
    np.testing.assert_allclose(encoder(x), results[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        np.asarray(decoder(encoder(x))).reshape(6, 12), results[1], rtol=1e-3, atol=1e-2
    )


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_embedding_and_output_are_linear(name):
    for model in SMALL[name]((8, 8, 1)):
        x = np.ones((1, *model.input_shape[1:]), np.float32)
        for v in model.variables:
            v.assign(np.zeros(v.shape))
        model.variables[-1].assign(np.full(model.variables[-1].shape, -7.0))
        assert (np.asarray(model(x)) == -7).all()


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_every_hidden_layer_is_relu(name):
    """A hidden bias of -3 must not come through, whatever follows it."""
    for model in SMALL[name]((8, 8, 1)):
        x = np.ones((1, *model.input_shape[1:]), np.float32)
        pairs = [(layer.kernel, layer.bias) for layer in model.layers if hasattr(layer, "kernel")]
        for i in range(len(pairs) - 1):
            for j, (kernel, bias) in enumerate(pairs):
                weight = 0.0 if j <= i else -1.0 if j == i + 1 else 1.0
                kernel.assign(np.full(kernel.shape, weight))
                bias.assign(np.full(bias.shape, -3.0 if j == i else 0.0))
            assert (np.asarray(model(x)) == 0).all(), pairs[i][1].path


# -- initial weights ------------------------------------------------------------------------------


def uniform_up_to(kernel, bound):
    assert np.abs(kernel).max() <= bound * (1 + 1e-6)
    assert np.abs(kernel).max() > 0.98 * bound
    assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert abs(kernel.mean()) < 0.1 * bound


def test_fc_starts_uniform_by_fan_in():
    for model in dense_autoencoder((28, 28, 1)):
        for kernel in kernels(model):
            uniform_up_to(kernel, 1 / math.sqrt(kernel.shape[0]))


def test_conv_starts_glorot_uniform():
    for model in conv_autoencoder((28, 28, 1)):
        for kernel in kernels(model):
            field = math.prod(kernel.shape[:-2])
            fans = field * kernel.shape[-2], field * kernel.shape[-1]
            uniform_up_to(kernel, math.sqrt(6 / sum(fans)))


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_biases_start_at_zero(name):
    for model in AUTOENCODERS[name]((16, 16, 1)):
        assert len(biases(model)) == len(kernels(model)) == 4
        assert not any(b.any() for b in biases(model))


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_the_seed_decides_the_weights(name):
    def all_kernels(seed):
        encoder, decoder = AUTOENCODERS[name]((8, 8, 1), seed=seed)
        return kernels(encoder) + kernels(decoder)

    first, again, other = all_kernels(1), all_kernels(1), all_kernels(2)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not any((a == b).any() for a, b in zip(first, other, strict=True))


def test_layers_of_one_shape_start_differently():
    encoder, decoder = dense_autoencoder((40,), latent_dim=40, widths=(40, 40, 40))
    every = kernels(encoder) + kernels(decoder)
    for i, a in enumerate(every):
        assert not any(np.array_equal(a, b) for b in every[i + 1 :])


@pytest.mark.parametrize(("side", "channels"), [(1, 1), (4, 1), (7, 3)])
def test_thin_transposed_convolution_is_kerass(side, channels):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(3, side, side + 1, 6)).astype("float32"))
    thin = ThinConv2DTranspose(channels, 5, 2, "same")
    found = []
    for layer in (thin, keras.layers.Conv2DTranspose(channels, 5, 2, "same")):
        layer.build(x.shape)
        layer.kernel.assign(np.random.default_rng(1).normal(size=(5, 5, channels, 6)))
        layer.bias.assign(np.arange(channels) + 1.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y**3)
        assert y.shape == (3, 2 * side, 2 * side + 2, channels)
        found.append([y, *tape.gradient(loss, [x, layer.kernel.value, layer.bias.value])])
    for ours, their in zip(*found, strict=True):
        np.testing.assert_allclose(ours, their, rtol=1e-4, atol=1e-3 * np.abs(their).max())


def test_a_conv_decoder_that_keras_saved_is_loaded_without_naming_the_layer(tmp_path):
    _, decoder = SMALL["conv"]((16, 16, 1), latent_dim=4, seed=3)
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    decoder.save(tmp_path / "decoder.keras")
    loaded = keras.models.load_model(tmp_path / "decoder.keras")
    np.testing.assert_allclose(loaded(z), decoder(z), rtol=1e-5, atol=1e-6)


# -- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "conv"])
@pytest.mark.parametrize("side", [8, 9, 28])
def test_bfloat16_computes_in_it_and_stores_float32(name, side):
    encoder, decoder = SMALL[name]((side, side, 1), precision="bfloat16")
    x = np.random.default_rng(0).random((5, side, side, 1), dtype=np.float32)
    z = encoder(x)
    out = decoder(z)
    assert z.dtype == out.dtype == "float32" and out.shape == x.shape
    assert {v.dtype for v in (*encoder.variables, *decoder.variables)} == {"float32"}
    working = [layer for m in (encoder, decoder) for layer in m.layers if layer.weights]
    assert [layer.compute_dtype for layer in working] == 3 * ["bfloat16"] + ["float32"] + (
        3 * ["bfloat16"] + ["float32"]
    )
    exact, again = SMALL[name]((side, side, 1))
    for a, b in zip(
        kernels(encoder) + kernels(decoder), kernels(exact) + kernels(again), strict=True
    ):
        assert np.array_equal(a, b)
    gap = np.abs(np.asarray(z) - np.asarray(exact(x))).max()
    assert 0 < gap < 0.02 * np.abs(np.asarray(z)).max()  # 8 bits of mantissa


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(784,), (28, 28), (7, 8, 1), (8, 7, 1), (1, 28, 1), (28, 28, 1, 1), ()], ids=str
)
def test_conv_needs_images_of_eight_pixels(shape):
    with pytest.raises(UserError, match="sides of at least 8 pixels") as caught:
        conv_autoencoder(shape)
    assert str(shape) in str(caught.value)
