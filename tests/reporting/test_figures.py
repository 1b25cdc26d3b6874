"""The papers' figures: their runs, what is drawn of the rows, and what is said of the rest."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import user_error

import run_exp
from common import paths
from datasets import PROBLEMS
from experiments import figures, ledger, published, results_page
from experiments.plan import parse, plan
from reporting import paper_figures

ROOT = Path(__file__).resolve().parents[2]


def row(method, dataset, changes, seed=0, **others):
    """A row of a published problem, with some settings changed."""
    classes, data_hash = PROBLEMS[dataset]
    about = {
        "method": method,
        "dataset": dataset,
        "overrides": changes,
        "seed": seed,
        "k": classes,
        "status": "ok",
        "data_hash": data_hash,
        "source": "named",
        "acc": 0.5,
        "nmi": 0.4,
        "config_hash": f"{changes}{others}",
        "seconds_total": 60,
        **dict.fromkeys(("aug_pretrain", "aug_cluster"), method.endswith("-DA")),
    }
    return ledger.as_row(about | others)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder with some rows; a function that fills it."""
    monkeypatch.setattr(paths, "RESULTS", str(tmp_path))

    def fill(*rows):
        ledger.write_text(tmp_path / "results.csv", ledger.csv_text(list(rows)))
        return tmp_path

    return fill


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_has_its_runs(name):
    some = figures.cells(name, [])
    assert len(some) >= 5 and all(cell["run"] is None for cell in some)
    assert figures.command(name) == f"python run_exp.py configs/figures/{name}.json"
    kinds = {
        json.dumps([cell[k] for k in ("method", "dataset", "seed", "settings")]) for cell in some
    }
    assert len(kinds) == len(some)
    for setting, _ in figures.FIGURES[name].axes:
        assert len({cell["settings"][setting] for cell in some}) >= 3


def test_files_and_figures_are_the_same():
    assert {path.stem for path in (ROOT / "configs" / "figures").glob("*")} == set(figures.FIGURES)


def test_a_cell_has_the_row_of_its_settings():
    """Settings in any order; those at the method's own value are in no row."""
    rows = [
        row("FcDEC-DA", "mnist-test", "rotation=20.0 shift_pixels=3.0", acc=0.9),
        row("FcDEC-DA", "mnist-test", "shift_pixels=3.0", acc=0.8),
        row("FcDEC-DA", "mnist-test", "shift_pixels=3.0", seed=1, acc=0.1),
        row("FcDEC-DA", "mnist-test", "shift_pixels=3.0 tol=0.1", acc=0.2),
        row("FcDEC-DA", "usps", "shift_pixels=1.0", acc=0.3),
        row("FcDEC-DA", "mnist-test", "", acc=0.4),
    ]
    found = {
        (cell["settings"]["rotation"], cell["settings"]["shift_pixels"]): cell["run"]["acc"]
        for cell in figures.cells("decda-3", rows)
        if cell["run"]
    }
    assert found == {(20, 3): 0.9, (10, 3): 0.8}
    own = figures.cells("dscdan-5", [row("DSCDAN", "mnist-test", "", acc=0.7)])
    assert [c["settings"]["mutual"] for c in own if c["run"]] == [0.01]
    assert figures.coverage(rows)["decda-3"] == (2, 30)


def test_nothing_run_is_one_line(results):
    folder = results()
    for name in figures.FIGURES:
        lines = paper_figures.write(folder, name)
        assert len(lines) == 1 and lines[0].startswith(f"{name}: none of its ")
        assert figures.command(name) in lines[0]
    assert not any((folder / "figures").iterdir())


