"""The page on a user's own data, as a new user follows it, and readers on made-up files."""

import bz2
import csv
import dataclasses
import gzip
import lzma
import os
import re
import sys
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.io
from conftest import ROOT, uncompiled, user_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import datasets
import main
import models.settings.presets
from common import device
from common.errors import UserError
from experiments import inputs, n_clusters, options, run_figure
from experiments.options import METHOD
from experiments.run_files import read_result
from models import METHODS, preset
from models.core import classifier, novelty
from models.core.networks import AUTOENCODERS, conv_autoencoder, dense_autoencoder

DOCS = ROOT / "docs"


@pytest.fixture(scope="module", autouse=True)
def small_and_uncompiled():
    """Small networks, steps that are not compiled, and t-SNE of few points."""
    with pytest.MonkeyPatch.context() as patch:
        dense = lambda *args: dense_autoencoder(*args, widths=(9,))  # noqa: E731
        conv = lambda *args: conv_autoencoder(*args, filters=(3, 4, 5))  # noqa: E731
        patch.setitem(AUTOENCODERS, "fc", dense)
        patch.setitem(AUTOENCODERS, "conv", conv)
        patch.setattr(classifier, "FILTERS", (3, 4))
        patch.setattr(run_figure, "POINTS", 40)
        with uncompiled():
            yield


def blocks(page):
    """Return (Python code, words of the command) of a page's examples."""
    text = (DOCS / page).read_text()
    return re.findall(r"```python\n(.*?)```\n```\npython main.py (.*?)\n```", text, re.DOTALL)


EXAMPLES = [
    (page, *one) for page in ("own-data.md", "time-series.md", "text.md") for one in blocks(page)
]


def run(*words):
    """Carry out main.py's words in this process; return its exit status."""
    from experiments.options import parse

    here = {"device": device.cpu_name(), "threads": 1}  # TensorFlow may have begun with others
    try:
        with mock.patch.object(device, "set_up", lambda *args: here):
            return main.run(parse(list(map(str, words))))
    except UserError as error:
        assert "\n" not in str(error)
        return error.status


@pytest.mark.parametrize(("page", "code", "words"), EXAMPLES)
def test_examples_of_the_docs(page, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    quick = [] if "--method" in words else ["--pairs", 3]  # of GMM-stable, which is chosen then
    folders = ("--save-dir", "run", "--cache-dir", "cache")
    assert run(*words.split(), *quick, *folders, "--quiet") == 0
    rows = pd.read_csv("run/labels.csv")
    assert list(rows) == ["sample", "label", "certainty", "distance", "far"]
    assert len(rows) == len(np.load("run/labels.npy"))


def test_there_is_an_example_of_each_kind():
    assert len(EXAMPLES) >= 8


# -- tables ----


def load(tmp_path, text, k=2, name="a.csv", **options):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return datasets.load_file(tmp_path / name, k, **options)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("a;b\n1,5;2\n3,5;4\n", "commas are taken as decimal points"),
        ("a\tb\n1.5\t2\n3.5\t4\n", "separated by tabs"),
        ("a|b\n1.5|2\n3.5|4\n", "'|'"),
        ("id,a,b\nx7,1.5,2\nx9,3.5,4\n", "'id' taken as names of the rows"),
        (",a,b\n0,1.5,2\n1,3.5,4\n", "without a name, taken as names"),
        ("a,b,Species\n1.5,2,u\n3.5,4,v\n", "labels: column 'Species'"),
        ("a,b,\n1.5,2,\n3.5,4,\n", "empty and without a name"),
        ("a,b,c\n1.5,2,7\n3.5,4,7\n", "of one value only: 'c'"),
    ],
)
def test_what_is_done_is_said(tmp_path, text, note):
    data = load(tmp_path, text)
    assert data.x[:, 0].tolist() == [1.5, 3.5] and data.x[:, 1].tolist() == [2, 4]
    assert note in data.note


