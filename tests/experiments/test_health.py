"""The health of a result, on partitions and clusterings whose faults are known."""

import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from common.matching import matched_share
from experiments import health, quality
from models import build
from models.core.graphs import modularity, neighbor_graph, normalized_cut


def blobs(k=4, each=60, d=5, seed=0):
    """Return (x (k * each, d), y): well separated groups."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), each)
    return (3.0 * rng.standard_normal((k, d))[y] + 0.3 * rng.standard_normal((len(y), d))), y


def signals(**changes):
    """Return the signals of a good result, some of them changed."""
    good = {
        "empty_clusters": 0,
        "smallest_cluster": 0.08,
        "largest_cluster": 0.13,
        "cluster_entropy": 0.99,
        "stability": 0.98,
        "neighbor_agreement": 0.97,
        "input_modularity": 0.8,
        "kmeans_modularity": 0.75,
        "uncertain": 0.01,
        "start_agreement": 0.9,
        "drift": 0.0,
        "changed": 0.0005,
        "at_limit": 0,
    }
    return good | changes


# ---- signals ----------------------------------------------------------------------------------


def test_modularity_by_hand():
    """Two pairs joined by one edge: 5 edges of weight 1 in a path 0-1-2-3 and two loops' worth."""
    edges = np.zeros((4, 4))
    for a, b in ((0, 1), (1, 2), (2, 3)):
        edges[a, b] = edges[b, a] = 1.0
    w = csr_array(edges)
    # degrees 1 2 2 1, total 6; {0,1} | {2,3}: inside 2 and 2, volumes 3 and 3
    assert modularity(w, np.array([0, 0, 1, 1])) == pytest.approx(4 / 6 - 2 * (3 / 6) ** 2)
    assert modularity(w, np.zeros(4, int)) == pytest.approx(0.0)
    assert normalized_cut(w, np.array([0, 0, 1, 1])) == pytest.approx(2 * (1 - 2 / 3))


def test_modularity_prefers_the_true_partition_to_a_merge_a_cut_and_chance():
    x, y = blobs()
    w = neighbor_graph(x)
    merged, cut = np.minimum(y, 2), np.where((y == 0) & (np.arange(len(y)) % 2 == 0), 4, y)
    shuffled = np.random.default_rng(0).permutation(y)
    true = modularity(w, y)
    assert true > modularity(w, merged) > modularity(w, shuffled)
    assert true > modularity(w, cut)
    assert abs(modularity(w, shuffled)) < 0.05


def test_sizes():
    found = quality.sizes(np.array([0, 0, 0, 2]), 4)
    assert found["empty_clusters"] == 2
    assert (found["smallest_cluster"], found["largest_cluster"]) == (0.0, 0.75)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(4)
    assert found["cluster_entropy"] == pytest.approx(entropy)
    assert quality.sizes(np.arange(8) % 4, 4)["cluster_entropy"] == pytest.approx(1.0)


def test_small_transforms_are_small_repeatable_and_not_none(digits):
    one = quality.transformed(digits[:20], 3, **quality.SMALL)
    assert np.array_equal(one, quality.transformed(digits[:20], 3, **quality.SMALL))
    change = np.abs(one - digits[:20]).mean()
    assert one.shape == (20, 8, 8, 1) and one.dtype == np.float32 and 0 < change < 0.15
    still = quality.transformed(digits[:20], 3, shift=0.0, rotation=0.0, noise=0.1)
    assert np.allclose(still, digits[:20], atol=1e-6)  # nothing but the centre's rounding
    x = blobs()[0]
    noise = quality.transformed(x, 3, **quality.SMALL) - x
    assert np.allclose(noise.std(axis=0), 0.1 * x.std(axis=0), rtol=0.2)


def test_a_turn_is_about_the_middle_and_a_shift_as_far_as_told():
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4, 0] = 1.0
    turned = quality.transformed(image, 0, shift=0.0, rotation=45.0, noise=0)
    assert turned[0, 4, 4, 0] == pytest.approx(1.0, abs=1e-5)
    moved = [
        np.unravel_index(quality.transformed(image, seed, 2 / 9, 0.0, 0).argmax(), (9, 9))
        for seed in range(40)
    ]
    assert np.abs(np.array(moved) - 4).max() == 2


def test_neighbor_agreement():
    x, y = blobs()
    assert quality.neighbor_agreement(x, y) == 1.0
    mixed = np.random.default_rng(0).permutation(y)
    assert quality.neighbor_agreement(x, mixed) == pytest.approx(0.25, abs=0.05)
    assert quality.neighbor_agreement(x[:2], y[:2]) == 1.0


def test_matched_share():
    a = np.array([0, 0, 1, 1, 2, 2])
    assert matched_share((a + 1) % 3, a, 3) == 1.0
    assert matched_share(np.array([1, 1, 2, 2, 2, 0]), a, 3) == pytest.approx(5 / 6)


def test_uncertain():
    assert quality.uncertain(np.array([[0.6, 0.4], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])) == 0.5
    assert quality.uncertain(np.ones((3, 1))) == 0.0


