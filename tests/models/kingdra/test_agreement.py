"""The agreement graph against its plain definition, with all n^2 pairs in lists."""

import tracemalloc

import numpy as np
import pytest

from common.matching import match_clusters
from models.kingdra.agreement import Signatures, find_groups, match_groups, mean_agreement


def plain_groups(labels, confident, high, low, k):
    """Word for word: lists of strongly alike and of not strongly unlike samples, pruned."""
    m, n = labels.shape
    agree = (labels[:, :, None] == labels[:, None, :]).sum(axis=0)  # (n, n)
    alike = [list(np.flatnonzero(agree[i] > high)) if confident[i] else [] for i in range(n)]
    touching = [list(np.flatnonzero(agree[i] > low)) for i in range(n)]
    groups = []
    for _ in range(k):
        sizes = [len(one) for one in alike]
        if not any(sizes):
            break
        group = list(alike[int(np.argmax(sizes))])
        groups.append(group)
        for t in group:
            for u in touching[t]:
                alike[u] = []
        for i in range(n):
            alike[i] = [j for j in alike[i] if alike[j]]
    return groups


def ensemble(rng, m, n, k, noise):
    """Members that agree but for a share `noise` of random labels."""
    labels = np.tile(rng.integers(k, size=n), (m, 1))
    wrong = rng.random((m, n)) < noise
    return np.where(wrong, rng.integers(k, size=(m, n)), labels)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    ("m", "high", "low"),
    [(10, 9, 1), (10, 8, 2), (5, 3, 1), (3, 0, 0), (4, 2, 4), (4, 4, 1), (1, 0, 0)],
)
@pytest.mark.parametrize("sure", [0.0, 0.4, 1.0])
def test_groups_are_those_of_the_plain_definition(m, high, low, noise, sure):
    for seed in range(6):
        rng = np.random.default_rng([seed, m, high])
        n, k = int(rng.integers(2, 90)), int(rng.integers(2, 6))
        labels = ensemble(rng, m, n, k, noise)
        confident = rng.random(n) < sure
        found = find_groups(labels, confident, high, low, k)
        expected = plain_groups(labels, confident, high, low, k)
        assert [group.tolist() for group in found] == expected


@pytest.mark.parametrize("case", ["all alike", "all apart", "two equal groups", "chain"])
def test_adversarial_groups(case):
    n, m, k, high, low = 12, 4, 3, 2, 1
    labels = {
        "all alike": np.zeros((m, n), int),
        "all apart": np.array([(np.arange(n) + j) % n for j in range(m)]),
        "two equal groups": np.tile(np.arange(n) % 2, (m, 1)),
        # Each sample is strongly alike the next, the first and the last have little in common.
        "chain": np.array([np.arange(n) // (j + 2) % k for j in range(m)]),
    }[case]
    for confident in (np.ones(n, bool), np.arange(n) > 0, np.arange(n) % 3 == 1):
        found = find_groups(labels, confident, high, low, k)
        expected = plain_groups(labels, confident, high, low, k)
        assert [group.tolist() for group in found] == expected


def test_a_sample_without_confidence_can_only_be_in_the_first_group():
    labels = np.tile([0] * 5 + [1] * 4, (3, 1))
    confident = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0], bool)
    first, second = find_groups(labels, confident, 2, 0, 2)
    assert first.tolist() == [0, 1, 2, 3, 4]
    assert second.tolist() == [5, 6, 7]


def test_seventy_thousand_samples_take_little_memory():
    rng = np.random.default_rng(0)
    labels = ensemble(rng, 10, 70000, 10, 0.1)  # some 35,000 distinct signatures
    tracemalloc.start()
    groups = find_groups(labels, np.ones(70000, bool), 9, 1, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e9
    assert len(groups) == 10
    assert all(len(np.unique(labels[:, group], axis=1).T) == 1 for group in groups)


def test_signatures_are_counted():
    labels = np.array([[0, 0, 1, 0], [1, 1, 0, 0]])
    signatures = Signatures(labels)
    assert signatures.distinct[signatures.of].tolist() == labels.T.tolist()
    assert len(signatures.distinct) == 3
    numbers = signatures.of
    assert signatures.agreement(numbers)[:, numbers].tolist() == [
        [2, 2, 0, 1],
        [2, 2, 0, 1],
        [0, 0, 2, 1],
        [1, 1, 1, 2],
    ]


def test_clusters_are_matched_one_to_one():
    reference = np.array([0, 0, 1, 1, 2, 2, 2])
    labels = np.array([2, 2, 0, 0, 1, 1, 0])
    assert match_clusters(labels, reference, 3).tolist() == [1, 2, 0]
    # Greedy would give both groups cluster 1.
    groups = [np.array([0, 1, 2]), np.array([3, 4])]
    assert match_groups(groups, np.array([1, 1, 0, 1, 1]), 2).tolist() == [0, 1]


def test_agreement_of_members():
    assert mean_agreement(np.array([[0, 1, 2]])) == 1.0
    assert mean_agreement(np.array([[0, 1], [0, 1]])) == 1.0
    assert mean_agreement(np.array([[0, 1], [0, 0], [1, 0]])) == pytest.approx(1 / 3)
