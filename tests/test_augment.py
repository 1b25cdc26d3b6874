import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from augment import RandomShiftRotate, affine_rows, resample
from common.errors import UserError
from common.shapes import image_shape, side_and_channels

SEED = (7, 3)
SHAPES = [(28, 28, 1), (16, 16, 1), (12, 20, 3)]


def images(b, shape, seed=0):
    return np.random.default_rng(seed).random((b, *shape), dtype=np.float32)


def matrix(degrees, t0, t1, h, w, offset=0.5):
    """The homogeneous output -> input map of PAPERS.md 1.5, T = C(o) R S C(-o)."""

    def move(r, q):
        return np.array([[1, 0, r], [0, 1, q], [0, 0, 1]], float)

    a = np.deg2rad(degrees)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    o = h / 2 + offset, w / 2 + offset
    return move(*o) @ rotation @ move(t0, t1) @ move(-o[0], -o[1])


def scipy_affine(image, t):
    return np.stack(
        [
            scipy.ndimage.affine_transform(
                channel, t[:2, :2], t[:2, 2], order=1, mode="nearest", cval=0.0
            )
            for channel in np.moveaxis(image.astype(np.float64), -1, 0)
        ],
        axis=-1,
    )


def ramps(b, h, w):
    """Images whose two channels are the row and the column number: they show where one samples."""
    r, q = np.mgrid[:h, :w].astype(np.float32)
    return np.broadcast_to(np.stack([r, q], axis=-1), (b, h, w, 2)).copy()


# -- against scipy --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("settings", "angle", "shift", "offset"),
    [
        ({}, 10, 0.1, 0.5),
        ({"center": "true"}, 10, 0.1, -0.5),
        ({"shift": 0.3, "rotation": 180}, 180, 0.3, 0.5),
        ({"shift_pixels": 3}, 10, None, 0.5),
    ],
    ids=["original", "true center", "large", "3 pixels"],
)
def test_equal_to_scipy(shape, settings, angle, shift, offset):
    b, (h, w, _) = 16, shape
    x = images(b, shape)
    augment = RandomShiftRotate(**settings)
    u = augment.draw(b, SEED).numpy().astype(np.float64)
    most = (3, 3) if shift is None else (shift * h, shift * w)
    expected = [
        scipy_affine(
            x[i], matrix(u[i, 0] * angle, u[i, 1] * most[0], u[i, 2] * most[1], h, w, offset)
        )
        for i in range(b)
    ]
    got = augment(tf.constant(x), SEED).numpy()
    assert got.dtype == np.float32 and got.shape == x.shape
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)
    assert np.abs(got - x).mean() > 0.01  # something was done


def test_affine_rows_are_the_composed_matrix():
    u = np.array([[0.5, -1.0, 0.25], [-1.0, 0.0, 1.0]], np.float32)
    rows = affine_rows(tf.constant(u), 12, 20, 1.2, 2.0, 10.0).numpy()
    for (a, t0, t1), row in zip(u, rows, strict=True):
        t = matrix(a * 10, t0 * 1.2, t1 * 2.0, 12, 20)
        np.testing.assert_allclose(row, t[:2].ravel(), atol=1e-5)


# -- by hand --------------------------------------------------------------------------------------


def transform(x, u, shifts, rotation, center="original"):
    h, w = x.shape[:2]
    rows = affine_rows(tf.constant([u], tf.float32), h, w, *shifts, rotation, center)
    return resample(tf.constant(x[None], tf.float32), rows).numpy()[0]


def test_shift_by_whole_and_half_pixels():
    x = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    down = transform(x, (0, 1, 0), (1, 1), 0)  # output row r samples input row r + 1
    assert down[..., 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]]
    left = transform(x, (0, 0, -0.5), (1, 1), 0)
    assert left[0, :, 0].tolist() == [0, 0.5, 1.5, 2.5]


def test_quarter_turn_about_either_center():
    x = images(1, (5, 5, 1))[0]
    true = transform(x, (1, 0, 0), (0, 0), 90, "true")
    np.testing.assert_allclose(true, np.rot90(x, -1), atol=1e-5)
    # About (n + 1)/2: output (r, q) samples input (n + 1 - q, r), clipped to the last row.
    expected = [[x[min(6 - q, 4), r] for q in range(5)] for r in range(5)]
    np.testing.assert_allclose(transform(x, (1, 0, 0), (0, 0), 90), expected, atol=1e-5)


def test_shift_comes_before_rotation():
    """At 90 degrees a row shift t moves the sampled column, not the row."""
    n, t = 9, 2.0
    got = transform(ramps(1, n, n)[0], (1, 1, 0), (t, t), 90, "true")
    assert got[4, 4] == pytest.approx([4, 4 + t], abs=1e-5)


def test_channels_move_together():
    x = np.repeat(images(8, (12, 12, 1)), 3, axis=-1)
    got = RandomShiftRotate()(tf.constant(x), SEED).numpy()
    assert (got[..., :1] == got).all()


def test_zero_transform_is_the_identity():
    x = images(5, (11, 14, 2))
    assert (RandomShiftRotate(0.0, 0.0)(tf.constant(x), SEED).numpy() == x).all()
    assert (RandomShiftRotate(0.1, 0, shift_pixels=0)(tf.constant(x), SEED).numpy() == x).all()