@pytest.mark.parametrize(
    ("text", "columns", "left_out"),
    [
        ("# by a program\n# of today\na,b\n1,2\n3,4\n", ["a", "b"], 2),
        ("# by a program, today\na,b\n1,2\n3,4\n", ["a", "b"], 1),
        ("# by a program\n# a b\n1 2\n3 4\n", ["a", "b"], 1),  # numpy.savetxt
        ("#a;b\n1;2\n3;4\n", ["a", "b"], 0),
        ("# by a program\n1,2\n3,4\n", ["1", "2"], 1),
    ],
)
def test_lines_at_the_top_that_start_with_a_hash(tmp_path, text, columns, left_out):
    data = load(tmp_path, text)
    assert data.x.tolist() == [[1, 2], [3, 4]] and data.prepared["columns"] == columns
    assert (f"start with # left out: {left_out}" in data.note) == bool(left_out)
    with user_error("in line 4, expected 2 as in line 2"):
        load(tmp_path, "# by a program\n1,2\n3,4\n5\n")


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("XZ", lzma.compress)]
)
def test_a_compressed_table(tmp_path, ending, pack):
    packed = pack(b"a,b,y\n1,2,u\n3,4,v\n")
    data = load(tmp_path, packed, name=f"table.csv.{ending}")
    assert (
        data.name == "table" and data.x.tolist() == [[1, 2], [3, 4]] and data.y.tolist() == [0, 1]
    )
    with user_error(f"table.csv.{ending}: cannot be read as a CSV table"):
        load(tmp_path, packed[:-9], name=f"table.csv.{ending}")
    with user_error("unknown ending"):
        load(tmp_path, packed, name=f"table.npz.{ending}")


FRAME = pd.DataFrame(
    {"id": ["u", "v", "w"], "a": [1, 2.5, 3], "b": [1, 7, 7], "kind": ["x", "y", "x"]}
)


@pytest.mark.parametrize(
    ("module", "package", "ending"),
    [
        ("openpyxl", "openpyxl", "xlsx"),
        ("odf", "odfpy", "ods"),
        ("pyarrow", "pyarrow", "parquet"),
        ("pyarrow", "pyarrow", "feather"),
    ],
)
def test_a_table_that_needs_a_package(tmp_path, module, package, ending, monkeypatch):
    path = tmp_path / f"table.{ending}"
    path.write_bytes(b"no such table")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        with user_error(f".{ending} files need the package {package}", f"pip install {package}"):
            datasets.load_file(path, 2)
    pytest.importorskip(module)
    with user_error("cannot be read as a"):
        datasets.load_file(path, 2)
    if ending in ("xlsx", "ods"):
        FRAME.to_excel(path, index=False)
    else:
        {"parquet": FRAME.to_parquet, "feather": FRAME.to_feather}[ending](path)
    data = datasets.load_file(path, 2, label_column="kind")
    assert data.x.tolist() == FRAME[["a", "b"]].values.tolist() and data.y.tolist() == [0, 1, 0]
    assert data.rows == ("u", "v", "w") and data.prepared["columns"] == ["a", "b"]


def test_labels_and_ignored_columns_by_name_and_number(tmp_path):
    text = "a,kind,b,extra\n1,u,2,9\n3,v,4,9\n"
    for label, ignored in (("kind", ["extra"]), ("2", ["4"])):
        data = load(tmp_path, text, label_column=label, ignore_columns=ignored)
        assert data.x.tolist() == [[1, 2], [3, 4]] and data.y.tolist() == [0, 1]
    data = load(tmp_path, "a,y\n1,5\n2,6\n", label_column="none")
    assert data.x.tolist() == [[1, 5], [2, 6]] and data.y is None
    with user_error("'kind' holds 'u'", "--label-column 'kind'", "--ignore-columns"):
        load(tmp_path, text)
    with user_error("unknown label column 'Knd'"):
        load(tmp_path, text, label_column="Knd")


def test_missing_values(tmp_path):
    text = "id,a,b\nu,1,2\nv,,4\nw,3,NA\nz,5,6\n"
    with user_error("1 of 4 in column 'a'", "1 of 4 in column 'b'", "row v", "--missing mean"):
        load(tmp_path, text)
    data = load(tmp_path, text, missing="mean")
    assert data.x.tolist() == [[1, 2], [3, 4], [3, 4], [5, 6]]
    assert "replaced by the mean" in data.note
    data = load(tmp_path, text, missing="drop")
    assert data.rows == ("u", "z") and "2 of 4 rows left out" in data.note


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("a,b\n1,2\n3,4\n8,6\n", {}),  # whole numbers
        ("a,b\n1.5,2\n2.5,4\n8,6\n", {}),
        ("a,b\n1,2\n3,4\n8,6\n100,\n", {"missing": "drop"}),
        ("a,b\n1,2\n3,\n8,6\n", {"missing": "mean"}),
    ],
)
def test_new_samples_get_the_means_of_the_fitted_columns(tmp_path, text, reading):
    like = load(tmp_path, text, **reading).prepared
    new = load(tmp_path, "b,a\n,50\n90,\n", like=like, missing="mean")
    assert new.x.tolist() == [[50, 4], [4, 90]]
    assert "replaced by the mean of the fitted column" in new.note
    if not reading:
        with user_error("1 of 2 in column 'a'", "--missing mean"):
            load(tmp_path, "b,a\n,50\n90,\n", like=like)
    old = like | {"means": {}}  # of a model that keeps none
    assert load(tmp_path, "b,a\n,50\n90,60\n", like=old, missing="mean").x[0].tolist() == [50, 90]


