"""The baselines: the contract they keep, each against an oracle, and their way through main.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.cluster.hierarchy import linkage
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, SpectralClustering
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

import main
from common.errors import UserError
from common.memory import require_memory
from experiments import run_figure as report
from metrics import acc, ari
from models import METHODS, build, load, preset
from models.baselines.base import Baseline, FittedOnly
from models.baselines.gdl import merge_by_degree
from models.baselines.ward import ward_merges
from models.core import arrays
from models.core.arrays import cluster_means, squared_distances, student_kernel
from models.core.graphs import connected_parts, nearest_neighbors
from models.core.monitor import Monitor
from reporting import figures

ROOT = Path(main.__file__).resolve().parent
K, N = 4, 150
CLASSICAL = [name for name, row in METHODS.items() if row.module.startswith("models.baselines.")]
HERE = [name for name in CLASSICAL if name != "UMAP+HDBSCAN"]  # umap-learn need not be installed
NEW = ["k-means", "NMF", "SC-LS", "GMM", "GMM-stable"]  # with a rule for new samples
SMALL = {
    "SC-LS": {"landmarks": 30},
    "GMM": {"reg_covar": 1e-3},
    "GMM-stable": {"pairs": 2, "n_init": 4, "mixture_n_init": 1},
}


def make(method, k=K, **others):
    return build(method, k, **({"random_state": 0} | SMALL.get(method, {}) | others))


@pytest.fixture(scope="module")
def x(digits):
    return digits[:N]


@pytest.fixture(scope="module")
def fitted(x):
    kept = {}

    def get(method):
        if method not in kept:
            kept[method] = make(method).fit(x)
        return kept[method]

    return get


class Recorder(Monitor):
    def __init__(self):
        self.rows = []

    def row(self, phase, step, values, labels=None):
        self.rows.append((phase, step, values, labels))


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", HERE)
def test_results_of_fit(fitted, x, method):
    model = fitted(method)
    assert model.labels_.shape == (N,) and model.labels_.dtype == np.int64
    k = K if method != "RCC" else model.labels_.max() + 1  # it finds K
    assert set(model.labels_) == set(range(k))
    assert np.array_equal(model.predict(x), model.labels_)
    assert model.n_features_in_ == 64 and model.converged_ is True and model.n_iter_ >= 1
    assert list(model.seconds_) == ["cluster"] and model.seconds_["cluster"] > 0
    z = model.transform(x)
    assert z.ndim == 2 and len(z) == N and z.dtype == np.float32 and np.isfinite(z).all()
    q = model.memberships(x)
    assert q.shape == (N, k) and q.min() >= 0
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
    assert not any(name in sys.modules.get(type(model).__module__).__dict__ for name in ("tf",))


@pytest.mark.parametrize("method", HERE)
def test_same_seed_same_bits_whatever_the_form(fitted, x, method):
    """Labels given as y are not looked at, and the data is left as it was."""
    copy = x.reshape(N, 64).astype(np.float64)
    monitor = Recorder()
    model = make(method, monitor=monitor)
    labels = model.fit_predict(copy, y=np.arange(N))
    assert labels is model.labels_ and np.array_equal(labels, fitted(method).labels_)
    assert np.array_equal(model.transform(copy), fitted(method).transform(x))
    assert np.array_equal(copy, x.reshape(N, 64))
    ((phase, step, values, told),) = monitor.rows
    assert (phase, step) == ("final", model.n_iter_) and set(values) == {"seconds"}
    assert np.array_equal(told, labels)


@pytest.mark.parametrize("method", ["k-means", "NMF", "SC-LS"])
def test_the_seed_decides(x, method):
    changes = {"k-means": {"n_init": 1}, "NMF": {"maxiter": 5}}.get(method, {})
    one, two = (make(method, random_state=s, **changes).fit(x) for s in (0, 1))
    assert not np.array_equal(one.transform(x), two.transform(x))


@pytest.mark.parametrize("method", CLASSICAL)
def test_parameters_and_clone(x, method, tmp_path):
    model = make(method)
    own = {"n_clusters", "method", "random_state", "monitor"}
    assert set(model.get_params()) == own | set(model.config.options())
    copy = clone(model)
    assert copy.get_params() == model.get_params() and method in repr(copy)
    for use in (copy.predict, copy.transform, copy.memberships):
        with pytest.raises(NotFittedError, match="call fit first"):
            use(x)
    with pytest.raises(NotFittedError):
        copy.save(tmp_path / "model.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", HERE)
def test_loaded_model_is_the_one_saved(fitted, x, tmp_path, method):
    path, model = tmp_path / "model.h5", fitted(method)
    model.save(path)
    again = load(path)
    assert type(again) is type(model) and again.config == model.config
    assert (again.n_clusters, again.random_state, again.method) == (K, 0, method)
    assert np.array_equal(again.predict(x), model.labels_)
    assert np.array_equal(again.transform(x), model.transform(x))
    assert np.array_equal(again.memberships(x), model.memberships(x))
    again.save(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", NEW)
def test_new_samples(fitted, x, digits, method):
    model = fitted(method)
    assert np.array_equal(model.predict(x[:20]), model.labels_[:20])
    labels = model.predict(digits[N:])
    assert labels.shape == (50,) and labels.min() >= 0 and labels.max() < K
    near = np.argmin([[((a - b) ** 2).sum() for b in x] for a in digits[N:]], axis=1)
    assert np.mean(labels == model.labels_[near]) > 0.6  # mostly their neighbours' clusters


@pytest.mark.parametrize("method", sorted(set(HERE) - set(NEW)))
def test_no_rule_for_new_samples(fitted, x, method):
    with pytest.raises(UserError, match=f"fitted to: expected the same {N}; it has no rule") as e:
        fitted(method).predict(x[:20])
    assert "20 samples" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize(
    ("data", "changes", "told"),
    [
        (np.zeros(20), {}, r"shape \(20,\)"),
        (np.full((20, 4), np.nan), {}, "80 values"),
        (np.ones((20, 4)), {"k": 21}, "n_clusters=21: expected 1 to n_samples=20"),
        (np.ones((20, 4)), {"k": 0}, "n_clusters=0"),
        (np.ones((20, 4)), {"random_state": -1}, "random_state=-1"),
    ],
    ids=["one dimension", "nan", "many clusters", "no cluster", "seed"],
)
def test_mistakes(method, data, changes, told):
    with pytest.raises(UserError, match=told):
        make(method, **changes).fit(data)


@pytest.mark.parametrize("method", HERE)
def test_another_shape(fitted, method):
    with pytest.raises(UserError, match=r"shape \(5, 63\): expected \(n, 8, 8, 1\)"):
        fitted(method).predict(np.zeros((5, 63)))


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("kind", ["constant", "two points", "few"])
def test_poor_data_is_clustered_or_refused_in_a_line(method, kind):
    data = {
        "constant": np.ones((30, 6)),
        "two points": np.repeat([[0.0] * 6, [1.0] * 6], 15, axis=0),
        "few": np.random.default_rng(0).random((3, 6)),
    }[kind]
    try:
        labels = make(method, k=2).fit_predict(data)
    except UserError as error:
        assert "expected" in str(error) and "\n" not in str(error)
    else:
        assert labels.shape == (len(data),) and 0 <= labels.min() <= labels.max() < 2


@pytest.mark.parametrize("method", CLASSICAL)
def test_too_little_memory_is_told_before_anything_is_done(x, monkeypatch, method):
    monkeypatch.setattr(type(make(method)), "needed", lambda self, n, d: 10**18)
    with pytest.raises(UserError, match=r"needs about 1000000000.0 GB .*expected at most the"):
        make(method, monitor=None).fit(x)
    require_memory(1, "a byte")


# -- what they find -------------------------------------------------------------------------------


def rings():
    """Two rings, which no straight line parts, and their numbers."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 150)
    angle = rng.uniform(0, 2 * np.pi, 300)
    data = (1 + 3 * y)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return data + 0.1 * rng.normal(size=data.shape), y


