"""datasets.py: names, units, order, formats, every mistake of a user, finding and fetching."""

import bz2
import gc
import gzip
import hashlib
import http.server
import os
import re
import struct
import threading
import warnings
from pathlib import Path

import h5py
import numpy as np
import pooch
import pytest
from conftest import user_error
from PIL import Image

import datasets
from common.errors import UserError
from loaders import images

ROOT = Path(datasets.__file__).resolve().parent
DATA = os.environ.get("DEEP_CLUSTERING_DATA") or next(
    (str(p) for p in [ROOT.parent / "shared" / "data"] if p.is_dir()), None
)
real_data = pytest.mark.skipif(
    DATA is None, reason="real data sets not found: set DEEP_CLUSTERING_DATA"
)


pytestmark = pytest.mark.usefixtures("nowhere")


# ---- the small sets the tests make up -----------------------------------------------------------

IMAGES = np.arange(5 * 256).reshape(5, 256) % 2001 / 1000  # five rows, values 0 to 1.279
IMAGES[:, -1] = 2.0
LABELS = np.array([6, 0, 9, 3, 1])


def jf(values, labels):
    rows = [f"{y} " + " ".join(f"{v:g}" for v in x) for x, y in zip(values, labels, strict=True)]
    return "\n".join(["10 256", *rows, "-1", ""])


def libsvm(values, labels):
    """As on libsvm's page: labels from 1, values v - 1, zeros left out."""
    rows = [
        f"{y + 1} " + " ".join(f"{i}:{v - 1:.3f}" for i, v in enumerate(x, 1) if v != 1)
        for x, y in zip(values, labels, strict=True)
    ]
    return bz2.compress(("\n".join(rows) + "\n").encode())


def put_usps(folder, kind, values=IMAGES, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "jf":
        (folder / "usps_train.jf").write_text(jf(values[:3], labels[:3]))
        (folder / "usps_test.jf").write_text(jf(values[3:], labels[3:]))
    else:
        (folder / "usps.bz2").write_bytes(libsvm(values[:3], labels[:3]))
        (folder / "usps.t.bz2").write_bytes(libsvm(values[3:], labels[3:]))
    return folder


@pytest.fixture
def small_usps(monkeypatch):
    monkeypatch.setattr(images, "_USPS_ROWS", (3, 2))


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)  # the same bytes at any time


@pytest.fixture
def small_mnist(monkeypatch):
    """Four small arrays, pinned in place of the published ones for mnist and fmnist."""
    x = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    y = np.array([5, 0, 4, 7, 2], np.uint8)
    arrays = {"x_train": x[:3], "y_train": y[:3], "x_test": x[3:], "y_test": y[3:]}
    pins = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    monkeypatch.setattr(images, "_ARRAYS", {"mnist": pins, "fmnist": pins})
    return arrays


def put_idx(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        (folder / images.IDX[key]).write_bytes(idx(array))
    return folder


# ---- Dataset and names --------------------------------------------------------------------------


def test_names():
    assert list(datasets.DATASETS) == [
        "digits",
        "mnist",
        "mnist-train",
        "mnist-test",
        "usps",
        "fmnist",
        "20news",
        "20news-l2",
        "reuters10k",
        "cifar10",
        "stl10",
        "ytf",
    ]


def test_digits_need_no_file():
    data = datasets.load("digits", download=False)
    assert data.x.shape == (1797, 8, 8, 1) and data.x.dtype == np.float32
    assert data.x.flags.c_contiguous and (data.x.min(), data.x.max()) == (0, 1)
    assert data.y.dtype == np.int64 and data.y[:5].tolist() == [0, 1, 2, 3, 4]
    assert (data.n, data.is_image, data.n_clusters, data.name, data.note) == (
        1797,
        True,
        10,
        "digits",
        "",
    )


def test_dataset_hash_tells_values_and_shape_apart():
    x = np.arange(12, dtype=np.float32)

    def digest(x, y=None, name="a"):
        return datasets.Dataset(x, y, name, 2).sha256

    assert digest(x.reshape(3, 4)) == digest(x.reshape(3, 4).copy(), np.zeros(3), "b")
    assert digest(x.reshape(3, 4)) != digest(x.reshape(4, 3))
    assert digest(x.reshape(3, 4)) != digest(x.reshape(3, 4) + 1)
    assert len(digest(x)) == 64


def test_dataset_is_frozen_and_hash_is_cached():
    data = datasets.Dataset(np.zeros((2, 2), np.float32), None, "a", 2)
    first = data.sha256
    assert data.sha256 is first and not data.is_image
    with pytest.raises(AttributeError):
        data.name = "b"


@pytest.mark.parametrize(
    "name, words",
    [
        ("minst", ["unknown dataset 'minst'", "did you mean 'mnist'?", "digits, mnist,"]),
        ("MNIST", ["'MNIST'", "did you mean 'mnist'?"]),
        ("cifar-100", ["unknown dataset 'cifar-100'", "choose from digits"]),
        ("", ["unknown dataset ''"]),
    ],
)
def test_unknown_name(name, words):
    with user_error(*words):
        datasets.load(name)


# ---- USPS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jf", "bz2"])
@pytest.mark.parametrize("sub", ["", "usps"])
def test_usps_units_and_order(tmp_path, small_usps, kind, sub):
    put_usps(tmp_path / sub, kind)
    data = datasets.load("usps", tmp_path, download=False)
    assert data.x.dtype == np.float32 and data.x.shape == (5, 16, 16, 1)
    np.testing.assert_array_equal(data.x.reshape(5, 256), (IMAGES / 2).astype(np.float32))
    np.testing.assert_array_equal(data.y, LABELS)
    assert data.y.dtype == np.int64


@pytest.mark.parametrize(
    "values, offset",
    [
        (IMAGES, 0),
        (IMAGES - 1, 1),
        (IMAGES / 2, 0),
        (np.round(IMAGES * 127.5).astype(np.uint8), 0),
        ((IMAGES / 2).reshape(5, 16, 16, 1), 1),
    ],
    ids=["0..2", "-1..1", "0..1", "0..255", "images"],
)
@pytest.mark.parametrize("keras", [False, True])
def test_usps_npz_tells_the_unit_by_the_range(tmp_path, small_usps, values, offset, keras):
    y = np.array([9, 0, 6, 3, 1]) + offset
    parts = {"x_train": values[:3], "y_train": y[:3], "x_test": values[3:], "y_test": y[3:]}
    np.savez(tmp_path / "usps.npz", **(parts if keras else {"x": values, "y": y}))
    data = datasets.load("usps", tmp_path, download=False)
    np.testing.assert_allclose(data.x.reshape(5, 256), IMAGES / 2, atol=1 / 255)
    np.testing.assert_array_equal(data.y, [9, 0, 6, 3, 1])


GOOD = jf(IMAGES[:3], LABELS[:3])


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["first line ''", "'10 256'"]),
        (GOOD.replace("10 256", "7 64"), ["'7 64'", "expected '10 256'"]),
        ("\n".join(GOOD.split("\n")[:3]), ["2 rows found", "3 rows expected"]),
        (GOOD[:-4], ["3 rows found", "no last line -1"]),
        (GOOD[: len(GOOD) // 2], ["2 rows found", "3 rows expected"]),
        (GOOD.replace("-1\n", GOOD.split("\n")[1] + "\n-1\n"), ["4 rows found", "3 rows"]),
        (jf(IMAGES[:3, :100], LABELS[:3]), ["101 columns found", "257 columns expected"]),
        (GOOD.replace(" 0.001 ", " zero "), ["cannot be read as a .jf file", "zero"]),
        (GOOD.replace(" 0.001 ", " 0.001 0.001 "), ["cannot be read as a .jf file", "columns"]),
        (GOOD.replace(" 0.001 ", " 2.5 "), ["values in [0, 2.5]", "[0, 2]"]),
        (GOOD.replace(" 0.001 ", " nan "), ["values in [nan, nan]", "[0, 2]"]),
        (GOOD.replace("\n6 ", "\n16 "), ["labels", "16", "[0, 9]"]),
        ("\x80", ["cannot be read as a .jf file"]),
    ],
)
def test_usps_jf_damaged(tmp_path, small_usps, text, words):
    put_usps(tmp_path, "jf")
    (tmp_path / "usps_train.jf").write_text(text, encoding="utf-8")
    with user_error("usps_train.jf", *words):
        datasets.load("usps", tmp_path, download=False)