def test_new_arrays_get_the_means_of_the_fitted_ones(tmp_path):
    np.save(tmp_path / "fit.npy", np.array([[1, 2], [3, 4], [8, 6]]))
    like = datasets.load_file(tmp_path / "fit.npy", 2).prepared
    assert like["columns"] is None
    np.save(tmp_path / "new.npy", np.array([[50, np.nan], [np.nan, 90]]))
    new = datasets.load_file(tmp_path / "new.npy", like=like, missing="mean")
    assert new.x.tolist() == [[50, 4], [4, 90]]
    with user_error("new.npy"):
        datasets.load_file(tmp_path / "new.npy", like=like)


def test_a_table_becomes_images_only_if_asked(tmp_path):
    text = "\n".join(",".join(map(str, row)) for row in np.arange(24).reshape(2, 12) * 10)
    assert load(tmp_path, text).x.shape == (2, 12)
    data = load(tmp_path, text, image_shape=(2, 2, 3), channels_first=True)
    planes = (np.arange(12) * 10 / 255).reshape(3, 2, 2).transpose(1, 2, 0)
    np.testing.assert_allclose(data.x[0], planes, rtol=1e-6)
    with user_error("12 values a sample, expected 3*3*1 = 9"):
        load(tmp_path, text, image_shape=(3, 3, 1))


def test_latin_1_is_read_and_said(tmp_path):
    data = load(tmp_path, "größe,b\n1,2\n3,4\n".encode("latin-1"))
    assert data.x.shape == (2, 2) and "Latin-1" in data.note


# -- arrays and images ----


def test_matlab(tmp_path):
    x, y = np.random.default_rng(0).random((5, 3)), np.array([1, 2, 1, 2, 1])
    scipy.io.savemat(tmp_path / "a.mat", {"X": x.T, "Y": y[None], "notes": np.zeros((1, 1))})
    data = datasets.load_file(tmp_path / "a.mat")
    np.testing.assert_allclose(data.x, x, rtol=1e-6)
    assert data.y.tolist() == [0, 1, 0, 1, 0]
    assert "last axis of 'X'" in data.note and "left out: 'notes'" in data.note


def test_two_candidates_are_told_and_chosen(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.zeros((4, 2)), features=np.ones((4, 3)))
    with user_error("'data' (4, 2) float64", "'features' (4, 3)", "--array NAME"):
        datasets.load_file(tmp_path / "a.npz", 2)
    assert datasets.load_file(tmp_path / "a.npz", 2, array="features").x.shape == (4, 3)


def test_deep_folders_and_what_is_no_image(tmp_path):
    for i, name in enumerate(("train/cat/a/1", "train/dog/2", "test/dog/3")):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), i).save(path)
    (tmp_path / "set" / "readme.txt").touch()
    data = datasets.load_file(tmp_path / "set")
    assert data.y.tolist() == [1, 0, 1] and data.rows[0] == "test/dog/3.png"
    assert "1 files that are no images left out: 'readme.txt'" in data.note


# -- new samples ----


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run of k-means on a table, in its folder."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(30, 3)), rng.normal(size=(30, 3)) + 8])
    pd.DataFrame(x, columns=["a", "b", "c"]).to_csv(folder / "fit.csv", index=False)
    assert (
        run(
            "--data",
            folder / "fit.csv",
            "--n-clusters",
            2,
            "--method",
            "k-means",
            "--save-dir",
            folder / "run",
            "--quiet",
        )
        == 0
    )
    return folder


