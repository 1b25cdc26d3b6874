"""features.py: ResNet-50 on a few images with random weights, files of features, where from."""

import contextlib
import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pooch
import pytest
import tensorflow  # noqa: F401 (so that conftest sets it up)
from conftest import ROOT, user_error
from keras.applications import resnet50

import datasets
from common.errors import UserError
from loaders import features

pytestmark = pytest.mark.usefixtures("nowhere")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3)).astype(np.uint8)


# ---- extraction ---------------------------------------------------------------------------------


def bilinear(size, side):
    """The matrix (side, size) that resizes one axis, samples at the pixels' centres."""
    matrix = np.zeros((side, size))
    for i in range(side):
        at = min(max((i + 0.5) * size / side - 0.5, 0), size - 1)
        low = min(int(at), size - 2)
        matrix[i, low], matrix[i, low + 1] = 1 - (at - low), at - low
    return matrix


def seen():
    """What a network has to get of IMAGES."""
    rows, columns = bilinear(8, 224), bilinear(6, 224)
    x = np.einsum("ih,jw,nhwc->nijc", rows, columns, IMAGES.astype(float))
    x = x[..., ::-1] - np.array([103.939, 116.779, 123.68])  # blue, green, red: ImageNet's means
    return x.astype(np.float32)


def test_extract_is_the_network_on_resized_and_centred_images(monkeypatch, capsys, eager):
    """A small network in place of ResNet-50, which is in the next test."""
    layers = [keras.layers.Conv2D(8, 5, 3, activation="relu"), keras.layers.GlobalMaxPooling2D()]
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((224, 224, 3)), *layers, keras.layers.Dense(2048)])
    asked = []
    monkeypatch.setattr(resnet50, "ResNet50", lambda *a, **k: asked.append((a, k)) or network)
    x = features.extract(IMAGES, "weights.h5", batch=2)
    assert asked == [((False, "weights.h5"), {"input_shape": (224, 224, 3), "pooling": "avg"})]
    expected = network(seen(), training=False).numpy()
    assert x.shape == (3, 2048) and x.dtype == np.float32
    np.testing.assert_allclose(x, expected, rtol=1e-3, atol=1e-4 * expected.max())
    told = capsys.readouterr()
    assert told.out == "" and "3/3" in told.err


def test_make_writes_what_read_takes(tmp_path):
    """Of ResNet-50 itself with random weights, in a process of its own."""
    keras.utils.set_random_seed(0)
    network = resnet50.ResNet50(False, None, input_shape=(224, 224, 3), pooling="avg")
    weights = tmp_path / "random.weights.h5"
    network.save_weights(weights)
    expected = network(seen(), training=False).numpy()
    features.make(lambda path: (IMAGES, np.array([4, 9, 4])), "a", "md5:1", ["", weights], tmp_path)
    weights.unlink()  # 94 MB
    x, y = features.read(3, 2, "md5:1", [tmp_path / "a" / "features.npz"])
    np.testing.assert_allclose(x, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert x.dtype == np.float32 and y.tolist() == [0, 1, 0] and y.dtype == np.int64
    with user_error("features.npz", "images md5:1", "expected 'images md5:2"):
        features.read(3, 2, "md5:2", [tmp_path / "a" / "features.npz"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no weights", ["OSError", "file signature not found"]),
        (None, ["ValueError", "path to the weights"]),
    ],
)
def test_an_extraction_that_fails_is_one_line(tmp_path, monkeypatch, capfd, content, words):
    """What the process of its own would do is done in this one."""

    def run(command, **options):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = features._main(*command[-3:])
        return subprocess.CompletedProcess(command, status, out.getvalue())

    monkeypatch.setattr(features.subprocess, "run", run)
    weights = tmp_path / "resnet.h5"
    if content is not None:
        weights.write_bytes(content)
    with user_error("images.tar.gz: no ResNet-50 features made of it", *words):
        features.make(
            lambda path: (IMAGES, np.array([4, 9, 4])),
            "a",
            "md5:1",
            ["images.tar.gz", weights],
            tmp_path,
        )
    told = capfd.readouterr()
    assert told.out == "" and "Traceback" not in told.err
    assert not (tmp_path / "a").exists()


def test_a_process_that_fails_says_why_and_shows_no_traceback(tmp_path):
    """Before it imports TensorFlow: there are no images."""
    command = [sys.executable, *features.CHILD, tmp_path / "pixels.npy", "w.h5", tmp_path / "x.npy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("FileNotFoundError: ") and "pixels.npy" in line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL, as a machine short of memory does"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("raise SystemExit(7)", "exit status 7"),
        ("print('MemoryError: 3 GB'); raise SystemExit(1)", "of it: MemoryError: 3 GB"),
    ],
)
def test_a_process_that_dies_is_one_line(tmp_path, monkeypatch, code, words):
    child = tmp_path / "child.py"
    child.write_text(code)
    monkeypatch.setattr(features, "CHILD", (str(child),))
    with user_error("images.tar.gz", words):
        features.make(
            lambda path: (IMAGES, np.array([4, 9, 4])),
            "a",
            "md5:1",
            ["images.tar.gz", "w.h5"],
            tmp_path,
        )