@pytest.mark.parametrize("method", ["SC-Ncut", "AC-GDL"])
def test_graphs_find_rings(method):
    data, y = rings()
    assert acc(y, make(method, 2).fit_predict(data)) == 1.0
    assert acc(y, make("k-means", 2).fit_predict(data)) < 0.8


def blobs(scales):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 240)
    centers = np.array([[0, 0], [0, 9], [9, 0]]) + 10
    return centers[y] + rng.normal(size=(240, 2)) * scales, y


@pytest.mark.parametrize("method", [m for m in HERE if m != "RCC"])  # tests/models/core/test_rcc.py
def test_all_find_what_is_plain(method):
    """SC-LS with enough neighbours to join the blobs: of a graph in three parts it drops any one
    of three vectors of the same value, by the machine's rounding.
    """
    changes = {"n_neighbors": 12} if method == "SC-LS" else {}
    if method == "NMF":  # parts, not places
        y = np.repeat([0, 1, 2], 80)
        data = np.eye(3)[y].repeat(2, axis=1) + 0.1 * np.random.default_rng(0).random((240, 6))
    else:
        data, y = blobs(0.8)
    assert acc(y, make(method, 3, **changes).fit_predict(data)) > 0.98


def test_full_covariances_find_slanted_clusters():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 200)
    data = rng.normal(size=(400, 2)) * [1, 0.2] + [0, 1.5] * y[:, None]
    data = data @ np.array([[1, 1], [-1, 1]])
    assert acc(y, make("GMM", 2).fit_predict(data)) > 0.98
    assert acc(y, make("GMM", 2, covariance="diag").fit_predict(data)) < 0.9


