"""The sweep: its plan, its processes, its ledger.

Folders are temporary. Most sweeps start a stand-in for main.py that does as its method's name
says; one sweep starts the real thing.
"""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import ledger
import main as single
import run_exp
import sweep as engine
from datasets import DATASETS, Dataset
from errors import FolderInUse, UserError
from models import METHODS
from runs import finished

ROOT = Path(run_exp.__file__).resolve().parent

# What main.py does, in a process without TensorFlow. An outcome a line in the file `orders`, under
# METHOD-SEED or METHOD, the first one first; "ok" if there is none left.
STAND_IN = """
import json, os, pathlib, signal, sys, time

words = sys.argv[1:]
folder = pathlib.Path(words[words.index("--save-dir") + 1])
method, seed = words[words.index("--method") + 1], words[words.index("--seed") + 1]
home = pathlib.Path(__file__).parent
with open(home / "calls", "a") as file:
    cores = sorted(os.sched_getaffinity(0))
    file.write(json.dumps([method, seed, os.getpid(), cores, words]) + "\\n")
orders = home / "orders" / method
left = orders.read_text().split() if orders.exists() else []
order = left.pop(0) if left else "ok"
if orders.exists():
    orders.write_text("\\n".join(left))
if order == "sleep":
    time.sleep(300)
if order == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if order == "silent":
    sys.exit(4)
if order == "busy":
    sys.exit("main.py: error: in use") if not sys.stderr.write("in use\\n") else sys.exit(75)
if order == "fails":
    sys.stderr.write("some warning\\nmain.py: training failed: the loss is not finite\\n\\n")
    sys.exit(3)
if order == "lies":
    sys.exit(0)
result = {"method": method, "dataset": words[words.index("--dataset") + 1], "seed": int(seed),
          "status": "ok", "acc": 0.5, "nmi": 0.25, "seconds_total": 1.5, "config_hash": folder.name,
          "finished": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
(folder / "result.json").write_text(json.dumps(result))
"""

# main.py itself, with folders beside this file; its t-SNE would take longer than all the rest.
REAL = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import main, report
main.ROOT = os.path.dirname(os.path.abspath(__file__))
report.POINTS = 40
sys.exit(main.main())
"""

README = f"Ours\n\n{ledger.BEGIN}\nold\n{ledger.END}\n\nBelow\n"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A project folder of our own."""
    monkeypatch.setattr(run_exp, "ROOT", str(tmp_path))
    monkeypatch.setattr(engine, "ROOT", str(tmp_path))
    monkeypatch.setattr(engine, "PAUSE", 0.1)
    monkeypatch.setattr(run_exp, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(single, "ROOT", str(tmp_path))
    (tmp_path / "README.md").write_text(README)
    return tmp_path


@pytest.fixture
def home(folders, monkeypatch):
    """The project folder with a stand-in for main.py; no real data set is read."""
    monkeypatch.setattr(single, "estimate", lambda config, data, threads: [1.0, 2.0])
    rng = np.random.default_rng(0)

    def load(name, data_dir=None, download=True):
        side = {"digits": 8, "usps": 16}.get(name, 28)
        n = 20000 if name in ("mnist", "fmnist") else 30
        x = np.broadcast_to(rng.random((1, side, side, 1), np.float32), (n, side, side, 1))
        return Dataset(x, np.arange(n) % 10, name, 10)

    monkeypatch.setattr(single.datasets, "load", load)
    monkeypatch.setattr(Dataset, "sha256", "5a" * 32)
    (folders / "main.py").write_text(STAND_IN)
    (folders / "orders").mkdir()
    return folders


@pytest.fixture
def sweep(folders, monkeypatch, capsys):
    """Run run_exp.py's words in this process."""

    def run(*words):
        words = [word for part in words for word in str(part).split()]
        monkeypatch.setattr(sys, "argv", ["run_exp.py", *words])
        capsys.readouterr()
        try:
            status = run_exp.main()
        except SystemExit as end:  # argparse
            status = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err, lines=err.splitlines())

    return run


def calls(home):
    """What was started: (method, seed, pid, cores, words)."""
    path = home / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def order(home, method, *outcomes):
    (home / "orders" / method).write_text("\n".join(outcomes))


def results(home):
    return pd.read_csv(home / "results" / "results.csv")