def test_new_samples_by_columns(fitted, tmp_path):
    new = "c,id,a,b,more\n8,u,8,8,1\n0,v,0,0,2\n500,w,0,0,3\n"
    (tmp_path / "new.csv").write_text(new)
    words = ("--predict", tmp_path / "new.csv", "--weights", fitted / "run")
    assert run(*words, "--out", tmp_path / "out.csv") == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["sample"].tolist() == ["u", "v", "w"]
    assert table["label"][0] != table["label"][1]
    assert table["far"].tolist() == ["no", "no", "yes"]
    assert run(*words, "--out", tmp_path / "out.csv") == 2  # it is there
    assert run(*words, "--out", tmp_path / "nowhere" / "out.csv") == 2
    (tmp_path / "new.csv").write_text("a,b\n1,2\n")
    assert (
        run(*words, "--out", tmp_path / "other.csv") == 2 and not (tmp_path / "other.csv").exists()
    )


def test_samples_between_two_clusters_that_take_turns_are_far():
    """Every second row of 1,999 would know one cluster, and hold the other for normal distance."""
    x = np.random.default_rng(0).normal(size=(1999, 2)) + 40 * (np.arange(1999) % 2)[:, None]
    far = novelty.is_far(np.array([[0, 0], [40, 40], [20, 20]]), novelty.references(x))[1]
    assert far.tolist() == [False, False, True]


def deep_folder(path, pixels):
    """A folder of images of 16 bits."""
    path.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(np.asarray(image, np.uint16)).save(path / f"{i}.png")
    return path