def test_GMM_without_variance_is_refused():
    with pytest.raises(UserError, match="reg_covar=0.0"):
        make("GMM", 2, reg_covar=0.0).fit(np.ones((30, 6)))


def test_NMF_refuses_negative_numbers(fitted):
    with pytest.raises(UserError, match="from -1: expected none below 0"):
        make("NMF").fit(-np.ones((20, 4)))
    with pytest.raises(UserError, match="from -1: expected none below 0"):
        fitted("NMF").predict(-np.ones((20, 64)))


# -- against oracles ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_ward_equals_scipys(seed):
    data = np.random.default_rng(seed).normal(size=(90, 5)).astype(np.float32)
    a, b, heights = ward_merges(data)
    np.testing.assert_allclose(
        np.sort(np.sqrt(2 * heights)), linkage(data, "ward")[:, 2], rtol=1e-4
    )
    assert len(a) == len(b) == 89 and (a != b).all()


def test_ward_in_small_blocks_equals_scikit_learns(x, fitted, monkeypatch):
    theirs = AgglomerativeClustering(K).fit_predict(x.reshape(N, -1))
    assert ari(theirs, fitted("AC").labels_) == 1.0
    monkeypatch.setattr(arrays, "BLOCK", 7 * N)
    assert np.array_equal(make("AC").fit(x).labels_, fitted("AC").labels_)


def test_ward_of_equal_points():
    data = np.repeat([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]], [7, 5, 6], axis=0)
    assert acc(np.repeat([0, 1, 2], [7, 5, 6]), make("AC", 3).fit_predict(data)) == 1.0


def test_normalised_cuts_equal_scikit_learns(x, fitted):
    theirs = SpectralClustering(
        K, affinity="nearest_neighbors", assign_labels="kmeans", n_init=20, random_state=0
    ).fit_predict(x.reshape(N, -1))
    assert ari(theirs, fitted("SC-Ncut").labels_) == 1.0


def test_landmark_embedding_by_the_book(x, fitted):
    """Left singular vectors of the scaled weights, second to K+1, rows of length 1."""
    model = fitted("SC-LS")
    marks = model._learnt["landmarks"]
    d = ((x.reshape(N, 1, -1) - marks) ** 2).sum(axis=-1)
    weights = np.exp(-d / (2 * d.mean() ** 2))
    weights[d > np.sort(d, axis=1)[:, 4:5]] = 0  # all but the five nearest
    weights /= weights.sum(axis=1, keepdims=True)
    u = np.linalg.svd(weights / np.sqrt(weights.sum(axis=0)))[0][:, 1 : K + 1]
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    ours = model.transform(x)
    np.testing.assert_allclose(ours @ ours.T, u @ u.T, atol=1e-3)