@pytest.mark.parametrize(
    "content, words",
    [
        (libsvm(IMAGES[:2], LABELS[:2]), ["2 rows found", "3 rows expected"]),
        (libsvm(IMAGES[:3], LABELS[:3])[:200], ["cannot be read as a libsvm file"]),
        (b"plain text", ["cannot be read as a libsvm file"]),
        (libsvm(IMAGES[:3] + 1.5, LABELS[:3]), ["values in", "[-1, 1]"]),
        (libsvm(IMAGES[:3], LABELS[:3] + 1), ["labels from 0", "[0, 9]"]),
        (libsvm(np.ones((3, 300)) / 2, LABELS[:3]), ["cannot be read as a libsvm file"]),
    ],
)
def test_usps_bz2_damaged(tmp_path, small_usps, content, words):
    put_usps(tmp_path, "bz2")
    (tmp_path / "usps.bz2").write_bytes(content)
    with user_error("usps.bz2", *words):
        datasets.load("usps", tmp_path, download=False)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x": IMAGES[:4], "y": LABELS[:4]}, ["4 rows found", "5 rows expected"]),
        ({"x": IMAGES}, ["no y", "(5, 256)"]),
        ({"x": IMAGES[:, :64], "y": LABELS}, ["(5, 64)", "(5, 256)"]),
        ({"x": IMAGES, "y": LABELS[:4]}, ["(4,)", "(5,)"]),
        ({"x": IMAGES, "y": LABELS + 2}, ["labels from 0 in [2, 11]", "[0, 9]"]),
        ({"x": IMAGES, "y": LABELS * np.nan}, ["labels from 0 in [nan, nan]", "[0, 9]"]),
        ({"x": IMAGES * 200, "y": LABELS}, ["values in [0, 400]", "[0, 255]"]),
        ({"x": IMAGES.astype(str), "y": LABELS}, ["<U", "numbers"]),
    ],
)
def test_usps_npz_damaged(tmp_path, small_usps, arrays, words):
    np.savez(tmp_path / "usps.npz", **arrays)
    with user_error("usps.npz", *words):
        datasets.load("usps", tmp_path, download=False)


# ---- MNIST and Fashion-MNIST --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, sub", [("mnist", "mnist"), ("fmnist", "fmnist"), ("fmnist", "fashion-mnist")]
)
@pytest.mark.parametrize("kind", ["idx", "npz", "npz at the top"])
def test_mnist_units_and_order(tmp_path, small_mnist, name, sub, kind):
    folder = tmp_path / sub
    file = {"mnist": "mnist.npz", "fmnist": "fashion_mnist.npz"}[name]
    put_idx(folder, small_mnist) if kind == "idx" else folder.mkdir()
    if kind != "idx":
        np.savez_compressed((folder if kind == "npz" else tmp_path) / file, **small_mnist)
    data = datasets.load(name, tmp_path, download=False)
    x = np.concatenate([small_mnist["x_train"], small_mnist["x_test"]])
    np.testing.assert_array_equal(data.x[..., 0], x.astype(np.float32) / np.float32(255))
    assert data.x.shape == (5, 28, 28, 1) and data.x.dtype == np.float32
    assert data.y.tolist() == [5, 0, 4, 7, 2] and data.y.dtype == np.int64