def test_a_grid_is_drawn_with_its_open_cells(results):
    folder = results(
        row("FcDEC-DA", "mnist-test", "shift_pixels=3.0", acc=0.8125),
        row("FcDEC-DA", "mnist-test", "rotation=40.0 shift_pixels=6.0", acc=0.25),
    )
    lines = paper_figures.write(folder, "decda-3")
    assert lines[0].endswith("2 of 30 cells") and lines[1].count("rotation=") == 28
    assert "rotation=10 shift_pixels=3" not in lines[1] and lines[2].endswith("decda-3.json")
    svg = (folder / "figures" / "decda-3.svg").read_text()
    assert svg.count(">open<") == 2 * 28 and ">0.812<" in svg and ">0.250<" in svg
    with open(folder / "figures" / "decda-3.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 30 and sum(line["acc"] != "" for line in table) == 2
    assert {"rotation", "shift_pixels", "acc", "nmi", "seed"} <= set(table[0])
    before = svg, os.stat(folder / "figures" / "decda-3.svg").st_mtime_ns
    paper_figures.write(folder, "decda-3")
    path = folder / "figures" / "decda-3.svg"
    assert (path.read_text(), os.stat(path).st_mtime_ns) == before


def test_curves_are_those_of_the_logs(results):
    """Of the run folder where there is one, else of results/logs, named by the row's settings."""
    folder = results(row("KINGDRA-LADDER-IM", "mnist", "rounds=2"))
    log = "phase,step,seconds,acc,member_acc,agreement,pseudo_labels,pseudo_acc\n"
    log += "cluster,1,2,,,,,\ncluster,5,9,0.5,0.4,0.3,100,0.9\ncluster,9,12,0.6,0.5,0.4,200,0.8\n"
    name = "KINGDRA-LADDER-IM-mnist-s0-0123abcd"
    ledger.write_text(folder / "logs" / f"{name}.csv", log)
    own = folder / "runs" / "KINGDRA-LADDER-IM-20news-s0-4567cdef"
    ledger.write_text(own / "log.csv", log.replace("0.6,", "0.7,"))
    ledger.write_text(own / "result.json", json.dumps(row("KINGDRA-LADDER-IM", "20news", "")))
    found = figures.rounds("kingdra-rounds", folder)
    assert [(r["dataset"], r["settings"], r["round"], r["acc"]) for r in found] == [
        ("mnist", "rounds=2", 1, "0.5"),
        ("mnist", "rounds=2", 2, "0.6"),
        ("20news", "", 1, "0.5"),
        ("20news", "", 2, "0.7"),
    ]
    lines = paper_figures.write(folder, "kingdra-rounds")
    assert lines[0].endswith("0 of 5 cells") and lines[1].startswith("open: mnist; stl10")
    svg = (folder / "figures" / "kingdra-rounds.svg").read_text()
    assert ">mnist (rounds=2)<" in svg and svg.count(">open<") == 3


def test_maps_need_an_embedding(results, monkeypatch):
    folder = results(row("DSCDAN", "mnist-test", ""))
    from reporting import maps

    rng = np.random.default_rng(0)
    codes = {name: rng.normal(size=(40, 5)) for name in (maps.RAW, "DSCDAN")}
    missing = {name: "no run" for name in maps.PANELS if name not in codes}
    monkeypatch.setattr(maps, "panels", lambda *args: (codes, missing, np.arange(40) % 4))
    lines = paper_figures.write(folder, "dscdan-6")
    assert "dscdan-6.png" in lines[0] and lines[0].endswith("1 of 7 cells")
    assert "ConvAE" in lines[1] and "DSCDAN" not in lines[1].split("; ")
    with open(folder / "figures" / "dscdan-6.csv", newline="") as file:
        assert [line["panel"] for line in csv.DictReader(file)] == [maps.RAW] * 40 + ["DSCDAN"] * 40


# ---- the command line -------------------------------------------------------------------------


def test_the_command_line(results, capsys):
    results()
    assert run_exp.run(["--figure", "decda-3"]) == 0
    assert capsys.readouterr().out.startswith("decda-3: none of its 30 cells has a run yet")
    with user_error("unknown figure 'decda3'", "decda-3"):
        run_exp.run(["--figure", "decda3"])
    with user_error("--figure and --methods: expected only one"):
        run_exp.run(["--figure", "decda-3", "--methods", "FcDEC"])
    with user_error("'--tol': --figure takes no further options"):
        run_exp.run(["--figure", "decda-3", "--tol", "1"])


def test_settings_may_be_a_list_of_grids(tmp_path):
    path = tmp_path / "sweep.json"
    both = [{"alpha": 0.5, "beta": [1, 2]}, {"beta": 3}]
    path.write_text(
        json.dumps({"methods": ["FcIDEC"], "datasets": ["digits"], "seeds": [0], "settings": both})
    )
    args, rest = parse([str(path)])
    trials, _ = plan(args, rest)
    assert [t.spec.overrides for t in trials] == [
        {"alpha": 0.5, "beta": 1},
        {"alpha": 0.5, "beta": 2},
        {"beta": 3},
    ]
    for wrong in ([], [1], 1, [{"alpha": {}}]):
        path.write_text(json.dumps({"settings": wrong}))
        with pytest.raises(published.UserError, match="settings=|alpha="):
            plan(*parse([str(path)]))


# ---- the counts -------------------------------------------------------------------------------


def test_there_are_190_cells_of_the_papers_own_methods():
    paper = published.read_paper()
    counted = results_page.tally({}, paper)
    assert {name: sum(words.values()) for name, words in counted.items()} == {
        "decda-2": 80,
        "decda-5": 12,
        "aspc-5": 32,
        "aspc-6": 16,
        "kingdra-main": 25,
        "dscdan-4": 25,
    }
    assert all(words["open"] == sum(words.values()) for words in counted.values())


def test_words_of_cells():
    """FcDEC has .763 on USPS, DSCDAN .869, LADDER-IM .384 on 20news."""
    rows = [
        row("FcDEC", "usps", "", acc=0.77),
        row("FcDEC-DA", "usps", "", acc=0.9),
        row("DSCDAN", "usps", "", acc=0.9),
        row("LADDER-IM", "20news", "", acc=0.9),
        row("LADDER-IM", "20news-l2", "", acc=0.9),
        row("FcDEC", "mnist", "tol=0.1", acc=0.9),
        *(row("ASPC-DA", "usps", "", acc=0.98, seed=seed) for seed in range(3)),
    ]
    paper = published.read_paper()
    counted = results_page.tally(published.scores(rows, published.wanted(paper)), paper)
    total = {word: sum(some[word] for some in counted.values()) for word in results_page.WORDS}
    assert total == {"met": 2, "short": 1, "above": 2, "open": 185}
    text = results_page.results_page(rows, paper)
    assert "have a row, 1 of them by 3 seeds or more:" in " ".join(text.split())
    assert "5 of the 190 cells" in text and "| all | 190 | 2 | 1 | 2 | 185 | 1 |" in text
    line = "| FcDEC | usps | 0.7700 (1) | 0.763 | met | 0.4000 (1) | 0.784 | short | 0 | 1.0 |"
    assert line in text
    assert "| DEC, as FcDEC | usps | 0.7700 (1) | 0.762 | – | 0.4000 (1) | 0.767 | – |" in text
    assert "Published only, no method here: AC-Zell, CSC, JULE" in text


def test_published_cells_at_other_settings():
    rows = [
        row("ASPC-DA", "mnist", "shift_pixels=2.0", acc=0.99, nmi=0.97),
        row("ASPC-DA", "mnist", "", acc=0.5, seconds_cluster=250),
    ]
    table = published.tables(rows, published.read_paper(), "aspc-text")
    ours = table[("mnist", "acc", "ours")]
    assert list(ours) == ["0.9900 (1)", "", "0.5000 (1)"]
    assert list(table.loc["at iteration 100", ("mnist", "seconds_cluster")]) == [
        "250.0 (1)",
        "200",
        "+50.0",
        "",
    ]
    assert published.tables(rows, published.read_paper(), "aspc-3").attrs["covered"] == 2


def test_a_paper_of_ten_trials_gets_ten():
    paper = published.read_paper()
    trials = {name: published.trials_of(name, paper) for name in paper.table.unique()}
    assert {name for name, n in trials.items() if n == 10} == {
        "dscdan-3",
        "dscdan-4",
        "dec-keras-readme",
    }
    assert set(trials.values()) == {5, 10}