def merged_slowly(w, labels, k):
    """Graph degree linkage by its definition: every pair's affinity anew at each merge."""
    clusters = [np.flatnonzero(labels == j) for j in range(labels.max() + 1)]

    def affinity(a, b):
        there, back = w[np.ix_(a, b)], w[np.ix_(b, a)]
        one = there.sum(axis=0) @ back.sum(axis=1) / len(a) ** 2
        return one + back.sum(axis=0) @ there.sum(axis=1) / len(b) ** 2

    while len(clusters) > k:
        pairs = [(i, j) for j in range(len(clusters)) for i in range(j)]
        i, j = max(pairs, key=lambda p: affinity(clusters[p[0]], clusters[p[1]]))
        clusters[i] = np.concatenate([clusters[i], clusters.pop(j)])
    found = np.empty(len(labels), int)
    for j, cluster in enumerate(clusters):
        found[cluster] = j
    return found


@pytest.mark.parametrize("k", [2, 3, 5])
def test_graph_degree_linkage_equals_its_definition(k):
    rng = np.random.default_rng(k)
    data = rng.normal(size=(60, 3))
    distances, nearest = nearest_neighbors(data, 8)
    w = np.zeros((60, 60))
    np.put_along_axis(w, nearest, np.exp(-(distances**2) / (distances**2).mean()), axis=1)
    start = connected_parts(np.arange(60), nearest[:, 0], 60)
    assert start.max() + 1 > 5
    ours = merge_by_degree(sparse.csr_array(w), start, k)
    assert ari(merged_slowly(w, start, k), ours) == 1.0


def test_graph_degree_linkage_of_too_few_clusters():
    data = np.array([[0.0], [1.0], [50.0], [51.0]])
    with pytest.raises(UserError, match="begins with 2 clusters.*n_clusters=3"):
        make("AC-GDL", 3).fit(data)


def test_arrays_by_hand():
    a = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert squared_distances(a, a[:2]).tolist() == [[0, 25], [25, 0], [1, 18]]
    assert cluster_means(a, np.array([2, 0, 2]), 4).tolist() == [[3, 4], [0, 0], [0, 0.5], [0, 0]]
    assert student_kernel(np.array([[0.0, 1.0], [3.0, 0.0]])).tolist() == [
        [2 / 3, 1 / 3],
        [0.2, 0.8],
    ]
    assert connected_parts(np.array([0]), np.array([2]), 3).tolist() == [0, 1, 0]
    distances, nearest = nearest_neighbors(a, 1)
    assert nearest.ravel().tolist() == [2, 2, 0]
    np.testing.assert_allclose(distances.ravel(), [1, np.sqrt(18), 1])


def test_means_add_up_in_order_of_the_samples_in_float64():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(3000, 5)).astype(np.float32), rng.integers(0, 7, 3000)
    sums = np.zeros((7, 5))
    np.add.at(sums, labels, x)
    found = cluster_means(x, labels, 7)
    assert np.array_equal(found, sums / np.bincount(labels)[:, None]) and found.dtype == np.float64


# -- UMAP -----------------------------------------------------------------------------------------


def test_missing_umap_is_told(x, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match="pip install umap-learn"):
        make("UMAP+HDBSCAN").fit(x)


class FakeUMAP:
    """In place of umap.UMAP: the input's first columns."""

    def __init__(self, n_components, **others):
        self.n_components, self.others = n_components, others

    def fit_transform(self, x):
        return x[:, : self.n_components]


def test_noise_joins_the_nearest_cluster_and_K_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    sys.modules["umap"].UMAP = FakeUMAP
    data, y = blobs(0.3)
    data = np.vstack([data, [[10, 13.5], [14.2, 10]]])  # far from all, nearest to 0 and 2
    model = make("UMAP+HDBSCAN", 7, min_share=0.1).fit(data)
    assert acc(y, model.labels_[:-2]) == 1.0 and model.labels_.max() == 2
    assert model.labels_[-2] == model.labels_[:-2][y == 0][0]
    assert model.labels_[-1] == model.labels_[:-2][y == 0][0]
    assert model.memberships(data).shape == (242, 3)
    model.save(tmp_path / "model.h5")
    assert np.array_equal(load(tmp_path / "model.h5").predict(data), model.labels_)
    lonely = make("UMAP+HDBSCAN", 7, min_share=0.9, min_samples=2).fit(rings()[0])
    assert not lonely.labels_.any()  # all noise: one cluster