@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_mnist_test_is_the_end_of_mnist(tmp_path, small_mnist, kind):
    put_idx(tmp_path / "mnist", small_mnist)
    if kind == "npz":
        np.savez(tmp_path / "mnist.npz", **small_mnist)
    full = datasets.load("mnist", tmp_path, download=False)
    test = datasets.load("mnist-test", tmp_path, download=False)
    np.testing.assert_array_equal(test.x, full.x[3:])
    np.testing.assert_array_equal(test.y, full.y[3:])
    assert test.name == "mnist-test"


def test_idx_files_at_the_top_could_be_either_set_and_are_left(tmp_path, small_mnist):
    put_idx(tmp_path, small_mnist)
    with pytest.raises(UserError, match="downloading is off"):
        datasets.load("mnist", tmp_path, download=False)


def test_mnist_labels_of_another_integer_type_are_the_same_labels(tmp_path, small_mnist):
    wide = {k: v.astype(np.int64) if k[0] == "y" else v for k, v in small_mnist.items()}
    np.savez(tmp_path / "mnist.npz", **wide)
    assert datasets.load("mnist", tmp_path, download=False).y.tolist() == [5, 0, 4, 7, 2]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: a | {"x_train": a["x_train"][:2]}, ["x_train", "(2, 28, 28)", "sha256"]),
        (lambda a: a | {"x_test": a["x_test"] ^ 1}, ["x_test", "not the published mnist"]),
        (lambda a: a | {"y_train": a["y_train"][::-1]}, ["y_train", "sha256", "expected"]),
        (lambda a: a | {"x_train": a["x_train"] / 255}, ["x_train, float64"]),
        (lambda a: {k: a[k] for k in ("x_train", "y_train")}, ["lacks x_test, y_test"]),
        (lambda a: a | {"x_train": np.array([{}])}, ["cannot be read"]),
    ],
)
def test_mnist_npz_not_the_published_one(tmp_path, small_mnist, change, words):
    np.savez(tmp_path / "mnist.npz", **change(small_mnist))
    with user_error("mnist.npz", *words):
        datasets.load("mnist", tmp_path, download=False)


def test_mnist_npz_that_is_text_or_cut(tmp_path, small_mnist):
    np.savez(tmp_path / "mnist.npz", **small_mnist)
    whole = (tmp_path / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(whole[: len(whole) // 2])
    with user_error("mnist.npz", "cannot be read as a NumPy file"):
        datasets.load("mnist", tmp_path, download=False)
    (tmp_path / "mnist.npz").write_text("404: not found")
    with user_error("mnist.npz", "b'404:'", "expected a NumPy"):
        datasets.load("mnist", tmp_path, download=False)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"text", ["cannot be read as a gzipped idx file"]),
        (gzip.compress(b"text", mtime=0), ["starts with b'text'", "idx file"]),
        (gzip.compress(b"", mtime=0), ["starts with b''"]),
        (
            gzip.compress(gzip.decompress(idx(np.zeros((3, 28, 28), np.uint8)))[:-784], mtime=0),
            [" 2 rows found", "3 rows expected"],
        ),
        (idx(np.zeros((3, 28, 28), np.uint8))[:-9], ["cannot be read as a gzipped idx file"]),
        (idx(np.zeros((3, 28, 28), np.uint8)), ["x_train", "not the published mnist"]),
    ],
)
def test_mnist_idx_damaged(tmp_path, small_mnist, content, words):
    put_idx(tmp_path / "mnist", small_mnist)
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    with user_error("train-images-idx3-ubyte.gz", *words):
        datasets.load("mnist", tmp_path, download=False)


# ---- where files are looked for -----------------------------------------------------------------


def test_lookup_order(tmp_path, small_usps, monkeypatch):
    given, variable = tmp_path / "given", tmp_path / "variable"
    places = [given, variable, tmp_path / "repository" / "data", tmp_path / "cache"]
    monkeypatch.setenv("DEEP_CLUSTERING_DATA", str(variable))
    for i, place in enumerate(places):
        put_usps(place, "jf", labels=(LABELS + i) % 10)
    for i, place in enumerate(places):
        assert datasets.load("usps", given, download=False).y[0] == (LABELS[0] + i) % 10
        for file in place.iterdir():
            file.unlink()
    with pytest.raises(UserError, match="not found"):
        datasets.load("usps", given, download=False)


def test_preferred_layout_first(tmp_path, small_usps):
    put_usps(tmp_path, "bz2", labels=LABELS[::-1])
    put_usps(tmp_path, "jf")
    assert datasets.load("usps", tmp_path, download=False).y.tolist() == LABELS.tolist()


def test_incomplete_set_is_passed_over_and_mentioned(tmp_path, small_usps):
    put_usps(tmp_path / "given", "jf")
    (tmp_path / "given" / "usps_test.jf").unlink()
    with pytest.raises(UserError, match="given has usps_train.jf, not usps_test.jf"):
        datasets.load("usps", tmp_path / "given", download=False)
    put_usps(tmp_path / "cache", "bz2")
    assert datasets.load("usps", tmp_path / "given", download=False).n == 5


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_data_dir_must_be_a_folder(tmp_path, name):
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "nowhere", str(tmp_path / "file")):
        with user_error(f"data folder '{wrong}'", "no such folder"):
            datasets.load(name, wrong)


def test_environment_variable_must_name_a_folder(tmp_path, monkeypatch, small_usps):
    monkeypatch.setenv("DEEP_CLUSTERING_DATA", str(tmp_path / "nowhere"))
    with user_error("DEEP_CLUSTERING_DATA", "nowhere", "no such folder"):
        datasets.load("usps")
    put_usps(tmp_path, "jf")
    assert datasets.load("usps", tmp_path).n == 5  # found before the variable is asked
    monkeypatch.setenv("DEEP_CLUSTERING_DATA", "")
    with pytest.raises(UserError, match="downloading is off"):
        datasets.load("mnist", download=False)


