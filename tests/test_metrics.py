import itertools
import math
from collections import Counter

import numpy as np
import pytest

from metrics import acc, align, ari, nmi, scores

Y = [0, 0, 0, 1, 1, 1]
C = [1, 1, 0, 0, 0, 0]  # contingency: class 0 -> {1: 2, 0: 1}, class 1 -> {0: 3}


def entropy(labels):
    n = len(labels)
    return -sum(m / n * math.log(m / n) for m in Counter(labels).values())


def mutual_information(y, c):
    n, ny, nc = len(y), Counter(y), Counter(c)
    return sum(
        m / n * math.log(n * m / (ny[i] * nc[j]))
        for (i, j), m in Counter(zip(y, c, strict=True)).items()
    )


def brute_force_matches(y, c):
    """The most matches over all one-to-one maps, padded so that names may stay without partner."""
    size = max(max(y), max(c)) + 1
    return max(
        sum(g[j] == i for i, j in zip(y, c, strict=True))
        for g in itertools.permutations(range(size))
    )


def pair_counting_ari(y, c):
    both = only_y = only_c = neither = 0
    for i, j in itertools.combinations(range(len(y)), 2):
        same_y, same_c = y[i] == y[j], c[i] == c[j]
        both += same_y and same_c
        only_y += same_y and not same_c
        only_c += same_c and not same_y
        neither += not same_y and not same_c
    above = 2 * (both * neither - only_y * only_c)
    below = (both + only_y) * (only_y + neither) + (both + only_c) * (only_c + neither)
    return above / below


def random_pairs(count, n=12):
    """Labellings of up to five names each, of different numbers of names."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        sizes = rng.integers(2, 6, size=2)
        y, c = (rng.integers(0, size, size=n) for size in sizes)
        y[:2] = c[:2] = (0, 1)  # two names at least, so that no entropy is zero
        yield y.tolist(), c.tolist()


def test_worked_case():
    assert acc(Y, C) == pytest.approx(5 / 6)
    h = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    i = 1 / 3 * math.log(2) + 1 / 6 * math.log(1 / 2) + 1 / 2 * math.log(3 / 2)
    assert nmi(Y, C) == pytest.approx(2 * i / (math.log(2) + h))
    assert nmi(Y, C, "geometric") == pytest.approx(i / math.sqrt(math.log(2) * h))
    # 15 pairs: together in both 4, in y only 2, in c only 3, in neither 6.
    assert ari(Y, C) == pytest.approx(2 * (4 * 6 - 2 * 3) / (6 * 8 + 7 * 9))


def test_the_two_averages_differ_and_arithmetic_is_the_smaller():
    assert nmi(Y, C) < nmi(Y, C, "geometric") - 1e-4


def test_greedy_matching_is_not_enough():
    """Cluster 0 prefers class 0, but the best map gives class 0 to cluster 1."""
    assert acc([0] * 5 + [1] * 4 + [0] * 3, [0] * 9 + [1] * 3) == pytest.approx(7 / 12)


def test_more_clusters_than_classes():
    assert acc([0, 0, 0, 0, 1, 1], [0, 0, 1, 2, 3, 3]) == pytest.approx(4 / 6)
    assert acc([0, 0, 0, 0], [0, 1, 2, 3]) == pytest.approx(1 / 4)


def test_fewer_clusters_than_classes():
    assert acc([0, 0, 1, 2, 3, 3], [0, 0, 0, 0, 1, 1]) == pytest.approx(4 / 6)


def test_all_in_one_cluster():
    y, c = [0, 0, 0, 1, 2], [7] * 5
    assert acc(y, c) == pytest.approx(3 / 5)
    assert nmi(y, c) == nmi(y, c, "geometric") == ari(y, c) == 0.0


def test_perfect_under_other_names():
    y = ["a", "b", "c", "a"]
    assert scores(y, [9, 4, 0, 9]) == pytest.approx(
        {"acc": 1.0, "nmi": 1.0, "nmi_geometric": 1.0, "ari": 1.0}
    )


def test_against_brute_force_and_definitions():
    for y, c in random_pairs(40):
        assert acc(y, c) == pytest.approx(brute_force_matches(y, c) / len(y)), (y, c)
        i, hy, hc = mutual_information(y, c), entropy(y), entropy(c)
        assert nmi(y, c) == pytest.approx(2 * i / (hy + hc), abs=1e-12), (y, c)
        geometric = i / math.sqrt(hy * hc)
        assert nmi(y, c, "geometric") == pytest.approx(geometric, abs=1e-12), (y, c)
        assert ari(y, c) == pytest.approx(pair_counting_ari(y, c), abs=1e-12), (y, c)


def test_names_and_order_of_samples_do_not_matter():
    rng = np.random.default_rng(1)
    for y, c in random_pairs(10):
        y, c = np.array(y), np.array(c)
        names, order = rng.permutation(10), rng.permutation(len(y))
        for other in (scores(y, names[c]), scores(names[y], c), scores(y[order], c[order])):
            assert other == pytest.approx(scores(y, c), abs=1e-12)


def test_scores_are_plain_floats():
    got = scores(np.array(Y), np.array(C))
    assert set(got) == {"acc", "nmi", "nmi_geometric", "ari"}
    assert all(type(v) is float for v in got.values())


@pytest.mark.parametrize("bad", [([], []), ([0, 1], [0]), ([[0, 1]], [[0, 1]]), (0, 0)])
def test_bad_shapes(bad):
    for score in (acc, nmi, ari, align):
        with pytest.raises(ValueError, match="expected two equal"):
            score(*bad)


def test_align_worked_case():
    # Cluster 5 is class 2, cluster 0 is class 0; cluster 1 has no partner: the next free number.
    got = align([5, 5, 5, 0, 0, 1], [2, 2, 0, 0, 0, 2])
    assert got.dtype == np.int64
    assert got.tolist() == [2, 2, 2, 0, 0, 3]


def test_align_fewer_clusters_than_names():
    assert align([0, 0, 1, 1], [3, 3, 7, 9]).tolist() in ([3, 3, 7, 7], [3, 3, 9, 9])


def test_align_keeps_the_partition_and_reaches_the_accuracy():
    for reference, labels in random_pairs(40):
        got = align(labels, reference)
        pairs = set(zip(labels, got.tolist(), strict=True))
        assert len(pairs) == len(set(labels)) == len(set(got.tolist()))
        assert np.mean(got == reference) == pytest.approx(acc(reference, labels))
        without_partner = set(got.tolist()) - set(reference)
        assert all(name > max(reference) for name in without_partner)


def test_align_undoes_a_permutation():
    rng = np.random.default_rng(2)
    reference = rng.integers(0, 6, size=50)
    assert (align(rng.permutation(6)[reference], reference) == reference).all()