def test_umap_itself(x):
    pytest.importorskip("umap")
    one, two = (make("UMAP+HDBSCAN", min_share=0.05).fit(x) for _ in range(2))
    assert np.array_equal(one.labels_, two.labels_) and one.labels_.min() == 0
    assert np.array_equal(one.transform(x), two.transform(x)) and one.transform(x).shape == (N, 2)
    name, project = figures._umap()  # the report's map
    assert name == "UMAP"
    some, places = report.plane(x.reshape(N, 64), project)
    assert np.array_equal(some, np.arange(N)) and places.shape == (N, 2)
    assert np.isfinite(places).all() and len(np.unique(places, axis=0)) == N


# -- main.py --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory, digits):
    from sklearn.datasets import load_digits

    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x=digits[:N], y=load_digits().target[:N])
    return path


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    def run(*words):
        words = [*words, "--cache-dir", tmp_path / "cache"]
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, words)])
        monkeypatch.setattr(report, "POINTS", 40)
        monkeypatch.chdir(tmp_path)
        with threadpool_limits(1):  # threads of small work wait for each other
            status = main.main()
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("method", ["k-means", "SC-Ncut"])
def test_a_run(command, file, tmp_path, method):
    words = ("--method", method, "--data", file, "--save-dir", tmp_path / "run", "--quiet")
    status, out, err = command(*words)
    assert (status, err) == (0, "") and "scores: acc" in out
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "config.json",
        "log.csv",
        "labels.npy",
        "labels.csv",
        "embedding.npy",
        "clusters.png",
        "model_final.h5",
        "result.json",
        "lock",
    }
    row = json.loads((tmp_path / "run" / "result.json").read_text())
    labels = np.load(tmp_path / "run" / "labels.npy")
    assert row["acc"] == pytest.approx(acc(np.load(file)["y"], labels))
    assert (row["method"], row["threads"], row["overrides"]) == (method, 1, "")
    assert row["device"] and row["tensorflow"] and row["scikit_learn"] and row["numpy"]
    assert not {"kmeans_acc", "refresh_acc", "aug_pretrain", "seconds_pretrain"} & set(row)
    assert row["seconds_total"] == row["seconds_cluster"]
    first, *rest = command(*words)[1].splitlines(keepends=True)  # done: not done again
    assert first.startswith("already done on ") and "".join(rest) == out
    status, out, _ = command(
        "-t", "--method", method, "--data", file, "--weights", tmp_path / "run" / "model_final.h5"
    )
    assert status == 0 and f"acc {row['acc']:.4f}" in out


def test_settings_are_overridden_by_name(command, file):
    words = ("--method", "SC-LS", "--landmarks", 40, "--n-neighbors", 3, "--dry-run")
    _, out, _ = command("--data", file, *words)
    config = json.loads(out[: out.rindex("}") + 1])["config"]
    assert config == preset("SC-LS").to_dict() | {"landmarks": 40, "n_neighbors": 3}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--method k-means --tol 0.1", "--tol is not a setting of k-means; its settings: n_init"),
        ("--method AC --lr 0.1", "--lr is not a setting of AC; its settings: none"),
        ("--method AE+k-means --maxiter 3", "--maxiter is not a setting of AE+k-means"),
        ("--method FcDEC --landmarks 3", "--landmarks is not a setting of FcDEC"),
        ("--method FcDEC --noise 0.1", "--noise is not a setting of FcDEC"),
        ("--method GMM --covariance round", "unknown covariance 'round'"),
        ("--method k-means --device gpu", "device 'gpu': k-means runs on the CPU"),
        ("--method k-means --pretrained-weights a.h5", "k-means has no auto-encoder"),
        ("--method kmeans", "did you mean 'k-means'?"),
    ],
)
def test_bad_words(command, words, told):
    status, out, err = command(*words.split())
    assert (status, out, len(err.splitlines())) == (2, "", 1) and told in err