# ---- download -----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of tmp_path/site; `asked` lists the requests, `broken` cuts that many answers."""
    site = tmp_path / "site"
    site.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        asked, broken = [], 0

        def do_GET(self):
            Handler.asked.append(self.path)
            file = site / self.path.lstrip("/")
            if not file.is_file():
                return self.send_error(404)
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            cut = len(content) // 2 if Handler.broken else len(content)
            Handler.broken = max(0, Handler.broken - 1)
            self.wfile.write(content[:cut])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between tries
        Handler.site, Handler.address = site, f"http://127.0.0.1:{running.server_port}/"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield Handler
        running.shutdown()


@pytest.fixture
def usps_online(server, small_usps, monkeypatch):
    """Serve the small USPS in place of libsvm's, with its checksums."""
    put_usps(server.site, "bz2")
    source = datasets.SOURCES["usps"]
    downloads = {
        name: (
            server.address + Path(name).name,
            "md5:" + hashlib.md5((server.site / Path(name).name).read_bytes()).hexdigest(),
        )
        for name in source.downloads
    }
    for name in source.downloads:
        monkeypatch.setitem(source.downloads, name, downloads[name])
    return server


def test_download_once(usps_online, tmp_path, capsys):
    data = datasets.load("usps")
    assert data.y.tolist() == LABELS.tolist()
    assert usps_online.asked == ["/usps.bz2", "/usps.t.bz2"]
    assert sorted(p.name for p in (tmp_path / "cache" / "usps").iterdir()) == [
        "usps.bz2",
        "usps.t.bz2",
    ]
    assert capsys.readouterr().out == ""
    assert datasets.load("usps").sha256 == data.sha256
    assert datasets.load("usps", download=False).sha256 == data.sha256
    assert len(usps_online.asked) == 2


def test_download_goes_on_with_the_missing_file(usps_online, tmp_path):
    datasets.load("usps")
    (tmp_path / "cache" / "usps" / "usps.t.bz2").unlink()
    datasets.load("usps")
    assert usps_online.asked == ["/usps.bz2", "/usps.t.bz2", "/usps.t.bz2"]


def test_download_that_breaks_off_is_tried_again(usps_online, tmp_path):
    usps_online.broken = 2
    assert datasets.load("usps").n == 5
    assert usps_online.asked == ["/usps.bz2"] * 3 + ["/usps.t.bz2"]


def test_download_that_always_breaks_off_leaves_no_file(usps_online, tmp_path):
    usps_online.broken = 100
    with pytest.raises(UserError, match="downloading failed"):
        datasets.load("usps")
    assert usps_online.asked == ["/usps.bz2"] * 3
    assert list((tmp_path / "cache" / "usps").iterdir()) == []


def test_download_with_a_wrong_checksum_is_thrown_away(usps_online, tmp_path):
    (usps_online.site / "usps.t.bz2").write_bytes(b"something else")
    with pytest.raises(UserError, match="downloading failed .*hash"):
        datasets.load("usps")
    assert [p.name for p in (tmp_path / "cache" / "usps").iterdir()] == ["usps.bz2"]


def test_damaged_download_is_fetched_again(usps_online, tmp_path):
    datasets.load("usps")
    (tmp_path / "cache" / "usps" / "usps.bz2").write_bytes(b"damaged")
    with user_error("usps.bz2", "cannot be read"):
        datasets.load("usps", download=False)
    assert datasets.load("usps").n == 5
    assert usps_online.asked[2:] == ["/usps.bz2"]


def test_damaged_file_of_the_user_is_an_error_and_stays(usps_online, tmp_path):
    put_usps(tmp_path / "given", "bz2")
    (tmp_path / "given" / "usps.bz2").write_bytes(b"damaged")
    with user_error("usps.bz2", "cannot be read"):
        datasets.load("usps", tmp_path / "given")
    assert usps_online.asked == []


def test_not_found_on_the_server_is_tried_once(usps_online):
    (usps_online.site / "usps.bz2").unlink()
    with pytest.raises(UserError, match="404"):
        datasets.load("usps")
    assert usps_online.asked == ["/usps.bz2"]


def test_nobody_answers(usps_online, monkeypatch):
    tries = []
    download = pooch.HTTPDownloader.__call__
    monkeypatch.setattr(
        pooch.HTTPDownloader, "__call__", lambda *a, **k: (tries.append(1), download(*a, **k))[1]
    )
    closed = ("http://127.0.0.1:1/usps.bz2", "md5:0")
    monkeypatch.setitem(datasets.SOURCES["usps"].downloads, "usps/usps.bz2", closed)
    with pytest.raises(UserError, match="downloading failed .*refused"):
        datasets.load("usps")
    assert len(tries) == 1  # never connected: offline, so no second try


def test_cache_that_cannot_be_written(usps_online, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="downloading failed"):
        datasets.load("usps")


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", datasets.SOURCES)
def test_absent_data_says_where_and_what(tmp_path, monkeypatch, name, download):
    given, variable = tmp_path / "given", tmp_path / "variable"
    given.mkdir()
    variable.mkdir()
    monkeypatch.setenv("DEEP_CLUSTERING_DATA", str(variable))
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)  # between tries
    with pytest.raises(UserError) as caught:
        datasets.load(name, given, download=download)
    message = str(caught.value)
    places = (given, variable, tmp_path / "repository" / "data", tmp_path / "cache")
    assert all(f"  {place} (" in message for place in places)
    assert all(address in message for address, _ in datasets.SOURCES[name].downloads.values())
    assert all(" + ".join(names) in message for names in datasets.SOURCES[name].layouts)
    assert "--data-dir" in message and repr(name) in message.split("\n")[0]
    source = datasets.SOURCES[name]
    assert f"licence: {source.licence}" in message and source.origin in message
    if not source.downloads:
        assert "it cannot be downloaded" in message or not download
    else:
        assert ("no network in tests" if download else "downloading is off") in message


