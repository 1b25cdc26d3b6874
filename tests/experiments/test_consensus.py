"""One answer from several runs: worked by hand, and against plain loops over pairs of samples."""

import numpy as np
import pandas as pd
import pytest
from conftest import user_error
from test_health import blobs

from datasets import Dataset
from experiments import choices, consensus, trials


def test_company_is_the_plain_definition():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (4, 30))
    total = np.zeros(30)
    for i in range(30):
        for a in range(4):
            for b in range(a):
                mine, theirs = labels[a] == labels[a, i], labels[b] == labels[b, i]
                total[i] += (mine & theirs).sum() / (mine | theirs).sum()
    assert np.allclose(consensus.company(labels), total / 6)


def test_company_does_not_see_the_numbering_of_clusters():
    a = np.array([0, 0, 1, 1, 2])
    assert consensus.company(np.stack([a, (a + 1) % 3])).tolist() == [1.0] * 5


def test_vote_matches_clusters_first():
    a = np.array([0, 0, 0, 1, 1, 1])
    runs = np.stack([a, 1 - a, np.array([1, 1, 0, 0, 0, 0])])
    assert consensus.vote(runs, 0).tolist() == a.tolist()
    assert consensus.vote(np.stack([a, np.array([0, 0, 1, 1, 1, 1])]), 0).tolist() == a.tolist()


def test_the_true_partition_is_chosen_and_the_vote_mends_single_errors():
    x, y = blobs(k=4)
    rng = np.random.default_rng(1)
    runs = []
    for seed in range(4):
        labels = rng.permutation(4)[y]
        wrong = rng.random(len(y)) < (0.0, 0.1, 0.1, 0.3)[seed]
        runs.append(np.where(wrong, rng.integers(0, 4, len(y)), labels))
    merged = np.where(y == 3, 2, y)
    runs.append(merged)
    found = consensus.conclude(x, runs, [x + 0.01 * i for i in range(5)])
    assert found.chosen == 0
    assert found.scores.argmin() == 3
    assert np.array_equal(found.consensus, runs[0])
    assert found.company[y == 0].mean() > found.company[y == 3].mean()


def test_every_run_is_judged_in_all_spaces():
    """Codes that are nothing but one run's labels are one space of several."""
    x, y = blobs(k=3)
    shuffled = np.random.default_rng(0).permutation(y)
    flattering = shuffled[:, None] + 0.001 * np.random.default_rng(1).random((len(y), 1))
    found = consensus.conclude(x, [shuffled, y], [x, flattering])
    alone = [consensus.quality.Graph(flattering).modularity(labels) for labels in (shuffled, y)]
    assert alone[0] > 0.5 > alone[1]
    assert found.chosen == 1
    assert found.scores[1] == pytest.approx((2 * 2 / 3 + alone[1]) / 3, abs=0.02)
    assert consensus.conclude(x, [shuffled, y]).chosen == 1  # without codes: the samples


def test_of_runs_that_score_alike_the_one_most_like_the_others_is_chosen():
    x, y = blobs(k=4, each=400)
    runs = [y.copy() for _ in range(4)]
    runs[0][:1] = (y[0] + 1) % 4  # one sample apart from each other, and from the last two
    runs[1][800:801] = (y[800] + 1) % 4
    found = consensus.conclude(x, runs)
    assert found.scores.max() - found.scores.min() < consensus.TIE
    assert found.chosen == int(np.argmax(found.similarity)) and found.chosen in (2, 3)


def test_one_run_is_not_several():
    with user_error("1 finished runs", "two or more"):
        consensus.conclude(np.zeros((3, 2)), [np.zeros(3, int)])


def row(seed, **more):
    about = {"method": "FcDEC", "dataset": "blobs", "n": 240, "k": 4, "data_hash": "d"}
    return about | {"seed": seed, "config_hash": "c", "overrides": "", "verdict": "healthy"} | more