def test_a_run_needs_no_tensorflow(file, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import main; "
        "from experiments import run_figure; run_figure.POINTS = 40; "
        "status = main.main(); assert not {'tensorflow', 'keras'} & set(sys.modules); "
        "sys.exit(status)"
    )
    words = [
        "--method",
        "k-means",
        "--data",
        file,
        "--save-dir",
        tmp_path / "run",
        "--quiet",
        "--cache-dir",
        tmp_path / "cache",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_planned(command, method):
    status, out, _ = command("--method", method, "--dry-run")
    assert status == 0 and json.loads(out[: out.rindex("}") + 1])["method"] == method
    assert "at most" in out.splitlines()[-1]


# -- k-means on auto-encoders ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_networks():
    from functools import partial

    from models.core.networks import AUTOENCODERS, dense_autoencoder

    before = dict(AUTOENCODERS)
    AUTOENCODERS["fc"] = partial(dense_autoencoder, widths=(32, 24, 40))
    yield
    AUTOENCODERS.update(before)


def deep(method, x, folder=None, **others):
    settings = {"pretrain_epochs": 2, "n_init": 2, "batch_size": 50, "random_state": 0}
    return build(method, K, cache_dir=folder, **settings, **others).fit(x)


@pytest.mark.parametrize(
    ("method", "leader"), [("AE+k-means", "FcDEC"), ("AE+k-means-DA", "FcDEC-DA")]
)
def test_AE_is_where_the_deep_methods_start(small_networks, x, tmp_path, method, leader, eager):
    """One pretraining for both, and the k-means labels that FcDEC's rows hold."""
    other = deep(leader, x, tmp_path, maxiter=0)
    monitor = Recorder()
    model = deep(method, x, tmp_path, monitor=monitor)
    assert len(list(tmp_path.iterdir())) == 1
    assert [row[0] for row in monitor.rows] == ["final"]
    for labels in (model.labels_, model.initial_labels_, model.refresh_labels_):
        assert np.array_equal(labels, other.initial_labels_)
    assert np.array_equal(model.cluster_centers_, other.cluster_centers_)
    assert (model.n_iter_, model.converged_) == (0, True)
    model.save(tmp_path / "model.h5")
    assert np.array_equal(load(tmp_path / "model.h5").predict(x), model.labels_)


def test_denoising_rebuilds_clean_samples_from_noisy_ones(small_networks, x, tmp_path, eager):
    import tensorflow as tf

    deep("AE+k-means", x, tmp_path)
    model = deep("DAE+k-means", x, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # a pretraining of its own
    ones = tf.ones((400, 8, 8, 1))
    seed = tf.constant([3, 0])
    noisy = model.corrupt(ones, seed).numpy()
    assert set(np.unique(noisy)) == {0, 1}
    assert np.mean(noisy == 0) == pytest.approx(0.2, abs=0.01)
    assert not np.array_equal(noisy, model.corrupt(ones, tf.constant([3, 1])))
    batch = tf.constant(x[:5])
    loss = model.pretrain_loss(batch, {}, seed)["reconstruction"]
    rebuilt = np.asarray(model.decoder(model.encoder(model.corrupt(batch, seed))))
    assert float(loss) == pytest.approx(np.mean((rebuilt - x[:5]) ** 2), rel=1e-4)
    again = deep("DAE+k-means", x)
    assert np.array_equal(again.transform(x), model.transform(x))


def test_baselines_are_of_one_family():
    for method in CLASSICAL:
        kind = type(make(method))
        assert issubclass(kind, Baseline) and issubclass(kind, FittedOnly) == (method not in NEW)


@pytest.mark.parametrize("unit", [1e-18, 1e-9, 1.0, 1e9])
def test_kmeans_has_no_unit(unit):
    x, _ = make_blobs(60, 3, centers=4, random_state=0)
    model = build("k-means", 4).fit(x * unit)
    assert model.labels_.tolist() == build("k-means", 4).fit(x).labels_.tolist()
    assert model.memberships(x * unit).max(axis=1).min() > 0.3