def test_images_of_a_camera_of_12_bits_fill_the_range(tmp_path):
    pixels = np.random.default_rng(0).integers(100, 4096, (5, 4, 4))
    pixels[0, 0, :2] = 100, 4095
    data = datasets.load_file(deep_folder(tmp_path / "fit", pixels), 2)
    np.testing.assert_allclose(data.x[..., 0], (pixels - 100) / 3995, atol=1e-6)
    assert "images rescaled from [100, 4095] to [0, 1]" in data.note
    new = datasets.load_file(deep_folder(tmp_path / "new", pixels[1:2] // 2), like=data.prepared)
    np.testing.assert_allclose(new.x[..., 0], (pixels[1:2] // 2 - 100) / 3995, atol=1e-6)

    full = pixels * 16  # the same camera's, stretched to 16 bits
    data = datasets.load_file(deep_folder(tmp_path / "full", full), 2)
    np.testing.assert_allclose(data.x[..., 0], full / 65535, atol=1e-6)
    new = datasets.load_file(deep_folder(tmp_path / "dark", pixels[1:2]), like=data.prepared)
    np.testing.assert_allclose(new.x[..., 0], pixels[1:2] / 65535, atol=1e-6)


def test_links_that_lead_round_in_a_circle(tmp_path):
    folder = tmp_path / "all"
    for kind in ("cat", "dog"):
        inner = folder / kind
        inner.mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((4, 4), 40 * i, np.uint8)).save(inner / f"{i}.png")
    (folder / "cat" / "again").symlink_to(folder / "cat")
    (folder / "dog" / "up").symlink_to(folder)
    data = datasets.load_file(folder, 2)
    assert data.n == 6 and np.bincount(data.y).tolist() == [3, 3]


def test_images_are_scaled_as_the_fitted_ones(tmp_path):
    x = np.random.default_rng(0).random((20, 4, 4)) * 100 + 50
    np.save(tmp_path / "fit.npy", x)
    like = datasets.load_file(tmp_path / "fit.npy", 2).prepared
    np.save(tmp_path / "dark.npy", x[:1] * 0.5)
    low, high = x.min(), x.max()
    found = datasets.load_file(tmp_path / "dark.npy", like=like).x
    np.testing.assert_allclose(found[0, :, :, 0], (x[0] * 0.5 - low) / (high - low), rtol=1e-5)
    np.save(tmp_path / "wrong.npy", x * 255)
    with user_error("spans", "as the model was fitted on"):
        datasets.load_file(tmp_path / "wrong.npy", like=like)


# -- K unknown ----


@pytest.mark.parametrize(("d", "k"), [(2, 5), (10, 3), (10, 8)])
def test_the_number_of_blobs_is_found(d, k, monkeypatch):
    from sklearn.datasets import make_blobs

    monkeypatch.setattr(n_clusters, "HALVES", 2)
    choose = n_clusters.choose
    x, _ = make_blobs(300, d, centers=k, random_state=k + d)
    choice = choose(x, 2, 10, 0, vectors=True)
    assert abs(choice.k - k) <= 1 and f"K = {choice.k}" in choice.line
    assert choice.table["n_clusters"].tolist() == list(range(2, 11))
    assert choose(x, 2, 4, 0, vectors=True).table.equals(choice.table[:3])


def test_clusters_that_take_turns_are_all_sampled(monkeypatch):
    """Every fourth row of four clusters that take turns would be one cluster."""
    monkeypatch.setattr(n_clusters, "HALVES", 2)
    monkeypatch.setattr(n_clusters, "SAMPLE", 201)
    corners = np.array([[0, 0], [9, 0], [0, 9], [9, 9]], float)
    x = np.tile(corners, (200, 1)) + np.random.default_rng(0).normal(size=(800, 2))
    assert n_clusters.choose(x, 2, 8, 0, vectors=True).k == 4


@pytest.mark.parametrize("seed", [0, 1])
def test_k_of_ratings_and_of_repeated_rows(seed):
    """A Gaussian on one value alone has any density: without care the largest K wins."""
    rng = np.random.default_rng(seed)
    means = np.array([[1, 1, 3, 3, 5, 5], [5, 5, 1, 1, 3, 3], [3, 3, 5, 5, 1, 1]]).repeat(
        80, axis=0
    )
    ratings = np.clip(np.round(means + rng.normal(0, 0.8, means.shape)), 1, 5)
    assert n_clusters.choose(ratings, 2, 6, 0, vectors=True).k == 3
    groups = 9 * np.eye(3).repeat(25, axis=0) + rng.normal(size=(75, 3))
    assert n_clusters.choose(groups.repeat(5, axis=0), 2, 6, 0, vectors=True).k == 3


def test_the_range_auto_ends_at_half_of_the_samples(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = 9 * np.eye(3).repeat(5, axis=0) + rng.normal(size=(15, 3))
    np.savetxt(tmp_path / "few.csv", x, delimiter=",")
    args = options.parse(["--data", str(tmp_path / "few.csv"), "--n-clusters", "auto"])
    args.method = "k-means"
    data = inputs.load_data(args)
    choice = n_clusters.settle(args, data, preset("k-means"))
    assert list(choice.table.n_clusters) == list(range(2, 8))


def test_a_range_of_clusters_is_a_run(fitted, tmp_path, capsys):
    words = ("--data", fitted / "fit.csv", "--n-clusters", "2-4", "--save-dir", tmp_path / "run")
    assert run(*words, "--quiet") == 0
    assert "K = 2 has the best bic" in capsys.readouterr().out
    assert (tmp_path / "run" / "n_clusters.png").stat().st_size > 1000
    assert len(pd.read_csv(tmp_path / "run" / "n_clusters.csv")) == 3
    assert run(*words[:3], "2", *words[4:], "--overwrite", "--quiet") == 0  # K is given now
    assert not list((tmp_path / "run").glob("n_clusters.*"))
    for wrong in ("2-90", "4-2", "0-3"):
        assert run(*words[:3], wrong) == 2
    assert run(*words, "--method", "UMAP+HDBSCAN") == 2


def test_a_method_that_finds_K_says_so_of_a_K_that_is_given(fitted, tmp_path, capsys):
    words = ("--data", fitted / "fit.csv", "--method", "RCC", "--save-dir", tmp_path / "run")
    told = "--n-clusters 3 has no effect: RCC finds the number of clusters"
    assert run(*words) == 0
    out, err = capsys.readouterr()
    found = np.load(tmp_path / "run" / "labels.npy")
    assert told not in err and "K=found" in err
    assert f"  {found.max() + 1} clusters of " in out
    assert read_result(tmp_path / "run")["clusters"] == found.max() + 1
    assert "clusters" not in read_result(fitted / "run")
    assert run(*words[:-1], tmp_path / "again", "--n-clusters", "3") == 0
    assert told in capsys.readouterr().err
    assert np.array_equal(np.load(tmp_path / "again" / "labels.npy"), found)


def test_images_of_an_unknown_number_of_clusters(tmp_path, monkeypatch, capsys):
    """The method of a run without --method has no auto-encoder: another's codes judge K."""
    x = np.repeat(np.random.default_rng(0).random((3, 8, 8, 1)), 12, axis=0).astype(np.float32)
    np.save(tmp_path / "a.npy", x)
    short = {"pretrain_epochs": 1, "maxiter": 2}  # of the auto-encoder

    def preset(*args):
        config = models.settings.presets.preset(*args)
        own = {field.name for field in dataclasses.fields(config)} & short.keys()
        return dataclasses.replace(config, **{name: short[name] for name in own})

    monkeypatch.setattr(models, "preset", preset)
    words = (
        "--data",
        tmp_path / "a.npy",
        "--n-clusters",
        "2-5",
        "--maxiter",
        2,
        "--fit-steps",
        2,
        "--quiet",
        "--save-dir",
        tmp_path / "run",
        "--cache-dir",
        tmp_path / "cache",
    )
    assert run(*words) == 0
    assert "K is judged on the codes of AE+k-means-DA" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "run" / "n_clusters.csv")) == 4
    assert len(np.load(tmp_path / "run" / "labels.npy")) == 36


# -- made-up tables ----

CELLS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda v: f"{v:.6g}"),
    st.integers(-300, 300).map(str),
    st.sampled_from(["", "NA", "x", "inf", "1e400", "0", " 7 ", "true", "1,5", '"q"', "é"]),
)
NAMES = st.sampled_from(["a", "b", "a", "id", "y", "Label", "target", "", "0", "1", "name", "v w"])