def test_sources_are_whole():
    """What a download ends in is a layout, so that a finished download is found again."""
    for source in datasets.SOURCES.values():
        assert source.own in source.layouts if source.downloads else source.origin
        for address, checksum in source.downloads.values():
            assert address.startswith("https://")
            assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", checksum)


# ---- a user's own data: what is read ------------------------------------------------------------

VECTORS = np.array([[1.5, -2.0], [0.0, 7.0], [3.0, 4.0]])


def save(path, **arrays):
    """Save named arrays as .npz or .h5, or the one array as .npy."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, *arrays.values())
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                text = np.asarray(array).dtype.kind == "U"
                file[key] = np.asarray(array).astype(object) if text else array
    return path


@pytest.mark.parametrize("ending", [".npz", ".h5", ".hdf5", ".NPZ"])
@pytest.mark.parametrize("labels", [[4, 9, 4], ["b", "c", "b"], [4.0, 9.0, 4.0], [[4], [9], [4]]])
def test_named_arrays(tmp_path, ending, labels):
    path = tmp_path / f"mine{ending.lower()}"
    save(path, x=VECTORS, y=np.array(labels), other=np.zeros(1))
    path = path.rename(tmp_path / f"mine{ending}")
    data = datasets.load_file(path)
    np.testing.assert_array_equal(data.x, VECTORS.astype(np.float32))
    assert data.x.dtype == np.float32 and data.x.flags.c_contiguous and not data.is_image
    assert data.y.tolist() == [0, 1, 0] and data.y.dtype == np.int64
    assert (data.name, data.n_clusters) == ("mine", 2)
    assert data.note == "arrays left out: 'other' (1,)"


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_train_then_test(tmp_path, ending):
    both = {"x_train": VECTORS, "x_test": -VECTORS[:2]}
    data = datasets.load_file(save(tmp_path / f"a{ending}", **both), 2)
    np.testing.assert_array_equal(data.x, np.concatenate([VECTORS, -VECTORS[:2]]))
    assert data.y is None
    both |= {"y_train": [7, 5, 7], "y_test": [9, 5]}
    data = datasets.load_file(save(tmp_path / f"b{ending}", **both))
    assert data.y.tolist() == [1, 0, 1, 2, 0] and data.n_clusters == 3
    only = {"x_train": VECTORS, "y_train": [1, 2, 3]}
    assert datasets.load_file(save(tmp_path / f"c{ending}", **only)).n == 3


@pytest.mark.parametrize("ending", [".npz", ".npy", ".h5"])
def test_single_array(tmp_path, ending):
    data = datasets.load_file(save(tmp_path / f"a{ending}", features=VECTORS), n_clusters=3)
    np.testing.assert_array_equal(data.x, VECTORS)
    assert data.y is None and data.n_clusters == 3


def test_fortran_order_and_big_endian(tmp_path):
    path = save(tmp_path / "a.npy", x=np.asfortranarray(VECTORS.astype(">f8")))
    data = datasets.load_file(path, 2)
    assert data.x.flags.c_contiguous and data.x.dtype.str == "<f4"
    np.testing.assert_array_equal(data.x, VECTORS)


def gray(*values, dtype):
    return np.array(values, dtype).reshape(len(values), 1, 1)


@pytest.mark.parametrize(
    "x, expected, note",
    [
        (gray(0, 51, 255, dtype=np.uint8), [0, 0.2, 1], ""),
        (gray(0, 51, 255, dtype=np.int64), [0, 0.2, 1], ""),
        (gray(51, 51, 51, dtype=np.uint8), [0.2, 0.2, 0.2], "all samples are the same"),
        (gray(0, 1, 1, dtype=np.uint8), [0, 1, 1], "only 0 and 1"),
        (gray(0, 1, 1, dtype=bool), [0, 1, 1], ""),
        (gray(0, 0.25, 1, dtype=np.float64), [0, 0.25, 1], ""),
        (gray(0.5, 0.25, 0.5, dtype=np.float16), [0.5, 0.25, 0.5], ""),
        (gray(-1, 0, 1, dtype=np.float32), [0, 0.5, 1], "rescaled from [-1, 1] to [0, 1]"),
        (gray(2, 3, 6, dtype=np.float64), [0, 0.25, 1], "rescaled from [2, 6]"),
        (gray(7, 7, 7, dtype=np.float64), [0, 0, 0], "rescaled from [7, 7]"),
        (gray(0, 256, 1024, dtype=np.uint16), [0, 0.25, 1], "rescaled from [0, 1024]"),
        (gray(-128, 127, -128, dtype=np.int8), [0, 1, 0], "rescaled from [-128, 127]"),
    ],
)
def test_image_units(tmp_path, x, expected, note):
    data = datasets.load_file(save(tmp_path / "a.npy", x=x), 2)
    assert data.x.shape == (3, 1, 1, 1) and data.x.dtype == np.float32 and data.is_image
    np.testing.assert_allclose(data.x.ravel(), expected, rtol=1e-6)
    assert note in data.note and bool(note) == bool(data.note)


def test_vectors_of_whole_numbers_stay_and_are_noted(tmp_path):
    data = datasets.load_file(save(tmp_path / "a.npy", x=np.array([[0, 9], [255, 3]])), 2)
    np.testing.assert_array_equal(data.x, [[0, 9], [255, 3]])
    assert "[0, 255] used as they are" in data.note


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 1), (2, 3, 4, 3)])
def test_image_shapes(tmp_path, shape):
    data = datasets.load_file(save(tmp_path / "a.npy", x=np.ones(shape)), 2)
    assert data.x.shape == (shape if len(shape) == 4 else (*shape, 1))


@pytest.mark.parametrize(
    "text, x, y",
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("1,2\r\n3,4", [[1, 2], [3, 4]], None),
        ("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("\ufeffa,b\n1,2\n\n3,4\n", [[1, 2], [3, 4]], None),
        ("1,y\n5,10\n6,9\n", [[5], [6]], [1, 0]),
        ("a, Label ,b\n1,cat,2\n3,ant,4\n", [[1, 2], [3, 4]], [1, 0]),
        ('"a","class"\n1,"x, y"\n2,"#"\n', [[1], [2]], [1, 0]),
        ("y,a\n2.0,1e3\n1.0,-.5\n", [[1000], [-0.5]], [1, 0]),
    ],
)
def test_csv(tmp_path, text, x, y):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    data = datasets.load_file(tmp_path / "a.csv", 2)
    np.testing.assert_array_equal(data.x, np.array(x, np.float32))
    assert (data.y is None) if y is None else (data.y.tolist() == y)


def draw(path, value, size=(4, 3), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "tif", "PNG"])
def test_folder_of_gray_images(tmp_path, ending):
    for i, value in enumerate((255, 0, 102)):
        draw(tmp_path / "mine" / f"{i}.{ending}", value)
    (tmp_path / "mine" / "notes.txt").write_text("no image")
    (tmp_path / "mine" / ".hidden.png").write_text("no image")
    data = datasets.load_file(tmp_path / "mine", 2)
    assert data.x.shape[:3] == (3, 3, 4) and data.name == "mine" and data.y is None
    np.testing.assert_allclose(data.x[:, 0, 0, 0], [1, 0, 0.4], atol=0.005)


def test_folder_of_classes_in_colour(tmp_path):
    red, green = (255, 0, 0), (0, 255, 0)
    draw(tmp_path / "mine" / "tree" / "0.png", green, mode="RGB")
    draw(tmp_path / "mine" / "fire" / "1.png", red, mode="RGB")
    draw(tmp_path / "mine" / "fire" / "0.png", (*red, 9), mode="RGBA")
    draw(tmp_path / "mine" / ".trash" / "0.png", red, mode="RGB")
    (tmp_path / "mine" / "empty").mkdir()
    data = datasets.load_file(tmp_path / "mine")
    assert data.x.shape == (3, 3, 4, 3) and data.y.tolist() == [0, 0, 1]
    pale = [1, 246 / 255, 246 / 255]  # a red of opacity 9/255 on white
    np.testing.assert_allclose(data.x[:, 0, 0], [pale, [1, 0, 0], [0, 1, 0]], atol=0.005)
    assert data.note == "1 of 3 images transparent, put on white"
    assert data.rows == ("fire/0.png", "fire/1.png", "tree/0.png")


@pytest.mark.parametrize("labels", [[7, 5, 7], [[7], [5], [7]], [7.0, 5.0, 7.0], None])
def test_folder_of_arrays_as_kingdra_has_it(tmp_path, labels):
    save(tmp_path / "train_X.npy", x=VECTORS)
    draw(tmp_path / "picture.png", 0)
    if labels is not None:
        save(tmp_path / "train_Y.npy", y=np.array(labels))
    data = datasets.load_file(tmp_path, None if labels else 2)
    np.testing.assert_array_equal(data.x, VECTORS.astype(np.float32))
    assert data.x.dtype == np.float32 and data.name == tmp_path.name and data.n_clusters == 2
    assert data.y is None if labels is None else data.y.tolist() == [1, 0, 1]


# ---- a user's own data: every mistake -----------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, -3, 4, 2.0, "2", True, float("nan")])
def test_number_of_clusters_out_of_range(tmp_path, k):
    with user_error(f"n_clusters={k!r}", "from 2 to 3"):
        datasets.load_file(save(tmp_path / "a.npy", x=VECTORS), k)


@pytest.mark.parametrize("k", [2, 3, np.int64(2)])
def test_number_of_clusters_in_range(tmp_path, k):
    path = save(tmp_path / "a.npz", x=VECTORS, y=[0, 1, 2])
    assert datasets.load_file(path, k).n_clusters == k  # labels do not overrule it


@pytest.mark.parametrize("labels, count", [({}, "0 distinct"), ({"y": [5, 5, 5]}, "1 distinct")])
def test_number_of_clusters_unknown(tmp_path, labels, count):
    with user_error("a.npz", count, "pass --n-clusters K"):
        datasets.load_file(save(tmp_path / "a.npz", x=VECTORS, **labels))


@pytest.mark.parametrize(
    "x, words",
    [
        (np.zeros(3), ["(3,)", "vectors (n, d) or images"]),
        (np.zeros((2, 2, 2, 3, 1)), ["(2, 2, 2, 3, 1)", "images"]),
        (np.zeros((2, 3, 4, 4)), ["(2, 3, 4, 4)", "c = 1 or 3"]),
        (np.zeros((2, 1, 4, 4)), ["(2, 1, 4, 4)", "(n, h, w, c)"]),
        (np.zeros((0, 3)), ["(0, 3)"]),
        (np.zeros((3, 0)), ["(3, 0)"]),
        (np.zeros((1, 3)), ["n = 1", "at least 2"]),
        (np.zeros((2, 2), complex), ["complex128", "real numbers"]),
        (np.array([["a"], ["b"]]), ["<U1", "real numbers"]),
        (np.array([[1, np.nan], [np.inf, 2]]), ["2 values", "NaN", "(0, 1)", "finite"]),
        (np.array([[1, 2], [-np.inf, 2]], np.float16), ["1 values", "(1, 0)"]),
        (np.array([[1, 2], [1, 1e300]]), ["1 values", "beyond 1e+15", "(1, 1)"]),
        (np.full((2, 1, 1, 1), np.nan), ["2 values", "(0, 0, 0, 0)"]),
    ],
)
def test_wrong_values(tmp_path, x, words):
    with user_error("a.npy", *words):
        datasets.load_file(save(tmp_path / "a.npy", x=x), 2)


def test_single_number_in_npz(tmp_path):
    with user_error("a.npz", "x has shape ()"):
        datasets.load_file(save(tmp_path / "a.npz", x=np.float64(3)), 2)


@pytest.mark.parametrize(
    "y, words",
    [
        ([0, 1], ["(2,)", "(3,)"]),
        ([[0, 1, 0]] * 3, ["(3, 3)", "(3,)"]),
        ([0.5, 1, 2], ["label 0.5 of sample 0", "whole number"]),
        ([0, 1, np.nan], ["label nan of sample 2", "whole number"]),
        ([0, np.inf, 1], ["label inf of sample 1"]),
        (["a", "", "b"], ["of sample 1"]),
        ([1j, 2, 3], ["complex128", "whole numbers or text"]),
    ],
)
def test_wrong_labels(tmp_path, y, words):
    with user_error("a.npz", *words):
        datasets.load_file(save(tmp_path / "a.npz", x=VECTORS, y=y))


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"a": VECTORS, "b": VECTORS}, ["'a' (3, 2) float64, 'b'", "--array NAME"]),
        ({}, ["holds none", "named x"]),
        ({"x_train": VECTORS, "x_test": np.zeros((2, 5))}, ["x_train then x_test"]),
        ({"x_train": VECTORS, "x_test": np.zeros((1, 2), np.uint8)}, ["float64 and uint8"]),
        ({"x_train": VECTORS, "x_test": VECTORS, "y_train": [0, 1, 0]}, ["(3,)", "(6,)"]),
        ({"x_train": VECTORS, "y_train": [0, 1, 0], "y_test": ["a"]}, ["y_train and y_test"]),
    ],
)
@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_wrong_names(tmp_path, arrays, words, ending):
    with user_error(f"a{ending}", *words):
        datasets.load_file(save(tmp_path / f"a{ending}", **arrays), 2)


def test_python_objects_are_refused(tmp_path):
    objects = np.array([[1, {}], [2, 3]], object)
    for ending in (".npy", ".npz"):
        with user_error(f"a{ending}", "cannot be read"):
            datasets.load_file(save(tmp_path / f"a{ending}", x=objects), 2)


def test_group_in_place_of_an_array(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("x")
    with user_error("a.h5", "'x' is a group"):
        datasets.load_file(tmp_path / "a.h5", 2)


@pytest.mark.parametrize("ending", [".npz", ".npy", ".h5", ".hdf5"])
@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"\0" * 100], ids=["empty", "text", "0s"])
def test_wrong_content(tmp_path, ending, content):
    (tmp_path / f"a{ending}").write_bytes(content)
    with user_error(f"a{ending}", "expected" if ending[:3] == ".np" else "an HDF5 file"):
        datasets.load_file(tmp_path / f"a{ending}", 2)


@pytest.fixture
def nothing_left():
    """What earlier tests left open is let go, so that it does not count as this one's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.mark.parametrize("ending", [".npz", ".npy", ".h5"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.filterwarnings("error")  # no file may be left open