def test_choice_has_scores_only_where_there_are_labels():
    x, y = blobs(k=4)
    runs = [y, np.where(y == 3, 2, y)]
    found = consensus.conclude(x, runs, [x, x])
    results = [row(5, acc=1.0), row(6, acc=0.75)]
    told = trials.choice(found, results, Dataset(x, y, "blobs", 4))
    assert told["chosen_seed"] == 5 and told["seeds"] == "5 6" and told["runs"] == 2
    assert told["chosen_acc"] == 1.0 and told["mean_acc"] == pytest.approx(0.875)
    assert "seed 5 chosen (acc 1.0000)" in trials.summary(told)
    blind = trials.choice(found, [row(5), row(6)], Dataset(x, None, "blobs", 4))
    assert "chosen_acc" not in blind and "acc" not in trials.summary(blind)
    assert blind["chosen_seed"] == 5
    assert trials.table(found, results)[1].endswith("<- chosen")


def test_choices_are_kept_by_what_was_run(tmp_path):
    path = tmp_path / "choices.csv"
    first = row(1, runs=2, seeds="0 1", chosen_seed=1, company=0.5)
    choices.keep(path, [first])
    choices.keep(path, [first | {"runs": 3, "seeds": "0 1 2", "chosen_seed": 2}])
    choices.keep(path, [first])  # fewer runs do not take the place of more
    choices.keep(path, [first | {"config_hash": "other"}])
    kept = choices.read(path)
    assert [(r["config_hash"], r["runs"], r["chosen_seed"]) for r in kept] == [
        ("c", "3", "2"),
        ("other", "2", "1"),
    ]
    assert choices.read(tmp_path / "none.csv") == []
    (tmp_path / "empty.csv").touch()
    with user_error("empty.csv, line 1: expected method, dataset"):
        choices.read(tmp_path / "empty.csv")


def test_trials_of_one_command_end_with_one_answer(tmp_path, monkeypatch, capsys):
    """Two real runs of k-means in processes of their own, then again from what they left."""
    import json
    import sys

    import main

    x, y = blobs(k=3, each=30)
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    argv = [
        "main.py",
        "--method",
        "k-means",
        "--data",
        str(tmp_path / "mine.npz"),
        "--trials",
        "2",
        "--n-init",
        "1",
        "--save-dir",
        str(tmp_path / "answer"),
        "--cache-dir",
        str(tmp_path / "cache"),
        "--jobs",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    assert main.main() == 0
    out = capsys.readouterr().out
    assert "<- chosen" in out and "2 runs: seed" in out
    folder = tmp_path / "answer"
    found = {name: np.load(folder / f"{name}.npy") for name in ("labels", "consensus", "company")}
    assert all(array.shape == (90,) for array in found.values())
    told = json.loads((folder / "choice.json").read_text())
    assert told["seeds"] == "0 1" and len(told["scores"]) == 2
    assert np.array_equal(
        found["labels"], np.load(folder / f"seed{told['chosen_seed']}/labels.npy")
    )
    table = pd.read_csv(folder / "labels.csv")
    assert list(table.columns) == ["sample", "label", "consensus", "company"]
    assert np.array_equal(table.label, found["labels"]) and list(table["sample"]) == list(range(90))
    assert not (folder / "n_clusters.csv").exists()

    monkeypatch.setattr(sys, "argv", [*argv, "--n-clusters", "2-4"])  # K is 3, as there
    assert main.main() == 0
    out = capsys.readouterr().out
    assert "K = 3 has the best bic" in out and "2 trials are done, 0 to do" in out
    assert list(pd.read_csv(folder / "n_clusters.csv").n_clusters) == [2, 3, 4]


def test_the_report_has_choice_consensus_and_verdicts():
    from reporting import evidence

    runs = {
        seed: row(seed, verdict=word, reasons=why)
        for seed, word, why in ((0, "healthy", ""), (1, "doubtful", "1 of 4 clusters is empty"))
    }
    group = evidence.Group("blobs", "d", "4", "file", "FcDEC", "", runs)
    assert evidence.verdicts(group) == "1 healthy, 1 doubtful"
    assert evidence.doubts(group) == ["Seed 1 is doubtful: 1 of 4 clusters is empty."]
    kept = {name: "" for name in choices.COLUMNS} | {
        "method": "FcDEC",
        "dataset": "blobs",
        "data_hash": "d",
        "k": "4",
        "runs": "2",
        "chosen_seed": "1",
        "chosen_acc": "0.9",
        "consensus_acc": "0.95",
    }
    assert evidence.choice(group, [kept]) == ("0.9000 (seed 1)", "0.9500 (2)")
    assert evidence.choice(group, [kept | {"k": "5"}]) == ("–", "–")