def test_constant_images_stay_and_values_stay_in_range():
    augment = RandomShiftRotate(0.3, 180)
    constant = np.full((64, 9, 9, 1), 0.3, np.float32)
    np.testing.assert_allclose(augment(tf.constant(constant), SEED), constant, rtol=1e-6)
    x = images(64, (9, 9, 1)) * 4 - 1
    got = augment(tf.constant(x), SEED).numpy()
    each = tuple(range(1, 4))
    assert (got.min(axis=each) >= x.min(axis=each) - 1e-6).all()
    assert (got.max(axis=each) <= x.max(axis=each) + 1e-6).all()


# -- the draws ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "h", "w", "most"),
    [
        ({}, 28, 28, (2.8, 2.8)),
        ({}, 16, 16, (1.6, 1.6)),
        ({}, 12, 20, (1.2, 2.0)),
        ({"shift": 0.2}, 12, 20, (2.4, 4.0)),
        ({"shift_pixels": 3}, 12, 20, (3, 3)),
        ({"shift": 0.4, "shift_pixels": 1.5}, 16, 16, (1.5, 1.5)),
    ],
    ids=str,
)
def test_shifts_fill_their_range(settings, h, w, most):
    b = 1024
    got = RandomShiftRotate(rotation=0, **settings)(tf.constant(ramps(b, h, w)), SEED).numpy()
    middle = got[:, h // 2, w // 2] - (h // 2, w // 2)  # (b, 2): row and column shift, pixels
    for axis in range(2):
        assert np.abs(middle[:, axis]).max() <= most[axis] + 1e-4
        test = scipy.stats.kstest(middle[:, axis], "uniform", (-most[axis], 2 * most[axis]))
        assert test.pvalue > 1e-3
    assert abs(np.corrcoef(middle.T)[0, 1]) < 0.1


@pytest.mark.parametrize(("settings", "most"), [({}, 10), ({"rotation": 40}, 40)], ids=str)
def test_angles_are_degrees_and_fill_their_range(settings, most):
    h, w, b = 21, 21, 1024
    got = RandomShiftRotate(shift=0, **settings)(tf.constant(ramps(b, h, w)), SEED).numpy()
    along = got[:, 11, 10] - got[:, 10, 10]  # one step down the rows: (cos, sin)
    angle = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
    assert np.abs(angle).max() <= most + 1e-2
    assert scipy.stats.kstest(angle, "uniform", (-most, 2 * most)).pvalue > 1e-3


def test_angle_and_shifts_are_independent_from_sample_to_sample():
    u = RandomShiftRotate().draw(4096, SEED).numpy()
    assert u.shape == (4096, 3) and -1 <= u.min() < -0.99 and 0.99 < u.max() < 1
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.06
    assert abs(np.corrcoef(u[1:].ravel(), u[:-1].ravel())[0, 1]) < 0.04
    assert len(np.unique(u)) > 0.99 * u.size


def test_seed_and_step_decide_the_draws():
    x = tf.constant(images(6, (10, 10, 1)))
    augment = RandomShiftRotate()
    first = augment(x, SEED).numpy()
    assert (augment(x, SEED).numpy() == first).all()
    assert (RandomShiftRotate()(x, tf.constant(SEED)).numpy() == first).all()
    others = [augment(x, seed).numpy() for seed in [(7, 4), (8, 3), (3, 7), (7, 0), (0, 3)]]
    for i, one in enumerate([first, *others]):
        assert not any((one == other).all() for other in others[i:])
    assert len({image.tobytes() for image in augment(x[:1] + tf.zeros_like(x), SEED).numpy()}) == 6


def test_draws_of_consecutive_steps_are_uncorrelated():
    augment = RandomShiftRotate()
    u = np.stack([augment.draw(64, (1, step)).numpy().ravel() for step in range(40)])
    assert abs(np.corrcoef(u[1:].ravel(), u[:-1].ravel())[0, 1]) < 0.05


def test_same_inside_a_graph():
    x, augment = tf.constant(images(6, (10, 10, 1))), RandomShiftRotate()
    compiled = tf.function(lambda x, step: augment(x, tf.stack([7, step])), autograph=False)
    np.testing.assert_allclose(compiled(x, tf.constant(3)), augment(x, SEED), atol=1e-5)


# -- flat samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(28, 28, 1), (10, 10, 3)], ids=str)
def test_flat_equals_images(shape):
    x = images(4, shape)
    flat = RandomShiftRotate()(tf.constant(x.reshape(4, -1)), SEED).numpy()
    assert flat.shape == (4, math.prod(shape))
    assert (flat.reshape(x.shape) == RandomShiftRotate()(tf.constant(x), SEED).numpy()).all()


@pytest.mark.parametrize(
    ("d", "found"), [(784, (28, 1)), (256, (16, 1)), (9075, (55, 3)), (192, (8, 3)), (4, (2, 1))]
)
def test_side_and_channels(d, found):
    assert side_and_channels(d) == found
    assert image_shape((d,)) == (found[0], found[0], found[1])


def test_shape_of_images_is_their_own():
    assert image_shape((12, 20, 3)) == (12, 20, 3)


@pytest.mark.parametrize("d", [0, 2, 50, 783, 785, 2 * 28 * 28])
def test_flat_but_not_square(d):
    with pytest.raises(UserError, match=f"{d} values"):
        side_and_channels(d)
    with pytest.raises(UserError, match=f"{d} values"):
        image_shape((d,))
    with pytest.raises(UserError, match=f"{d} values"):
        RandomShiftRotate()(tf.zeros((2, d)), SEED)


@pytest.mark.parametrize("shape", [(2, 1, 8, 1), (2, 8, 1, 1), (2, 1)], ids=str)
def test_a_single_row_cannot_be_shifted(shape):
    with pytest.raises(UserError, match="at least 2x2"):
        RandomShiftRotate()(tf.zeros(shape), SEED)