def test_truncated(tmp_path, ending, share):
    path = save(tmp_path / f"a{ending}", x=np.random.default_rng(0).random((40, 8)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with user_error(f"a{ending}", "cannot be read as"):
        datasets.load_file(path, 2)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["no rows with values", "table of numbers"]),
        ("\n", ["no rows"]),
        ("a,b\n", ["no rows with values"]),
        ("a,label\n", ["no rows"]),
        ("a,b\n1,2,3,4\n4,5,6\n", ["4 values in line 2", "expected 2"]),
        ("1,2\n3\n", ["1 values in line 2", "expected 2 as in line 1"]),
        ("1,2\n3,\n", ["missing values: 1 of 2 in column '2'", "row 2", "--missing"]),
        ("1,2\n3,x\n", ["column '2' holds 'x'", "--label-column '2'"]),
        ("1,2\n3,nan\n", ["1 of 2 in column '2'"]),
        ("1,2\n3,inf\n", ["infinite", "(1, 1)"]),
        ("1,x\n3,4\n", ["column '2' holds 'x'"]),
        ("y,label,a\n0,1,2\n", ["2 label columns ('y', 'label')", "--label-column"]),
        ("a,y\n1,cat\n2,\n", ["sample 1"]),
        ("a,y\n1,0.5\n2,1\n", ["label 0.5"]),
        ("y\n1\n2\n", ["no column of numbers besides labels"]),
        ("a;b\n1;2\n3;x\n", ["column 'b' holds 'x'"]),
    ],
)
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.filterwarnings("error")
def test_wrong_csv(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with user_error("a.csv", *words):
        datasets.load_file(tmp_path / "a.csv", 2)


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\xff\xfe")
    with user_error("a.csv", "cannot be read as a CSV table"):
        datasets.load_file(tmp_path / "a.csv", 2)


@pytest.mark.parametrize(
    "name, words",
    [
        ("missing.npz", ["no such file or folder"]),
        ("a.doc", ["'.doc'", ".csv, .tsv, .tab, .txt", ".npz, .npy", "or a folder"]),
        ("noending", ["unknown ending ''"]),
        ("folder.npz", ["is a folder", "expected a .npz file"]),
    ],
)
def test_wrong_path(tmp_path, name, words):
    (tmp_path / "a.doc").write_text("1 2")
    (tmp_path / "noending").touch()
    (tmp_path / "folder.npz").mkdir()
    with user_error(name, *words):
        datasets.load_file(str(tmp_path / name), 2)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.h5", "folder"])
def test_unreadable(tmp_path, name):
    path = tmp_path / name
    path.touch() if path.suffix else path.mkdir()
    path.chmod(0)
    with user_error(name, "cannot be read", "ermission denied"):
        datasets.load_file(path, 2)


def test_permission_denied_by_any_reader(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    for module, name in (("builtins", "open"), ("h5py", "File"), ("os", "listdir")):
        monkeypatch.setattr(f"{module}.{name}", denied)
    (tmp_path / "folder").mkdir()
    for name in ("a.npz", "a.npy", "a.csv", "a.h5", "folder"):
        if name != "folder":
            (tmp_path / name).touch()
        with user_error(name, "cannot be read", "Permission denied"):
            datasets.load_file(tmp_path / name, 2)


def test_folder_without_images(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a.txt").touch()
    with user_error(tmp_path.name, "0 images in it and 0 in its sub-folders", ".png"):
        datasets.load_file(tmp_path, 2)


def test_folder_of_arrays_damaged(tmp_path):
    save(tmp_path / "train_X.npy", x=VECTORS)
    with user_error(tmp_path, "0 distinct labels", "--n-clusters"):
        datasets.load_file(tmp_path)
    save(tmp_path / "train_Y.npy", y=np.array([0, 1]))
    with user_error(tmp_path, "(2,)", "(3,)"):
        datasets.load_file(tmp_path)
    (tmp_path / "train_Y.npy").write_text("text")
    with user_error("train_Y.npy", "b'text'"):
        datasets.load_file(tmp_path)
    save(tmp_path / "train_X.npy", x=VECTORS * np.nan)
    with user_error(tmp_path, "train_Y.npy"):
        datasets.load_file(tmp_path)
    (tmp_path / "train_Y.npy").unlink()
    with user_error(tmp_path, "6 values", "NaN"):
        datasets.load_file(tmp_path, 2)


def test_folder_with_images_on_two_levels(tmp_path):
    draw(tmp_path / "0.png", 0)
    draw(tmp_path / "sub" / "0.png", 0)
    with user_error("1 images in it and 1 in its sub-folders", "one of the two"):
        datasets.load_file(tmp_path, 2)


def test_images_of_several_sizes(tmp_path):
    draw(tmp_path / "a.png", 0)
    draw(tmp_path / "b.png", 255, size=(3, 4))
    with user_error(tmp_path / "a.png", tmp_path / "b.png", "4x3 pixels", "3x4", "--image-size"):
        datasets.load_file(tmp_path, 2)
    data = datasets.load_file(tmp_path, 2, image_size=(6, 5))
    assert data.x.shape == (2, 6, 5, 1) and data.x[:, 0, 0, 0].tolist() == [0, 1]
    assert data.note == "2 of 2 images resized to 6x5"


def test_grey_among_coloured_images_are_all_coloured(tmp_path):
    draw(tmp_path / "a.png", 51)
    draw(tmp_path / "b.webp", (255, 0, 0), mode="RGB")
    data = datasets.load_file(tmp_path, 2)
    assert data.x.shape == (2, 3, 4, 3)
    np.testing.assert_allclose(data.x[0, 0, 0], 0.2, atol=1e-6)
    assert data.note == "1 of 2 grey images taken as coloured ones"


def test_damaged_image(tmp_path):
    draw(tmp_path / "a.png", 0, size=(64, 64))
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"text", whole[:50]):
        (tmp_path / "b.png").write_bytes(content)
        with user_error("b.png", "cannot be read as an image"):
            datasets.load_file(tmp_path, 2)


def test_images_of_sixteen_bits_keep_them(tmp_path):
    Image.fromarray(np.full((3, 4), 13107, np.uint16)).save(tmp_path / "a.png")
    draw(tmp_path / "b.png", 51)
    data = datasets.load_file(tmp_path, 2)
    np.testing.assert_allclose(data.x, 0.2, atol=1e-6)
    assert data.note == "1 of 2 images of 16 bits; all samples are the same"


def test_single_image(tmp_path):
    draw(tmp_path / "a.png", 0)
    with user_error("n = 1", "at least 2"):
        datasets.load_file(tmp_path, 2)


# ---- the real sets ------------------------------------------------------------------------------


@real_data
@pytest.mark.parametrize(
    "name, shape, counts",
    [
        ("mnist", (70000, 28, 28, 1), [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]),
        ("mnist-test", (10000, 28, 28, 1), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("usps", (9298, 16, 16, 1), [1553, 1269, 929, 824, 852, 716, 834, 792, 708, 821]),
        ("fmnist", (70000, 28, 28, 1), [7000] * 10),
    ],
)
def test_real_sets(name, shape, counts):
    data = datasets.load(name, DATA, download=False)
    assert data.x.shape == shape and data.x.dtype == np.float32 and data.x.flags.c_contiguous
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert np.bincount(data.y).tolist() == counts
    assert data.n_clusters == 10 and data.name == name and data.note == ""


@real_data
@pytest.mark.parametrize(
    "name, n_train, first, first_of_test",
    [
        ("mnist", 60000, [5, 0, 4, 1, 9], [7, 2, 1, 0, 4]),
        ("fmnist", 60000, [9, 0, 0, 3, 0], [9, 2, 1, 1, 6]),
        ("usps", 7291, [6, 5, 4, 7, 3], [9, 6, 3, 6, 6]),
    ],
)
def test_real_order(name, n_train, first, first_of_test):
    y = datasets.load(name, DATA, download=False).y
    assert y[:5].tolist() == first
    assert y[n_train : n_train + 5].tolist() == first_of_test


@real_data
def test_real_mnist_test_is_the_end_of_mnist():
    test, full = (datasets.load(name, DATA, download=False) for name in ("mnist-test", "mnist"))
    np.testing.assert_array_equal(test.x, full.x[60000:])


@real_data
def test_real_usps_as_libsvm_has_it(tmp_path):
    """The .jf rows written in libsvm's form give the same data set, bit for bit."""
    for jf_name, name in (("usps_train.jf", "usps.bz2"), ("usps_test.jf", "usps.t.bz2")):
        path = next(p for p in (Path(DATA, "usps", jf_name), Path(DATA, jf_name)) if p.is_file())
        table = np.loadtxt(path.read_text().split("\n")[1:201])
        (tmp_path / name).write_bytes(libsvm(table[:, 1:], table[:, 0].astype(int)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_USPS_ROWS", (200, 200))
        small = datasets.load("usps", tmp_path, download=False)
    full = datasets.load("usps", DATA, download=False)
    rows = np.r_[:200, 7291:7491]
    np.testing.assert_array_equal(small.x, full.x[rows])
    np.testing.assert_array_equal(small.y, full.y[rows])
