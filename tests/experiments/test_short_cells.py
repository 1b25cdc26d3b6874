"""What is said of cells that fall short."""

import pytest

from datasets import PROBLEMS
from experiments import ledger, published, results_page, short_cells

ROWS, PAPER = ledger.read_rows(published.PAPER.parent / "results.csv"), published.read_paper()


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (
            (0.80, 0.96, 0.796, 0.936, None, 1),
            "starts at 0.796, the paper's codes at 0.936; one seed",
        ),
        (
            (0.87, 0.98, 0.8, 0.94, 0.9749, 3),
            "starts at 0.800, the paper's codes at 0.940; with 200 restarts of k-means 0.975; "
            "3 seeds",
        ),
        (
            (0.77, 0.80, 0.74, 0.745, None, 1),
            "starts as the paper's codes do (0.740, 0.745); one seed",
        ),
        (
            (0.60, 0.80, 0.70, 0.71, None, 1),
            "starts as the paper's codes do (0.700, 0.710); the second stage lowers it; one seed",
        ),
        (
            (0.50, 0.55, 0.70, 0.71, None, 1),
            "starts as the paper's codes do (0.700, 0.710); the second stage lowers it, as in the "
            "paper; one seed",
        ),
        ((0.91, 0.98, 0.85, None, None, 1), "starts at 0.850; one seed"),
        ((0.86, 0.94, None, None, None, 4), "4 seeds"),
        (
            (0.86, 0.94, None, None, None, 1, 1),
            "ended by the limit of steps, labels not settled; one seed",
        ),
        (
            (0.86, 0.94, None, None, None, 3, 2),
            "2 of 3 ended by the limit of steps, labels not settled; 3 seeds",
        ),
    ],
)
def test_the_sentence(numbers, text):
    assert short_cells.sentence(*numbers) == text


def test_every_short_cell_has_a_line_and_no_other():
    found = published.scores(ROWS, {*published.wanted(PAPER), short_cells.MORE_STARTS})
    short = {
        (name, dataset)
        for table in short_cells.TABLES
        for (name, dataset), cell in results_page.cells(found, PAPER, table).items()
        if dataset in short_cells.SETS and results_page.word_of(cell) == "short"
    }
    lines = short_cells.why(PAPER, found)
    assert {(line[0], line[1]) for line in lines} == short and len(lines) == len(short) > 5


def test_restarts_of_k_means_on_the_codes_are_told_if_every_seed_has_them():
    def told(*seeds):
        codes = {"method": "AE+k-means", "overrides": "n_init=200", "acc": 0.61}
        rows = [row(seed, 0.5, "2", method="FcDEC", acc=0.6) for seed in (0, 1)]
        rows += [row(seed, 0.61, "2", **codes) for seed in seeds]
        lines = short_cells.why(PAPER, published.scores(rows, {short_cells.MORE_STARTS}))
        return next(line[-1] for line in lines if line[0] == "FcDEC")

    assert "restarts" not in told(0)
    assert told(0, 1).endswith("; 200 restarts of k-means would start at 0.610")


def row(seed, start, protocol="", **others):
    about = {"method": "FcDCN", "dataset": "usps", "status": "ok", "overrides": "", "seed": seed}
    about |= {"k": 10, "data_hash": PROBLEMS["usps"][1], "acc": 0.9}
    about |= {"aug_pretrain": "False", "aug_cluster": "False", "kmeans_acc": start}
    return ledger.as_row(about | {"protocol": protocol, "config_hash": protocol or "1"} | others)


def test_starts_are_those_of_the_newest_protocol_and_of_no_other_settings():
    rows = [
        row(0, 0.1),
        row(0, 0.2, "2"),
        row(1, 0.3, "2"),
        row(2, 0.4, "2", status="failed", kmeans_acc=""),
        row(3, 0.5, "2", overrides="n_init=200"),
        row(4, 0.6, "2", dataset="digits", data_hash=PROBLEMS["digits"][1]),
        row(6, 0.8, "2", k=9),
        row(5, 0.7, "2", aug_pretrain="True", overrides="aug_pretrain=True"),
    ]
    found = published.scores(rows, {short_cells.MORE_STARTS})

    def starts(method, variant="", changed=""):
        runs = found.get(published.place_of(method, "usps", changed, variant), {})
        return {seed: run["start"] for seed, run in runs.items() if "start" in run}

    assert starts("FcDCN") == {0: 0.2, 1: 0.3}
    assert starts("FcDCN", changed="n_init=200") == {3: 0.5}
    assert starts("FcDCN", "y/n") == {5: 0.7}
    assert starts("FcDEC") == {}
    assert short_cells.starts_on_codes(found, False, "usps", "n_init=200") == [0.5]
    assert short_cells.starts_on_codes(found, True, "usps", "n_init=200") == []


def test_unsettled_labels_are_not_those_of_k_means_on_the_codes():
    """A run that the limit of steps ended says so, and nothing of the codes that it starts from."""
    row_of = row(0, 0.2, "2", converged="False", kmeans_nmi=0.3)
    found = published.scores([row_of])
    assert found[published.place_of("FcDCN", "usps")][0]["converged"] == "False"
    assert found[published.place_of("AE+k-means", "usps")][0]["converged"] == ""


def test_the_start_of_the_paper_is_that_of_its_table_5():
    assert short_cells.published_start(PAPER, False, "usps") == 0.709
    assert short_cells.published_start(PAPER, True, "usps") == 0.936
    assert short_cells.published_start(PAPER, True, "digits") is None
