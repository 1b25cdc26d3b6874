"""The campaign: its files, its order, what it leaves out, its numbers. A stand-in does the runs."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import datasets
import run_exp
from common import paths
from common.errors import UserError
from datasets import Dataset
from experiments import campaign, ledger, plan
from experiments import sweep as engine

ROOT = Path(run_exp.__file__).resolve().parent
CONFIGS = ROOT / "configs" / "campaign"

# What main.py does, in a process without TensorFlow.
STAND_IN = """
import json, os, pathlib, sys

words = sys.argv[1:]
told = {name: words[len(words) - words[::-1].index("--" + name)]  # the last one counts
        for name in ("save-dir", "cache-dir", "method", "dataset", "seed", "threads")}
told |= {"nice": os.nice(0), "cores": len(os.sched_getaffinity(0)),
         "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}
session = pathlib.Path("/proc/self/autogroup")  # absent or empty where sessions are not weighed
weight = session.read_text().split()[-1:] if session.exists() else []
told["session"] = weight[0] if weight else "19"
with open(pathlib.Path(__file__).parent / "calls", "a") as file:
    file.write(json.dumps(told) + "\\n")
if told["method"] == "SC-LS":
    sys.exit(4)
folder = pathlib.Path(told["save-dir"])
result = {"method": told["method"], "dataset": told["dataset"], "seed": int(told["seed"]),
          "status": "ok", "acc": 0.5, "nmi": 0.25, "seconds_total": 1.5, "config_hash": folder.name,
          "finished": "2026-01-01T00:00:00+00:00"}
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project folder of our own, with a stand-in for main.py and small data."""
    monkeypatch.setattr(paths, "ROOT", str(tmp_path))
    monkeypatch.setattr(paths, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(campaign, "FOLDER", str(tmp_path / "campaign"))
    monkeypatch.setattr(campaign.os, "nice", lambda step: step)
    monkeypatch.setattr(plan, "estimate", lambda config, data, threads: [60.0, 120.0])

    def load(name, data_dir=None, download=True):
        if name == "ytf":
            raise UserError("ytf: bring your own file")
        side = {"digits": 8, "usps": 16}.get(name, 28)
        n = 20000 if name in ("mnist", "fmnist") else 30
        x = np.broadcast_to(np.linspace(0, 1, side**2, dtype=np.float32), (n, side**2))
        return Dataset(x.reshape(n, side, side, 1), np.arange(n) % 10, name, 10)

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(Dataset, "sha256", "5a" * 32)
    monkeypatch.setattr(plan, "hash_array", lambda array: "5a")
    (tmp_path / "main.py").write_text(STAND_IN)
    (tmp_path / "campaign").mkdir()
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run run_exp.py --campaign with further words in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["run_exp.py", "--campaign", *map(str, words)])
        capsys.readouterr()
        try:
            status = run_exp.main()
        except SystemExit as end:  # argparse
            status = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, lines=out.splitlines(), err=err)

    return run


def block(home, name, **sweep):
    (home / "campaign" / f"{name}.json").write_text(json.dumps({"datasets": ["digits"]} | sweep))


def calls(home):
    path = home / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def called(home):
    return [f"{call['method']} {call['seed']}" for call in calls(home)]


def blocks_of(rows=(), runs_dir="runs"):
    words = ["--jobs", "1", "--threads", "1"]
    return campaign.read_blocks(words, rows, runs_dir)


def trials_of():
    return [trial for one in blocks_of()[0] for trial in one.left]


def row_of(trial, **more):
    """A row of a trial, as another machine may have made it."""
    about = campaign.about(trial.record)
    return ledger.as_row(about | {"status": "ok", "acc": 0.75} | more)


def rows(home):
    return ledger.read_rows(home / "results" / "results.csv")


# ---- order, and what is left out --------------------------------------------------------------


def test_the_order_is_that_of_the_files_names(home, run):
    block(home, "2", methods=["AC", "k-means"], seeds=[0])
    block(home, "1b", methods=["GMM"], seeds=[0])
    block(home, "1a", methods=["NMF", "k-means"], seeds=[1, 0])
    done = run("--jobs", 1)
    assert (done.status, done.err) == (0, "")
    assert called(home) == ["NMF 1", "k-means 1", "NMF 0", "k-means 0", "GMM 0", "AC 0"]
    assert {row["method"] for row in rows(home)} == {"NMF", "k-means", "GMM", "AC"}
    assert not (home / "README.md").exists()
    again = run("--jobs", 1)
    assert again.status == 0 and "campaign: 6 runs have a row or a result" in again.out
    assert len(calls(home)) == 6


def test_a_run_with_a_row_of_another_machine_is_left_out(home, run):
    block(home, "1", methods=["k-means", "NMF", "GMM", "SC-Ncut"], seeds=[0])
    kmeans, nmf, gmm, _ = trials_of()
    ledger.add(
        home / "results" / "results.csv",
        [
            row_of(kmeans),
            row_of(nmf, status="failed", reason="killed"),
            row_of(gmm, config_hash="another"),
        ],
    )
    assert run("--jobs", 1).status == 0
    assert called(home) == ["NMF 0", "GMM 0", "SC-Ncut 0"]


def test_a_row_that_comes_meanwhile_counts(home):
    block(home, "1", methods=["k-means", "NMF", "GMM"], seeds=[0])
    trials, started = trials_of(), []
    results, runs = home / "results" / "results.csv", home / "runs"

    class Place:
        def has_capacity(self):
            return started == [] or (Path(started[-1].folder) / "result.json").exists()

        def start(self, trial):
            started.append(trial)
            trial.folder = str(runs / trial.record["method"])

        def poll(self, trial):
            ledger.add(results, [row_of(trials[1])])
            Path(trial.folder).mkdir(parents=True)
            result = row_of(trial, seconds_total=1) | {"acc": 0.5, "nmi": 0.5, "seconds_total": 1}
            (Path(trial.folder) / "result.json").write_text(json.dumps(result))
            return engine.Outcome()

        def stop(self):
            pass

    assert campaign.carry_out(trials, Place(), 0, results, runs) == []
    assert [trial.record["method"] for trial in started] == ["k-means", "GMM"]
    assert len(ledger.read_rows(results)) == 3


def test_a_failed_run_stops_no_other(home, run):
    block(home, "1", methods=["SC-LS", "k-means"], seeds=[0])
    done = run("--jobs", 1)
    assert (done.status, done.err) == (1, "1 failed: SC-LS digits seed 0\n")
    assert {row["method"]: row["status"] for row in rows(home)} == {
        "SC-LS": "failed",
        "k-means": "ok",
    }


def test_run_folders_outside_the_checkout(home, run):
    block(home, "1", methods=["FcDEC"], seeds=[0])
    away = home / "away" / "runs"
    assert run("--runs-dir", away, "--jobs", 1).status == 0
    (call,) = calls(home)
    assert Path(call["save-dir"]).parent == away
    assert Path(call["cache-dir"]) == home / "away" / "pretrained"
    assert len(rows(home)) == 1 and not (home / "results" / "runs").exists()
    (trial,) = blocks_of(runs_dir=str(away))[0][0].done  # by its folder: the row is of a stand-in
    assert trial.folder == call["save-dir"]
    block(home, "1", methods=["FcDEC"], seeds=[1])
    run("--runs-dir", away, "--jobs", 1, "--cache-dir", home / "shared")
    assert calls(home)[1]["cache-dir"] == str(home / "shared")


def test_lowest_priority_one_thread_and_one_core_each(home, new_process):
    """In a process of its own, which cannot get its priority back."""
    block(home, "1", methods=["k-means", "NMF"], seeds=[0])
    code = f"""
import contextlib, io, os, sys
os.environ.pop("OMP_NUM_THREADS", None)
import run_exp
from common import paths
from experiments import campaign
campaign.FOLDER, paths.RESULTS = {str(home / "campaign")!r}, {str(home / "results")!r}
paths.ROOT = {str(home)!r}
sys.argv = ["run_exp.py", "--campaign"]
with contextlib.redirect_stdout(io.StringIO()):
    sys.exit(run_exp.main())
"""
    new_process(code)
    assert (home / "errors of the new process").read_text() == ""
    found = [(call["nice"], call["threads"], call["OMP_NUM_THREADS"]) for call in calls(home)]
    assert found == [(19, "1", "1")] * 2
    assert [(call["cores"], call["session"]) for call in calls(home)] == [(1, "19"), (1, "19")]


# ---- status -----------------------------------------------------------------------------------


def test_status(home, run):
    """Estimates: 60 minutes of pretraining, 120 of clustering."""
    block(home, "1-first", methods=["FcDEC", "FcIDEC"], seeds=[0])
    block(home, "2", methods=["FcIDEC", "FcDCN"], seeds=[0, 1])  # FcIDEC 0 is in the first
    done = run("--status", "--jobs", 1)
    assert (done.status, done.err) == (0, "")
    assert [line.split() for line in done.lines[:4]] == [
        ["block", "done", "to", "do", "hours", "left"],
        ["1-first", "0", "2", "5.0"],  # 60 + 2 * 120 minutes
        ["2", "0", "3", "7.0"],  # FcDCN 0 finds the weights; FcIDEC 1 and FcDCN 1 share theirs
        ["total", "0", "5", "12.0"],
    ]
    assert done.lines[4:] == ["hours: 1 runs at a time, at most"]
    assert run("--status", "--jobs", 2).lines[3].split() == ["total", "0", "5", "6.0"]
    assert not (home / "results").exists() and calls(home) == []


def test_status_knows_what_is_done_and_how_long_that_took(home, run):
    block(home, "1", methods=["FcDEC", "FcIDEC", "FcDCN"], seeds=[0])
    first, second, _ = trials_of()
    results = home / "results" / "results.csv"
    ledger.add(results, [row_of(first, seconds_total=2700, threads=2)])  # 90 of 180 minutes
    folder = home / "results" / "runs" / os.path.basename(second.folder)
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(
        json.dumps(row_of(second) | {"seconds_total": 5400, "threads": 1})
    )
    before = results.read_bytes()
    done = run("--status", "--jobs", 1)
    assert done.lines[1].split() == ["1", "2", "1", "1.5"]  # half of 60 + 120 minutes
    assert done.lines[-1] == "hours: 1 runs at a time, by the times of 2 done runs"
    assert results.read_bytes() == before
    weights = Path(trials_of()[2].weights)
    weights.parent.mkdir(parents=True)
    weights.write_text("")
    assert run("--status", "--jobs", 1).lines[1].split() == ["1", "2", "1", "1.0"]


# ---- what is refused, what is told ------------------------------------------------------------


@pytest.mark.parametrize(
    "sweep, told",
    [
        ({"method": ["AC"]}, ["2.json", "unknown key 'method'", "did you mean 'methods'?"]),
        ({"settings": {"tolerant": 1}}, ["2.json", "unknown setting 'tolerant'"]),
        ({"table": "decda-22"}, ["2.json: unknown table 'decda-22'", "did you mean 'decda-2'?"]),
        ({"methods": ["FcDECC"]}, ["2.json: unknown method 'FcDECC'"]),
    ],
)
@pytest.mark.parametrize("words", [[], ["--status"]])
def test_a_mistake_in_a_file_is_one_line_before_anything_starts(home, run, sweep, told, words):
    block(home, "1", methods=["k-means"], seeds=[0])
    block(home, "2", **sweep)
    done = run(*words)
    assert done.status == 2 and calls(home) == [] and not (home / "results").exists()
    (line,) = done.err.splitlines()
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    "words, told",
    [
        ("--methods AC", "--campaign and --methods: expected only one"),
        ("--seeds 0", "--campaign and --seeds: expected only one"),
        ("more.json", "--campaign and --file: expected only one"),
        ("--dry-run", "--campaign and --dry-run: expected only one"),
        ("--ray auto", "--campaign and --ray: expected only one"),
        ("--tables", "--campaign and --tables: expected only one"),
        ("--frobnicate", "unrecognized arguments: --frobnicate"),
        ("--jobs 0", "jobs=0: expected an integer >= 1"),
        ("--threads 0", "threads=0: expected an integer >= 1"),
        ("--status --import x", "not allowed with"),
        ("--import missing", "--import 'missing': no such folder"),
        ("--import . --maxiter 3", "'--maxiter': --import takes no further options"),
    ],
)
def test_a_mistake_in_the_command_line(home, run, words, told):
    block(home, "1", methods=["k-means"], seeds=[0])
    done = run(*words.split())
    assert done.status == 2 and calls(home) == []
    (line,) = done.err.splitlines()
    assert told in line


def test_no_files(home, run):
    done = run("--status")
    assert done.status == 2 and "no sweep files in" in done.err


def test_data_that_cannot_be_had_are_told_and_passed_over(home, run):
    block(home, "1", methods=["k-means"], datasets=["ytf", "digits"], seeds=[0])
    block(home, "2", methods=["NMF"], datasets=["ytf"], seeds=[0])
    done = run("--status", "--jobs", 1)
    assert done.status == 0
    assert done.err == "run_exp.py: left out: ytf: bring your own file\n"
    assert [line.split()[:3] for line in done.lines[1:4]] == [
        ["1", "0", "1"],
        ["2", "0", "0"],
        ["total", "0", "1"],
    ]
    assert done.lines[-1] == "not counted: the runs on data sets that were not found (1)"
    done = run("--jobs", 1)
    assert done.status == 2 and called(home) == ["k-means 0"]


def test_a_damaged_ledger_is_refused(home, run):
    block(home, "1", methods=["k-means"], seeds=[0])
    (home / "results").mkdir()
    (home / "results" / "results.csv").write_text("method,dataset\nk-means")
    for words in ([], ["--status"], ["--import", home]):
        done = run(*words)
        assert done.status == 2 and "mend or remove the file" in done.err
    assert calls(home) == []


# ---- import -----------------------------------------------------------------------------------


def keep(folder, record):
    folder.mkdir(parents=True)
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / "result.json").write_text(text)


def test_import(home, run):
    block(home, "1", methods=["k-means", "NMF", "GMM", "AC", "SC-Ncut", "SC-LS"], seeds=[0])
    kmeans, nmf, gmm, ac, ncut, landmarks = trials_of()
    results = home / "results" / "results.csv"
    old = {"finished": "2026-01-01T00:00:00+00:00", "acc": 0.25}
    ledger.add(results, [row_of(kmeans, **old), row_of(nmf, status="failed", **old)])
    runs = home / "elsewhere" / "results" / "runs"
    new = {"finished": "2026-02-01T00:00:00+00:00", "acc": 0.5}
    keep(runs / "a", row_of(kmeans, **new))  # done here as well: ours stays
    keep(runs / "b", row_of(nmf, **new))  # failed here
    keep(runs / "c", row_of(gmm, **new))  # not here
    keep(runs / "d", row_of(ac, status="failed", **new))
    keep(runs / "e", '{"method": "SC-Nc')
    keep(runs / "f", row_of(landmarks, **new) | {"config_hash": ""})
    keep(runs / "g", row_of(ncut, **new) | {"acc": 1.5})
    keep(home / "elsewhere" / "mine", row_of(ac, **new))  # not among the checkout's runs

    done = run("--import", home / "elsewhere")
    assert done.status == 0
    assert done.out.startswith("3 finished runs found, 2 of them new; 3 rows in ")
    assert [line.partition(": ")[0] for line in done.err.splitlines()] == ["warning"] * 3
    for part in (
        f"left out {runs / 'e'}",
        f"left out {runs / 'g'}",
        "'1.5'",
        f"left out {runs / 'f' / 'result.json'}: no config_hash",
    ):
        assert part in done.err
    found = {row["method"]: (row["status"], row["acc"]) for row in rows(home)}
    assert found == {"k-means": ("ok", "0.25"), "NMF": ("ok", "0.5"), "GMM": ("ok", "0.5")}

    before = results.read_bytes()
    assert "3 finished runs found, 0 of them new; 3 rows" in run("--import", runs).out
    assert results.read_bytes() == before
    assert run("--jobs", 1).status == 1  # SC-LS fails, as the stand-in has it
    assert called(home) == ["AC 0", "SC-Ncut 0", "SC-LS 0"]


# ---- grids in sweep files ---------------------------------------------------------------------


def settings_of(home, method, *names, **settings):
    """The values of settings in every run of a sweep file."""
    block(home, "1", methods=[method], seeds=[0], settings=settings)
    return [tuple(trial.record["config"][name] for name in names) for trial in trials_of()]


def test_lists_of_settings_make_a_grid(home):
    found = settings_of(
        home,
        "FcDEC-DA",
        "rotation",
        "shift",
        "n_init",
        "aug_pretrain",
        rotation=[0, 10, 20],
        shift=[0.0, 0.1],
        n_init=7,
        aug_pretrain=[True, False],
    )
    assert found == [
        (rotation, shift, 7, augmented)
        for rotation in (0, 10, 20)
        for shift in (0.0, 0.1)
        for augmented in (True, False)
    ]


@pytest.mark.parametrize(
    "told, widths",
    [
        ([9, 8], [[9, 8]]),  # a list itself
        ([[9, 8]], [[9, 8]]),
        ([[9, 8], [7, 6]], [[9, 8], [7, 6]]),
    ],
)
def test_a_setting_that_is_a_list_takes_a_list_of_lists(home, told, widths):
    found = settings_of(home, "IMSAT-RPT", "widths", widths=told)
    assert [list(*value) for value in found] == widths


def test_a_list_of_tables(home):
    block(home, "1", table=["decda-5", "aspc-6"], datasets=["usps", "mnist-test"], seeds=[4])
    methods = ["AE+k-means", "DAE+k-means", "AE+k-means-DA"] * 2
    methods += ["ASPC-DA-SC", "ASPC-DA-AC", "ASPC-DA-GMM", "ASPC-DA-RCC"] * 2
    assert [trial.record["method"] for trial in trials_of()] == methods


# ---- the files of this project ----------------------------------------------------------------


def test_the_projects_own_files(home, monkeypatch):
    """How many runs each file adds to those before it."""
    monkeypatch.setattr(campaign, "FOLDER", str(CONFIGS))
    blocks, complaints = blocks_of()
    assert complaints == []
    assert {one.name: len(one.left) for one in blocks} == {
        "1a-usps-seed0": 35,
        "1b-mnist-test-seed0": 35,
        "1c-usps-da-seeds12": 22,
        "1d-mnist-test-da-seeds12": 22,
        "1e-usps-others-seeds12": 48,
        "1f-mnist-test-others-seeds12": 48,
        "1g-usps-n-init-200": 9,
        "1h-usps-fcidec-da-adam": 5,
        "2a-mnist-ladder-imsat": 12,
        "2b-20news": 30,
        "2c-usps-dscdan": 15,
        "2d-mnist-test-dscdan": 15,
        "2e-mnist-kingdra": 3,
        "2f-dscdan-as-released": 2,
        "2g-mnist-train-stage-1": 2,
        "2h-usps-dscdan-2-neighbors": 1,
        "3a-mnist-seed0": 5,
        "3b-fmnist-seed0": 5,
        "3c-mnist-fmnist-rest-seed0": 2,
        "3d-mnist-train": 2,
        "4a-usps-seeds34": 70,
        "4b-mnist-test-seeds34": 70,
        "4c-usps-n-init-200-seeds34": 6,
    }
    seeds, questions = {}, ("1h", "2f", "2g", "2h")
    for one in blocks:
        for trial in [] if one.name.startswith(questions) else one.left:
            about = (trial.record["method"], trial.record["dataset"])
            config = trial.record["config"]
            stages = (config.get("aug_pretrain"), config.get("aug_cluster"), config.get("n_init"))
            seeds.setdefault((*about, *stages), []).append(trial.record["seed"])
    of_block_1 = {cell: some for cell, some in seeds.items() if cell[1] in ("usps", "mnist-test")}
    assert all(sorted(some) in ([0, 1, 2], [0, 1, 2, 3, 4]) for some in of_block_1.values())
    assert sum(sorted(some) == [0, 1, 2, 3, 4] for some in of_block_1.values()) == 2 * 35 + 3