def trials_of(words):
    """The plan of run_exp.py's words."""
    args, rest = run_exp.parser().parse_known_args(words.split())
    trials, complaints = run_exp.plan(args, rest)
    assert complaints == []
    return trials


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, told",
    [
        ("--methods FcDEC ConvDEC-DAA", ["'ConvDEC-DAA'", "did you mean 'ConvDEC-DA'?"]),
        ("--datasets usps minst", ["'minst'", "did you mean 'mnist'?"]),
        ("--table decda-22", ["'decda-22'", "did you mean 'decda-2'?"]),
        ("--table decda-2 --methods FcDECC", ["'FcDECC'", "did you mean 'FcDEC'?"]),
        ("--table decda-2 --datasets minst", ["'minst'", "did you mean 'mnist'?"]),
        ("--frobnicate 3", ["unrecognized arguments", "--frobnicate"]),
        ("--tables --maxiter 3", ["'--maxiter'", "no further options"]),
        ("--jobs 0", ["jobs=0", "an integer >= 1"]),
        ("--jobs two", ["--jobs", "'two'"]),
        ("--trials 0", ["trials=0", "an integer >= 1"]),
        ("--trials 2 --seeds 1", ["--seeds", "--trials"]),
        ("--seeds 0 -1", ["seed=-1", "0 to 2147483647"]),
        ("--seeds 2147483648", ["seed=2147483648", "0 to 2147483647"]),
        ("--threads 0", ["threads=0", "an integer >= 1"]),
        ("--threads -1", ["threads=-1", "an integer >= 1"]),
        ("--timeout -1", ["timeout=-1"]),
        ("--timeout nan", ["timeout=nan"]),
        ("--lr -1", ["lr=-1.0", "> 0"]),
        ("--tol abc", ["--tol", "'abc'"]),
        ("--optimizer foo", ["unknown optimizer 'foo'", "sgd, adam"]),
        ("--batch-size 0", ["batch_size=0", ">= 1"]),
        ("--checkpoint-seconds -1", ["checkpoint_seconds=-1.0", ">= 0"]),
        ("--pretrained-weights missing.h5", ["'missing.h5'", "weights file"]),
        ("--save-dir here", ["--save-dir"]),
        ("--save-dir=here", ["--save-dir"]),
        ("-t", ["-t"]),
        ("--test", ["--test"]),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(sweep, home, monkeypatch, words, told):
    monkeypatch.setattr(engine, "Process", None)
    done = sweep(words)
    assert done.status == 2
    (line,) = done.lines
    for part in told:
        assert part in line
    assert not (home / "results").exists()


def test_a_table_that_none_of_our_methods_is_in(sweep):
    """It exists, so it is not an unknown one that is a choice all the same."""
    done = sweep("--table idec-2 --dry-run")
    assert done.status in (0, 2)
    assert "unknown table 'idec-2'" not in done.err


# ---- the plan ---------------------------------------------------------------------------------


def test_the_default_plan(sweep, home):
    done = sweep("--dry-run")
    assert (done.status, done.err) == (0, "")
    *lines, last = done.out.splitlines()
    assert len(lines) == 100
    named = {line.removeprefix("to do ").partition(" seed ")[0].strip() for line in lines}
    methods = ("FcDEC-DA", "FcIDEC-DA", "FcDCN-DA", "ConvDEC-DA", "ConvIDEC-DA")
    sets = ("mnist", "mnist-test", "usps", "fmnist")
    assert named == {f"{method} {name}" for method in methods for name in sets}
    for seed in range(5):
        assert sum(f" seed {seed} " in line for line in lines) == 20
    assert last.startswith("100 trials, 100 to do: at most 4.0 hours")  # 40 pretrainings
    assert not (home / "results").exists() and calls(home) == []


@pytest.mark.parametrize(
    "words, count",
    [
        ("--trials 1", 20),
        ("--trials 2 --methods FcDEC", 8),
        ("--seeds 3 7 9 --datasets usps digits --methods FcDEC ConvDEC", 12),
        ("--table decda-2 --trials 1 --datasets usps", 20),
        ("--table decda-2 --trials 1", 80),
        ("--table decda-2 --trials 2 --datasets usps --methods FcDEC", 6),
    ],
)
def test_how_many_trials(home, words, count):
    trials = trials_of(words)
    assert len(trials) == count
    assert len({trial.folder for trial in trials}) == count  # each in a folder of its own
    assert len({tuple(trial.command()) for trial in trials}) == count


def test_seeds(home):
    trials = trials_of("--seeds 3 7 --methods FcDEC --datasets usps")
    assert [trial.record["seed"] for trial in trials] == [3, 7]
    assert [t.words[t.words.index("--seed") + 1] for t in trials] == ["3", "7"]


def test_settings_reach_every_trial(home):
    for trial in trials_of("--datasets usps --trials 1 --maxiter 150 --pretrain-epochs=1"):
        config = trial.record["config"]
        assert (config["maxiter"], config["pretrain_epochs"]) == (150, 1)
        again = single.parser().parse_args(trial.command())
        assert (again.maxiter, again.pretrain_epochs, again.save_dir) == (150, 1, trial.folder)
        assert again.quiet


def test_a_trials_folder_is_that_of_main(home):
    """A run made by main.py is not made again by a sweep."""
    (trial,) = trials_of("--methods FcDEC --datasets usps --seeds 3")
    words = ["--method", "FcDEC", "--dataset", "usps", "--seed", "3"]
    args = single.parser().parse_args(words)
    data = single.load_data(args)
    assert trial.folder == single.folder_of(args, data, single.resolve(args, data))
    assert Path(trial.folder).parent == home / "results" / "runs"


def test_a_table_of_one_stage_variants(home):
    """DEC-DA's Table 2: every method plain, augmented in one stage and, as -DA, in both."""
    trials = trials_of("--table decda-2 --datasets usps --trials 1")
    found = set()
    for trial in trials:
        config = trial.record["config"]
        flags = (config["aug_pretrain"], config["aug_cluster"])
        found.add((trial.record["method"], flags))
        one_stage = flags[0] != flags[1]
        assert [word for word in trial.words if "aug-" in word] == one_stage * [
            "--aug-pretrain" if flags[0] else "--no-aug-pretrain",
            "--aug-cluster" if flags[1] else "--no-aug-cluster",
        ]
    bases = ("FcDEC", "FcIDEC", "FcDCN", "ConvDEC", "ConvIDEC")
    plain = {
        (base, (a, b)) for base in bases for a, b in [(False, False), (False, True), (True, False)]
    }
    assert found == plain | {(f"{base}-DA", (True, True)) for base in bases}


@pytest.mark.parametrize("table", ["decda-2", "decda-3", "decda-4"])
def test_the_runs_of_a_table_fill_it(home, table):
    """Rows with the methods, flags and data sets of the plan cover every cell that we can have."""
    rows = []
    for trial in trials_of(f"--table {table} --trials 1"):
        config = trial.record["config"]
        rows.append({"method": trial.record["method"], "dataset": trial.record["dataset"],
                     "seed": 0, "status": "ok", "acc": 0.5, "nmi": 0.5, "seconds_total": 10,
                     "aug_pretrain": config["aug_pretrain"], "aug_cluster": config["aug_cluster"],
                     "config_hash": trial.folder})  # fmt: skip
    made = ledger.tables(rows, ledger.read_paper(), table)
    paper = ledger.read_paper()
    wanted = (
        (paper.table == table)
        & paper.method.isin(list(METHODS))
        & paper.dataset.isin(list(DATASETS))
        & paper.metric.isin(list(ledger.SOURCE))
    )
    assert wanted.sum() <= made.attrs["covered"] <= made.attrs["implemented"]


def test_same_pretraining_is_known_as_such(home):
    """The ones that would wait for each other's pretraining are told apart from the others."""
    words = "--methods FcDEC FcIDEC FcDCN ConvDEC FcDEC-DA --datasets usps mnist-test --trials 2"
    shared = {}
    for trial in trials_of(words):
        shared.setdefault(trial.weights, set()).add(trial.name)
    assert {"FcDEC usps seed 0", "FcIDEC usps seed 0", "FcDCN usps seed 0"} in shared.values()
    assert len(shared) == 3 * 2 * 2  # plain fc, conv, augmented fc; data sets; seeds


# ---- the processes ----------------------------------------------------------------------------

TWO = "--methods FcDEC ConvDEC --datasets digits --trials 1"


def test_a_sweep(sweep, home):
    done = sweep(TWO, "--maxiter 150")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("0 trials are done, 2 to do")
    assert done.out.count("acc 0.5000 nmi 0.2500 2 s") == 2
    assert [call[0] for call in calls(home)] == ["FcDEC", "ConvDEC"]
    assert list(results(home).method) == ["ConvDEC", "FcDEC"]
    assert "old" not in (home / "README.md").read_text()
    assert (home / "results" / "tables.md").exists()

    again = sweep(TWO, "--maxiter 150")
    assert (again.status, again.err) == (0, "")
    assert again.out.startswith("2 trials are done, 0 to do")
    assert len(calls(home)) == 2
    dry = sweep(TWO, "--maxiter 150 --dry-run")
    assert dry.out.count("\ndone ") + dry.out.startswith("done ") == 2
    assert "2 trials, 0 to do: at most 0.0 hours" in dry.out

    other = sweep(TWO, "--maxiter 151")
    assert other.status == 0 and len(calls(home)) == 4 and len(results(home)) == 4


def test_each_process_has_its_cores(sweep, home):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core")
    assert sweep(TWO, "--jobs 2").status == 0
    (one, other) = (set(call[3]) for call in calls(home))
    assert not one & other and one | other <= cores
    for call in calls(home):
        words = call[4]
        assert words[words.index("--threads") + 1] == str(len(cores) // 2)
    assert os.sched_getaffinity(0) == cores


def test_more_jobs_than_cores_or_trials(sweep, home):
    assert sweep(TWO, "--jobs", len(os.sched_getaffinity(0)) + 3).status == 0
    assert len(calls(home)) == 2
    assert {words[words.index("--threads") + 1] for *_, words in calls(home)} == {"1"}


def test_a_failed_trial_is_a_row_and_stops_no_other(sweep, home):
    why = {
        "FcDEC": ("fails", "main.py: training failed: the loss is not finite"),
        "FcIDEC": ("killed", "killed by SIGKILL"),
        "FcDCN": ("silent", "exit status 4"),
        "ConvDEC": ("lies", "exit status 0"),
    }
    for method, (outcome, _) in why.items():
        order(home, method, outcome)
    words = f"--methods {' '.join(why)} ConvIDEC --datasets digits --trials 1"
    done = sweep(words)
    assert done.status == 1
    names = [f"{method} digits seed 0" for method in why]
    assert done.err == f"4 failed: {'; '.join(names)}\n"
    table = results(home).set_index("method")
    assert table.status["ConvIDEC"] == "ok"
    for name, (method, (_, reason)) in zip(names, why.items(), strict=True):
        (line,) = [line for line in done.out.splitlines() if line.startswith(f"failed {name}")]
        assert line.endswith(reason)
        assert (table.status[method], table.reason[method]) == ("failed", reason)
        assert np.isnan(table.acc[method])

    again = sweep(words)  # they are tried again, and only they
    assert (again.status, again.err) == (0, "")
    assert [call[0] for call in calls(home)] == [*why, "ConvIDEC", *why]


def test_retries(sweep, home):
    order(home, "FcDEC", "fails", "fails")
    done = sweep("--methods FcDEC --datasets digits --trials 1 --retries 2")
    assert (done.status, done.err) == (0, "")
    assert len(calls(home)) == 3
    assert list(results(home).status) == ["ok"]
    order(home, "ConvDEC", "fails", "fails", "fails")
    done = sweep("--methods ConvDEC --datasets digits --trials 1 --retries 1")
    assert done.status == 1
    assert len(calls(home)) == 5


def gone(pid):
    """Whether a process has ended, waiting a little for it."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def test_timeout(sweep, home):
    order(home, "FcDEC", "sleep")
    begin = time.monotonic()
    done = sweep("--methods FcDEC --datasets digits --trials 1 --timeout 0.02")
    assert done.status == 1
    assert 1.2 <= time.monotonic() - begin < 60
    (row,) = results(home).itertuples()
    assert row.status == "failed"
    assert row.reason == "stopped after 0.02 minutes"
    assert all(gone(pid) for _, _, pid, *_ in calls(home))
    order(home, "FcDEC")
    assert sweep("--methods FcDEC --datasets digits --trials 1 --timeout 5").status == 0


def test_a_folder_in_use_is_waited_for(sweep, home):
    order(home, "FcDEC", "busy")
    done = sweep(TWO)
    assert (done.status, done.err) == (0, "")
    assert [call[0] for call in calls(home)] == ["FcDEC", "ConvDEC", "FcDEC"]
    assert set(results(home).status) == {"ok"}
    assert FolderInUse.status == 75


def test_an_interrupt_stops_the_trials(sweep, home, monkeypatch):
    order(home, "FcDEC", "sleep")
    real = time.sleep

    def sleep(seconds):
        real(seconds)
        if calls(home):
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    done = sweep("--methods FcDEC --datasets digits --trials 1")
    assert done.status == 130
    assert done.err == "run_exp.py: interrupted; the same command goes on where it stopped\n"
    ((_, _, pid, *_),) = calls(home)
    assert gone(pid)
    assert not list(home.rglob("result.json"))
    monkeypatch.setattr(engine, "time", time)
    assert sweep("--methods FcDEC --datasets digits --trials 1").status == 0


def test_a_data_set_that_is_missing_keeps_no_other_from_running(sweep, home, monkeypatch):
    load = single.datasets.load

    def broken(name, *args):
        if name == "usps":
            raise UserError("dataset 'usps' not found and downloading failed; looked in\n  here")
        return load(name, *args)

    monkeypatch.setattr(single.datasets, "load", broken)
    words = "--methods FcDEC --datasets usps digits --trials 1"
    dry = sweep(words, "--dry-run")
    assert dry.status == 2 and "dataset 'usps' not found" in dry.err
    assert "1 trials, 1 to do" in dry.out
    done = sweep(words)
    assert done.status == 2
    assert done.err.startswith("run_exp.py: dataset 'usps' not found")
    assert list(results(home).dataset) == ["digits"]

    only = sweep("--methods FcDEC --datasets usps --trials 1")
    assert only.status == 2 and "dataset 'usps' not found" in only.err


def test_what_is_rebuilt_without_a_run(sweep, home):
    assert sweep(TWO).status == 0
    (home / "results" / "results.csv").unlink()
    (home / "README.md").write_text(README)
    done = sweep("--tables")
    assert (done.status, done.err) == (0, "")
    assert "2 rows" in done.out
    assert len(results(home)) == 2
    assert "old" not in (home / "README.md").read_text()
    assert len(calls(home)) == 2


def test_a_damaged_results_file_is_told_and_kept(sweep, home):
    (home / "results").mkdir()
    (home / "results" / "results.csv").write_text("these are no results\n")
    done = sweep(TWO)
    assert done.status == 2
    assert "results.csv" in done.lines[-1] and len(done.lines) == 1
    assert (home / "results" / "results.csv").read_text() == "these are no results\n"


# ---- the real thing ---------------------------------------------------------------------------


def test_a_real_sweep(folders, sweep, monkeypatch):
    """Two methods on one pretrained auto-encoder, side by side; then one that fails."""
    (folders / "main.py").write_text(REAL)
    tiny = "--datasets digits --trials 1 --pretrain-epochs 1 --maxiter 2 --n-init 1"
    tiny += f" --cache-dir {folders / 'cache'}"
    two = f"--methods FcDEC FcDCN --jobs 2 {tiny}"
    for trial in trials_of(two):  # as an earlier sweep left it
        Path(trial.folder).mkdir(parents=True)
        engine.fail(trial, "the lights went out")
    run_exp.publish()
    assert list(results(folders).reason) == ["the lights went out"] * 2
    done = sweep(two)
    assert (done.status, done.err) == (0, "")
    table = results(folders).set_index("method")
    assert sorted(table.index) == ["FcDCN", "FcDEC"]
    assert set(table.status) == {"ok"} and table.acc.between(0, 1).all()
    assert table.reason.isna().all()  # a row of a success takes the place of its failure's
    assert set(table.iterations) == {2}
    assert table.kmeans_acc.nunique() == 1  # from the same weights,
    (pretrained,) = (folders / "cache").iterdir()  # trained once
    assert {path.name for path in pretrained.iterdir()} - {"lock"} == {"ae_weights.h5"}

    with monkeypatch.context() as patch:
        patch.setattr(engine, "Process", None)  # nothing is started
        done = sweep(two)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("2 trials are done, 0 to do")

    done = sweep("--methods FcDEC --lr 1e30", tiny)
    assert (done.status, done.err) == (1, "1 failed: FcDEC digits seed 0\n")
    table = results(folders)
    assert sorted(table.status) == ["failed", "ok", "ok"]
    (failed,) = table[table.status == "failed"].itertuples()
    assert (failed.method, failed.dataset, failed.seed) == ("FcDEC", "digits", 0)
    assert failed.reason.startswith("main.py: training failed: the ")
    assert "not finite" in failed.reason
    assert list((folders / "cache").iterdir()) == [pretrained]
    (folder,) = (p.parent for p in folders.rglob("result.json") if '"failed"' in p.read_text())
    assert finished(folder) is None  # so a later sweep tries it again
    assert not (folder / "model_final.h5").exists()