def test_weights_are_those_that_keras_fetches():
    from keras.src.applications import resnet

    assert "md5:" + resnet.WEIGHTS_HASHES["resnet50"][1] == features.WEIGHTS_CHECKSUM
    assert features.WEIGHTS_ADDRESS == resnet.BASE_WEIGHTS_PATH + features.WEIGHTS


# ---- files of features --------------------------------------------------------------------------

X = np.random.default_rng(1).random((4, 2048)).astype(np.float32)
Y = np.array([0, 1, 1, 0])


@pytest.fixture
def small_cifar10(monkeypatch):
    """Four images of two classes; `make` copies a file that the test has written."""

    def make(paths, folder):
        made.append(paths)
        (folder / "cifar10").mkdir()
        np.savez(folder / "cifar10" / "features.npz", x=X, y=Y, made_from=features.made_from(pin))

    made = []
    pin = "md5:" + hashlib.md5(b"images").hexdigest()
    weights = "md5:" + hashlib.md5(b"weights").hexdigest()
    source = datasets.SOURCES["cifar10"]
    small = replace(
        source,
        read=partial(features.read, 4, 2, pin),
        make=make,
        downloads={
            name: (address, checksum)
            for (name, (address, _)), checksum in zip(
                source.downloads.items(), (pin, weights), strict=True
            )
        },
    )
    monkeypatch.setitem(datasets.SOURCES, "cifar10", small)
    return made