def test_signals_of_a_fitted_baseline():
    x, y = blobs()
    x = x.astype(np.float32)
    model = build("k-means", 4, random_state=0).fit(x)
    signals = quality.signals(
        model, x, model.transform(x), model.labels_, model.memberships(x), quality.Graph(x)
    )
    found = health.judge(signals, 4, len(x))
    assert found.verdict == "healthy" and found.reasons == ()
    assert found.signals["stability"] > 0.99
    assert found.signals["input_modularity"] == pytest.approx(0.75, abs=0.02)
    assert found.signals["kmeans_modularity"] <= found.signals["input_modularity"] + 1e-9
    assert not {"drift", "changed", "start_agreement"} & found.signals.keys()


def test_a_method_without_a_rule_for_new_samples_has_no_stability():
    x = blobs()[0].astype(np.float32)
    model = build("AC", 4).fit(x)
    assert quality.stability(model, x, model.labels_) is None


# ---- verdict ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, word, reason",
    [
        ({}, "healthy", None),
        ({"empty_clusters": 2}, "doubtful", "2 of 10 clusters are empty"),
        ({"empty_clusters": 1}, "doubtful", "1 of 10 clusters is empty"),
        ({"empty_clusters": 5}, "collapsed", "5 of 10 clusters are empty"),
        ({"largest_cluster": 0.62}, "collapsed", "one cluster holds 62%"),
        ({"smallest_cluster": 0.003}, "doubtful", "smallest of 10 clusters has 3 of 1,000"),
        ({"changed": 0.05, "at_limit": 1}, "doubtful", "5% of the labels still changed"),
        ({"changed": 0.05, "at_limit": 0}, "healthy", None),
        ({"stability": 0.7}, "doubtful", "70% of the samples keep"),
        ({"neighbor_agreement": 0.4}, "doubtful", "40% of the pairs"),
        ({"drift": 0.05}, "doubtful", "modularity 0.850, now 0.800"),
        ({"input_modularity": 0.55}, "doubtful", "modularity 0.550, k-means 0.750"),
        ({"input_modularity": 0.65}, "healthy", None),
        ({"cluster_entropy": 0.5}, "doubtful", "uneven: from 80 to 130 samples"),
    ],
)
def test_verdict(changes, word, reason):
    found = health.judge(signals(**changes), 10, 1000)
    assert found.verdict == word
    assert reason is None or reason in "; ".join(found.reasons)
    assert bool(found.reasons) == (word != "healthy")


def test_two_clusters_of_which_one_is_larger_are_no_collapse():
    assert health.judge(signals(largest_cluster=0.6, smallest_cluster=0.4), 2, 10).reasons == ()


def test_all_in_the_one_cluster_that_was_found_is_a_collapse():
    found = health.judge(signals(largest_cluster=1.0, smallest_cluster=1.0), 1, 150)
    assert found.verdict == "collapsed"
    assert "one cluster holds 100% of the samples" in found.reasons


def test_what_is_unknown_is_no_reason():
    known = signals()
    for name in ("stability", "drift", "changed", "at_limit", "start_agreement"):
        del known[name]
    assert health.judge(known, 10, 1000).verdict == "healthy"


def test_lines_and_columns_are_plain():
    found = health.judge(signals(empty_clusters=2, drift=0.05), 10, 1000)
    columns = json.loads(json.dumps(found.columns()))
    assert columns["verdict"] == "doubtful" and columns["reasons"].count("; ") == 1
    text = health.lines(columns | {"n": 1000, "k": 10})
    assert text[0] == "health: doubtful" and "  2 of 10 clusters are empty" in text
    assert any("  10 clusters of 80 to 130 of 1,000 samples" in line for line in text)
    assert health.lines({"n": 10, "acc": 0.5}) == []  # a row of earlier days
    assert health.alarming(columns) and not health.alarming({"verdict": "doubtful"})


# ---- main.py ----------------------------------------------------------------------------------


@pytest.fixture
def finished(monkeypatch, tmp_path, capsys):
    """Call main.py on a run that ends with a given verdict; return (status, stdout, stderr)."""
    import sys

    import main
    from experiments import runs

    def call(found, *words):
        result = {"n": 1000, "k": 10, "seed": 0, "iterations": 5, "seconds_total": 1.0}
        monkeypatch.setattr(runs, "execute", lambda *_, **__: result | found.columns())
        folder = ["--save-dir", str(tmp_path / "run"), "--cache-dir", str(tmp_path / "cache")]
        argv = ["main.py", "--method", "k-means", "--dataset", "digits", *folder, *words]
        monkeypatch.setattr(sys, "argv", argv)
        status = main.main()
        return status, *capsys.readouterr()

    return call


def test_an_empty_cluster_is_told_even_if_quiet_and_strict_makes_it_a_status(finished):
    bad = health.judge(signals(empty_clusters=2), 10, 1000)
    status, out, err = finished(bad, "--quiet")
    assert (status, err) == (0, "warning: doubtful result: 2 of 10 clusters are empty\n")
    assert "health: doubtful\n  2 of 10 clusters are empty\n" in out
    assert finished(bad, "--quiet", "--strict")[0] == 4


def test_a_doubt_without_an_empty_cluster_is_no_warning(finished):
    doubtful = health.judge(signals(drift=0.05), 10, 1000)
    status, out, err = finished(doubtful, "--quiet", "--strict")
    assert (status, err) == (0, "") and "health: doubtful" in out
    collapsed = health.judge(signals(largest_cluster=0.7), 10, 1000)
    assert finished(collapsed, "--quiet", "--strict")[0] == 4
