"""images.py: the archives of CIFAR-10 and STL-10, YouTube Faces. MNIST, USPS: test_datasets.py."""

import io
import pickle
import tarfile

import h5py
import numpy as np
import pytest
from conftest import user_error

import datasets
from loaders import images

pytestmark = pytest.mark.usefixtures("nowhere")

RNG = np.random.default_rng(0)


def put_tar(path, contents):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


# ---- CIFAR-10 -----------------------------------------------------------------------------------

CIFAR10 = RNG.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
CIFAR10_NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def cifar10(changes=()):
    """Two images a batch, as on Toronto's page: rows of 1024 red, 1024 green, 1024 blue values."""
    batches = {
        name: {
            "data": CIFAR10[2 * i : 2 * i + 2].transpose(0, 3, 1, 2).reshape(2, 3072),
            "labels": [i, 9 - i],
        }
        for i, name in enumerate(CIFAR10_NAMES)
    } | dict(changes)
    as_bytes = {
        name: {key.encode(): value for key, value in batch.items()}
        for name, batch in batches.items()
    }
    return {f"cifar-10-batches-py/{n}": pickle.dumps(b, 2) for n, b in as_bytes.items()}


@pytest.fixture
def small_cifar10(monkeypatch):
    monkeypatch.setattr(images, "_CIFAR10_ROWS", 2)


def test_cifar10_order(tmp_path, small_cifar10):
    contents = cifar10()
    backwards = dict(reversed(contents.items()))  # the archive's own order does not count
    for members in (contents, backwards):
        x, y = images.read_cifar10(put_tar(tmp_path / "a.tar.gz", members))
        np.testing.assert_array_equal(x, CIFAR10)
        assert x.dtype == np.uint8 and x.flags.c_contiguous and y.dtype == np.int64
        assert y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]


@pytest.mark.parametrize(
    "contents, words",
    [
        ({"readme": b""}, ["lacks cifar-10-batches-py/data_batch_1,"]),
        ({k: v for k, v in cifar10().items() if "test" not in k}, ["lacks", "test_batch"]),
        (cifar10({"test_batch": {"data": CIFAR10[:2].reshape(2, -1)}}), ["cannot be read"]),
        (
            cifar10({"test_batch": {"data": CIFAR10[:1].reshape(1, -1), "labels": [0]}}),
            ["11 rows found", "12 rows"],
        ),
        (cifar10() | {"cifar-10-batches-py/data_batch_3": b"text"}, ["cannot be read"]),
    ],
)
def test_cifar10_damaged(tmp_path, small_cifar10, contents, words):
    with user_error("a.tar.gz", *words):
        images.read_cifar10(put_tar(tmp_path / "a.tar.gz", contents))


# ---- STL-10 -------------------------------------------------------------------------------------

STL10 = RNG.integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)


def stl10(x=STL10, y=(10, 1, 4)):
    """As on Stanford's page: colours, then columns, then rows; labels from 1."""
    stored, y = x.transpose(0, 3, 2, 1), np.array(y, np.uint8)
    parts = {"train": slice(1), "test": slice(1, None)}
    return {
        f"stl10_binary/{part}_{what}.bin": values[rows].tobytes()
        for part, rows in parts.items()
        for what, values in (("X", stored), ("y", y))
    }


@pytest.fixture
def small_stl10(monkeypatch):
    monkeypatch.setattr(images, "_STL10_ROWS", (1, 2))


def test_stl10_order(tmp_path, small_stl10):
    contents = stl10() | {"stl10_binary/unlabeled_X.bin": b"never read"}
    x, y = images.read_stl10(put_tar(tmp_path / "a.tar.gz", contents))
    np.testing.assert_array_equal(x, STL10)
    assert x.dtype == np.uint8 and x.flags.c_contiguous
    assert y.tolist() == [9, 0, 3] and y.dtype == np.int64


@pytest.mark.parametrize(
    "contents, words",
    [
        ({"readme": b""}, ["lacks stl10_binary/train_X.bin,"]),
        (stl10(STL10[:2]), ["1 rows found", "2 rows expected"]),
        (stl10(y=(1, 2)), ["1 rows found", "2 rows expected"]),
        (stl10() | {"stl10_binary/train_X.bin": b"text"}, ["rows found", "1 rows expected"]),
    ],
)
def test_stl10_damaged(tmp_path, small_stl10, contents, words):
    with user_error("a.tar.gz", *words):
        images.read_stl10(put_tar(tmp_path / "a.tar.gz", contents))


@pytest.mark.parametrize("read", [images.read_cifar10, images.read_stl10])
@pytest.mark.parametrize("share", [0, 0.5])
def test_cut_archives(tmp_path, read, share):
    whole = put_tar(tmp_path / "a.tar.gz", stl10() | cifar10()).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: int(share * len(whole))])
    with user_error("a.tar.gz", "cannot be read as a .tar.gz file"):
        read(tmp_path / "a.tar.gz")


# ---- YouTube Faces ------------------------------------------------------------------------------

YTF = RNG.integers(0, 256, (82, 55, 55, 3)).astype(np.uint8)
YTF[0, 0, 0, :2] = 0, 255
FACES = np.arange(82) // 2 + 1


def put_ytf(folder, ending, x=YTF, y=FACES, **others):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"x": x} | ({} if y is None else {"y": y}) | others
    if ending == "npz":
        np.savez(folder / "ytf.npz", **arrays)
    else:
        with h5py.File(folder / "ytf.h5", "w") as file:
            for key, array in arrays.items():
                file[key] = array
    return folder


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize("sub", ["", "ytf"])
@pytest.mark.parametrize("unit", [np.uint8, np.float64, 1 / 255])
def test_ytf_units_and_order(tmp_path, ending, sub, unit):
    x = YTF * np.float32(unit) if isinstance(unit, float) else YTF.astype(unit)
    put_ytf(tmp_path / sub, ending, x)
    data = datasets.load("ytf", tmp_path, download=False)
    np.testing.assert_allclose(data.x, YTF / 255, atol=1e-6)
    assert data.x.shape == (82, 55, 55, 3) and data.x.dtype == np.float32 and data.is_image
    assert data.y.tolist() == (FACES - 1).tolist() and data.n_clusters == 41
    assert (data.x.min(), data.x.max()) == (0, 1)


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"y": None}, ["no y", "(n, 55, 55, 3)"]),
        ({"x": YTF.transpose(0, 3, 1, 2)}, ["(82, 3, 55, 55)", "(n, 55, 55, 3)"]),
        ({"x": YTF[..., :1]}, ["(82, 55, 55, 1)"]),
        ({"x": YTF.astype(bool)}, ["bool", "numbers"]),
        ({"x": YTF - 1.0}, ["values in [-1, 254]", "[0, 255]"]),
        ({"x": YTF * 2.0}, ["values in [0, 510]", "[0, 255]"]),
        ({"x": YTF * np.float32(np.nan)}, ["values in [nan, nan]"]),
        ({"y": FACES[:80]}, ["(80,)", "(82,)"]),
        ({"y": FACES // 2}, ["21 classes", "41"]),
        ({"x": YTF[:0], "y": FACES[:0]}, ["0 classes", "41"]),
        ({"y": FACES / 2}, ["label 0.5 of sample 0"]),
    ],
)
def test_ytf_damaged(tmp_path, ending, arrays, words):
    with user_error(f"ytf.{ending}", *words):
        datasets.load("ytf", put_ytf(tmp_path, ending, **arrays), download=False)