def put(folder, **arrays):
    (folder / "cifar10").mkdir(parents=True, exist_ok=True)
    np.savez(folder / "cifar10" / "features.npz", **arrays)
    return folder


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f4"])
def test_units_and_order(tmp_path, small_cifar10, kind):
    data = datasets.load("cifar10", put(tmp_path, x=X.astype(kind), y=Y), download=False)
    np.testing.assert_array_equal(data.x, X)
    assert data.x.dtype.str == "<f4" and data.x.flags.c_contiguous and not data.is_image
    assert data.y.tolist() == Y.tolist() and data.y.dtype == np.int64
    assert (data.name, data.n_clusters) == ("cifar10", 2)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x": X}, ["['x']", "expected x and y"]),
        ({"x": X[:3], "y": Y[:3]}, ["3 rows found", "4 rows expected"]),
        ({"x": X[:, :512], "y": Y}, ["(4, 512)", "(4, 2048)"]),
        ({"x": X.reshape(4, 32, 64), "y": Y}, ["(4, 32, 64)", "(4, 2048)"]),
        ({"x": X * np.nan, "y": Y}, ["8192 values", "NaN", "(0, 0)"]),
        ({"x": X.astype(np.float64) * 1e300, "y": Y}, ["beyond 1e+15"]),
        ({"x": X.astype(str), "y": Y}, ["<U", "real numbers"]),
        ({"x": X, "y": Y[:3]}, ["(3,)", "(4,)"]),
        ({"x": X, "y": [0, 1, 2, 0]}, ["3 classes", "expected 2"]),
        ({"x": X, "y": Y * 0.5}, ["label 0.5 of sample 1"]),
        ({"x": np.array([{}]), "y": Y}, ["cannot be read"]),
        ({"x": X, "y": Y, "made_from": "a cat"}, ["made from 'a cat'", "expected 'images md5:"]),
    ],
)
def test_damaged(tmp_path, small_cifar10, arrays, words):
    with user_error("features.npz", *words):
        datasets.load("cifar10", put(tmp_path, **arrays), download=False)
    with user_error("features.npz", *words):  # a file of the user's is never made again
        datasets.load("cifar10", tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY"])
def test_no_archive(tmp_path, small_cifar10, content):
    put(tmp_path)
    (tmp_path / "cifar10" / "features.npz").write_bytes(content)
    with user_error("features.npz", "expected" if content[:1] != b"\x93" else "cannot be read"):
        datasets.load("cifar10", tmp_path, download=False)


# ---- where they are made ------------------------------------------------------------------------


def put_parts(folder, sub="cifar10", images=b"images", weights=b"weights"):
    (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / sub / "cifar-10-python.tar.gz").write_bytes(images)
    (folder / features.WEIGHTS).write_bytes(weights)
    return folder


@pytest.mark.parametrize("sub", ["cifar10", ""])
def test_made_once_of_local_files(tmp_path, small_cifar10, sub):
    given = put_parts(tmp_path / "given", sub)
    data = datasets.load("cifar10", given)
    assert small_cifar10 == [[given / sub / "cifar-10-python.tar.gz", given / features.WEIGHTS]]
    assert [p.name for p in (tmp_path / "cache").rglob("*")] == ["cifar10", "features.npz"]
    assert datasets.load("cifar10", given).sha256 == data.sha256
    assert datasets.load("cifar10", download=False).sha256 == data.sha256
    assert len(small_cifar10) == 1


def test_nothing_is_made_if_downloading_is_off(tmp_path, small_cifar10):
    with pytest.raises(UserError, match=r"(?s)downloading is off.*to make it of\n"):
        datasets.load("cifar10", put_parts(tmp_path), download=False)
    assert not small_cifar10


@pytest.mark.parametrize("part", ["images", "weights"])
def test_nothing_is_made_of_a_damaged_file(tmp_path, small_cifar10, part):
    put_parts(tmp_path, **{part: b"damaged"})
    name = {"images": "cifar-10-python.tar.gz", "weights": features.WEIGHTS}[part]
    with user_error(name, "md5", hashlib.md5(b"damaged").hexdigest()[:12]):
        datasets.load("cifar10", tmp_path)
    assert not small_cifar10


@pytest.mark.parametrize("damage", [{"x": X, "y": Y, "made_from": "older"}, {"x": X * np.nan}])
def test_stale_features_in_the_cache_are_made_again(tmp_path, small_cifar10, damage):
    put(tmp_path / "cache", **damage)
    with user_error("features.npz"):
        datasets.load("cifar10", download=False)
    assert datasets.load("cifar10", put_parts(tmp_path / "given")).n == 4
    assert datasets.load("cifar10", download=False).n == 4 and len(small_cifar10) == 1


def test_images_without_weights_and_network(tmp_path, small_cifar10, monkeypatch):
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between tries
    put_parts(tmp_path)
    (tmp_path / features.WEIGHTS).unlink()
    with pytest.raises(UserError, match="(?s)downloading failed .*no network.*keras-applications"):
        datasets.load("cifar10", tmp_path)


def test_a_broken_extraction_leaves_nothing(tmp_path, small_cifar10, monkeypatch):
    def broken(paths, folder):
        (folder / "part").write_text("half")
        raise RuntimeError("killed")

    small = datasets.SOURCES["cifar10"]
    monkeypatch.setitem(datasets.SOURCES, "cifar10", replace(small, make=broken))
    with pytest.raises(RuntimeError, match="killed"):
        datasets.load("cifar10", put_parts(tmp_path / "given"))
    assert list((tmp_path / "cache").iterdir()) == []