@st.composite
def written_tables(draw):
    """Return (text, cells with their names, whether there is a header)."""
    width, n = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    numbers = draw(st.booleans())
    cells = st.integers(0, 9).map(str) if numbers else CELLS
    rows = [draw(st.lists(cells, min_size=width, max_size=width)) for _ in range(n)]
    if draw(st.booleans()):
        rows.insert(0, draw(st.lists(NAMES, min_size=width, max_size=width)))
    separator = draw(st.sampled_from([",", ";", "\t"]))
    return separator, rows


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(table=written_tables(), missing=st.sampled_from(["error", "mean", "drop"]))
def test_any_table_is_read_or_refused_in_one_line(table, missing, tmp_path):
    separator, rows = table
    path = tmp_path / "a.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            data = datasets.load_file(path, 2, missing=missing)
        except UserError as error:
            assert "\n" not in str(error)
            return
    written = len(rows)
    assert len(data.rows) == data.n and np.isfinite(data.x).all()
    dropped = re.search(r"(\d+) of (\d+) rows left out", data.note)
    read = int(dropped[2]) if dropped else data.n
    assert read in (written, written - 1)  # a header
    used = data.x.shape[1] + (data.y is not None)
    named = len(re.findall("taken as names of the rows|empty and without a name", data.note))
    assert used + named == max(map(len, rows))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shape=st.lists(st.integers(0, 4), min_size=0, max_size=5),
    kind=st.sampled_from(["f4", "f8", "u1", "i8", "?", "c8", "U2", "f2"]),
    value=st.sampled_from([0, 1, 255, -3]),
    name=st.sampled_from(["x", "X", "data", "other", "y"]),
)
def test_any_array_is_read_or_refused_in_one_line(shape, kind, value, name, tmp_path):
    x = np.full(shape, value).astype(kind)
    np.savez(tmp_path / "a.npz", **{name: x})
    try:
        data = datasets.load_file(tmp_path / "a.npz", 2)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert data.n == len(x) and data.x.size == x.size and np.isfinite(data.x).all()


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kinds=st.lists(
        st.sampled_from(["L", "RGB", "RGBA", "P", "LA", "I;16", "1", "txt"]), min_size=1, max_size=5
    ),
    size=st.sampled_from([None, (3, 5)]),
    deep=st.booleans(),
)
def test_any_folder_is_read_or_refused_in_one_line(kinds, size, deep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, kind in enumerate(kinds):
        place = folder / f"c{i % 2}" if deep else folder
        place.mkdir(exist_ok=True)
        if kind == "txt":
            (place / f"{i}.txt").write_text("x")
        elif kind == "I;16":
            Image.fromarray(np.full((4, 4), 99 * i, np.uint16)).save(place / f"{i}.png")
        else:
            Image.new(kind, (4, 4 + (i == 3))).save(place / f"{i}.png")
    try:
        data = datasets.load_file(folder, 2, image_size=size)
    except UserError as error:
        assert "\n" not in str(error)
        return
    images = sum(kind != "txt" for kind in kinds)
    assert data.n == images == len(data.rows)
    assert (images == len(kinds)) or f"{len(kinds) - images} files that are no images" in data.note
    assert data.x.min() >= 0 and data.x.max() <= 1


SHORT = {
    "k-means": [],
    "GMM-stable": ["--maxiter", 5, "--pairs", 2],
    "AC": [],
    "SC-LS": [],
    "FcDEC": ["--pretrain-epochs", 1, "--maxiter", 3, "--n-init", 1],
}


def fitted_or_refused(path, folder, method, k, *words):
    """Cluster a file by the command; the same file then gets the same labels by --predict."""
    reading = words if words[:1] == ("--missing",) else ()
    status = run(
        "--data",
        path,
        "--method",
        method,
        "--n-clusters",
        k,
        *SHORT[method],
        *words,
        "--quiet",
        "--save-dir",
        folder,
        "--cache-dir",
        folder,
    )
    assert status in (0, 2)
    if status == 2:
        assert not (folder / "labels.csv").exists()
        return None
    labels = np.load(folder / "labels.npy")
    rows = pd.read_csv(folder / "labels.csv")
    assert len(rows) == len(labels) and labels.min() >= 0 and labels.max() < k
    assert (rows["label"] == labels).all() and rows["certainty"].between(0, 1.0001).all()
    if method != "AC":
        assert (
            run(
                "--predict",
                path,
                "--weights",
                folder,
                "--out",
                folder / "new.csv",
                *reading,
                "--quiet",
            )
            == 0
        )
        assert (pd.read_csv(folder / "new.csv")["label"] == labels).all()
    return labels


@settings(
    max_examples=int(os.environ.get("FUZZ", 40)),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    table=written_tables(),
    missing=st.sampled_from(["error", "mean", "drop"]),
    method=st.sampled_from(list(SHORT)),
    k=st.integers(1, 4),
)
def test_any_table_is_clustered_or_refused(table, missing, method, k, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    separator, rows = table
    with open(folder / "a.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    labels = fitted_or_refused(folder / "a.csv", folder / "run", method, k, "--missing", missing)
    if labels is not None and missing != "drop":
        assert len(labels) in (len(rows), len(rows) - 1)  # a header


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 255.0, 1e-30, 1e30, -1e6])


@settings(
    max_examples=int(os.environ.get("FUZZ", 25)),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 6),
    values=st.lists(NUMBERS, min_size=1, max_size=5),
    kind=st.sampled_from(["f4", "f8", "u1", "i8", "?"]),
    method=st.sampled_from(list(SHORT)),
    k=st.integers(1, 4),
)
def test_any_array_is_clustered_or_refused(n, d, values, kind, method, k, tmp_path_factory):
    """Constant columns, duplicates, few and huge and tiny numbers."""
    folder = tmp_path_factory.mktemp("array")
    with np.errstate(invalid="ignore"):
        np.save(folder / "a.npy", np.resize(values, (n, d)).astype(kind))
    labels = fitted_or_refused(folder / "a.npy", folder / "run", method, k)
    assert labels is None or len(labels) == n


def test_vectors_get_a_method_for_vectors(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((30, 16)))
    words = ("--data", tmp_path / "a.npy", "--n-clusters", 2, "--dry-run")
    assert run(*words) == 0
    assert '"method": "GMM-stable"' in capsys.readouterr().out
    assert run(*words, "--method", "ConvDEC-DA") == 2
    assert run(*words, "--method", "ConvDEC-DA", "--image-shape", 4, 4, 1) in (0, 2)
    assert run(*words, "--image-shape", 4, 4, 1) == 0
    assert f'"method": "{METHOD}"' in capsys.readouterr().out
    assert all(METHODS[name] for name in ("GMM-stable", METHOD))
    assert os.path.exists(tmp_path / "a.npy")


def test_the_table_of_bad_input_is_true():
    """Each of the kinds ends with one line and status 2, and the page says which."""
    import runpy

    module = runpy.run_path(str(ROOT / "benchmarks" / "bad_input.py"))
    assert len(module["CASES"]) >= 60
    assert (DOCS / "bad-input.md").read_text(encoding="utf-8") == module["table"]()
