"""The sweep: its plan, its processes, its ledger.

Folders are temporary. Most sweeps start a stand-in for main.py that does as its method's name
says; one sweep starts the real thing.
"""

import compileall
import errno
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import user_error

import datasets
import run_exp
from benchmarks import kill_sweep
from common import files, paths
from common.errors import FolderInUse, UserError
from common.files import save_json
from common.locks import locked, try_lock
from datasets import DATASETS, PROBLEMS, Dataset
from experiments import choices, inputs, ledger, options, plan, published, rendering
from experiments import sweep as engine
from experiments.run_files import finished
from experiments.runs import Run, execute
from models import METHODS, preset

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
if order == "slow":
    time.sleep(3)
if order == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if order == "silent":
    sys.exit(4)
if order == "busy":
    sys.exit("main.py: error: in use") if not sys.stderr.write("in use\\n") else sys.exit(75)
if order == "fails":
    sys.stderr.write("some warning\\nmain.py: training failed: the loss is not finite\\n\\n")
    sys.exit(3)
if order == "warns":
    sys.stderr.write("warning: the checkpoint was put aside\\n")
if order == "lies":
    sys.exit(0)
kind = "--data" if "--data" in words else "--dataset"
name = pathlib.Path(words[words.index(kind) + 1]).stem
result = {"method": method, "dataset": name, "seed": int(seed), "k": 10,
          "source": "file" if kind == "--data" else "named",
          "status": "ok", "acc": 0.5, "nmi": 0.25, "seconds_total": 1.5, "config_hash": folder.name,
          "finished": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
(folder / "result.json").write_text(json.dumps(result))
"""

# main.py itself, with folders beside this file, a small network, uncompiled, and no figure: they
# would take longer than all the rest.
REAL = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import main
from common import device, paths
from experiments import run_figure as report
paths.ROOT = os.path.dirname(os.path.abspath(__file__))
paths.RESULTS = os.path.join(paths.ROOT, "results")
report.cluster_figure = lambda path, *others, **more: open(path, "w").close()

def set_up(*args):
    found = real(*args)
    import tensorflow
    from models.core import networks
    tensorflow.config.run_functions_eagerly(True)
    full = networks.dense_autoencoder
    networks.AUTOENCODERS["fc"] = lambda *args: full(*args, widths=(9,))
    return found

real, device.set_up = device.set_up, set_up
sys.exit(main.main())
"""

README = f"Ours\n\n{rendering.BEGIN}\nold\n{rendering.END}\n\nBelow\n"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A project folder of our own."""
    monkeypatch.setattr(engine, "PAUSE", 0.1)
    monkeypatch.setattr(paths, "ROOT", str(tmp_path))
    monkeypatch.setattr(paths, "RESULTS", str(tmp_path / "results"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text(README)
    return tmp_path


@pytest.fixture
def home(folders, monkeypatch):
    """The project folder with a stand-in for main.py; no real data set is read."""
    monkeypatch.setattr(plan, "estimate", lambda config, data, threads: [1.0, 2.0])

    def load(name, data_dir=None, download=True):
        rng = np.random.default_rng(0)
        side = {"digits": 8, "usps": 16}.get(name, 28)
        n = 20000 if name in ("mnist", "fmnist") else 30
        x = np.broadcast_to(rng.random((1, side, side, 1), np.float32), (n, side, side, 1))
        return Dataset(x, np.arange(n) % 10, name, 10, named=True)

    monkeypatch.setattr(datasets, "load", load)
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
    args, rest = plan.parser().parse_known_args(words.split())
    trials, complaints = plan.plan(args, rest)
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
        ("--retries -1", ["retries=-1", "an integer >= 0"]),
        ("--gpus 1", ["gpus=1", "--ray"]),
        ("--gpus nan --ray auto", ["gpus=nan", ">= 0"]),
        ("--data digits", ["--data is for main.py", "--datasets"]),
        ("--method FcDEC", ["--method is for main.py"]),
        ("--overwrite", ["--overwrite is for main.py"]),
        ("--maxit 3", ["unrecognized arguments", "--maxit"]),
        ("--datasets missing.npz", ["'missing.npz'"]),
        ("--file missing.json", ["'missing.json'", "No such file"]),
        ("--file a.json --methods FcDEC", ["--file and --methods"]),
        ("--file a.json --seeds 0", ["--file and --seeds"]),
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


def test_a_cluster_without_ray_is_refused(sweep, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = sweep("--methods FcDEC --datasets digits --ray auto")
    assert done.status == 2 and len(done.lines) == 1
    assert "pip install -r requirements-ray.txt" in done.err


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
    assert last.startswith("100 trials, 100 to do: at most 3.8 hours")  # 30 pretrainings
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
    assert [t.argv[t.argv.index("--seed") + 1] for t in trials] == ["3", "7"]


# ---- sweeps in files --------------------------------------------------------------------------


def described(home, content, name="sweep.json"):
    text = content if isinstance(content, str) else json.dumps(content)
    (home / name).write_text(text)
    return str(home / name)


def test_a_sweep_in_a_file(home):
    path = described(
        home,
        {
            "methods": ["FcDEC", "ConvDEC-DA"],
            "datasets": ["digits"],
            "seeds": [3, 7],
            "settings": {
                "maxiter": 150,
                "tol": 0.5,
                "aug_cluster": False,
                "optimizer": "sgd",
                "lr": 0.25,
            },
        },
    )
    trials = trials_of(f"--file {path} --threads 1")
    words = "--methods FcDEC ConvDEC-DA --datasets digits --seeds 3 7 --threads 1"
    words += " --maxiter 150 --tol 0.5 --no-aug-cluster --optimizer sgd --lr 0.25"
    same = trials_of(words)
    assert [trial.folder for trial in trials] == [trial.folder for trial in same]
    config = trials[0].record["config"]
    assert (config["maxiter"], config["tol"], config["optimizer"]["lr"]) == (150, 0.5, 0.25)
    changed = trials_of(f"--file {path} --maxiter 9")  # the command line's word is the last
    assert {trial.record["config"]["maxiter"] for trial in changed} == {9}


def test_several_files_and_tables_in_files(home):
    one = described(home, {"table": "decda-2", "datasets": ["usps"], "trials": 1})
    other = described(home, {"methods": ["FcDEC"], "datasets": ["usps"], "trials": 2}, "b.json")
    trials = trials_of(f"--file {one} {other}")
    assert len(trials) == 20 + 1  # FcDEC usps seed 0 is in both
    assert len(trials_of(f"--file {described(home, {}, 'c.json')}")) == 100


@pytest.mark.parametrize(
    "content, told",
    [
        ("{", ["is not JSON"]),
        ("[]", ["a JSON object with methods, datasets"]),
        ({"method": ["FcDEC"]}, ["unknown key 'method'", "did you mean 'methods'?"]),
        ({"methods": "FcDEC"}, ["methods='FcDEC'", "a list of names"]),
        ({"methods": []}, ["methods=[]", "a list of names"]),
        ({"methods": ["FcDECC"]}, ["'FcDECC'", "did you mean 'FcDEC'?"]),
        ({"seeds": [0, True]}, ["seeds=[0, True]", "a list of integers"]),
        ({"seeds": [-1]}, ["seed=-1"]),
        ({"trials": 0}, ["trials=0"]),
        ({"trials": 2.0}, ["trials=2.0", "an integer"]),
        ({"trials": 1, "seeds": [0]}, ["seeds and trials", "only one"]),
        ({"table": 3}, ["table=3"]),
        ({"table": []}, ["table=[]", "a list of them"]),
        ({"table": ["decda-2", "decda-22"]}, ["'decda-22'", "did you mean 'decda-2'?"]),
        ({"settings": [1]}, ["settings=[1]", "an object"]),
        ({"settings": {"tolerant": 1}}, ["unknown setting 'tolerant'"]),
        ({"settings": {"tol": [[1]]}}, ["tol=[1]", "a number, a name"]),
        ({"settings": {"tol": []}}, ["tol=[]", "a number, a name"]),
        ({"settings": {"tol": [0.1, -1]}}, ["tol=-1"]),
        ({"settings": {"head": [[4], ["x"]]}}, ["head=['x']"]),
        ({"settings": {"head": [4, [8]]}}, ["head=[4, [8]]"]),
        ({"settings": {"tol": "x"}}, ["tol='x'", "a number >= 0"]),
        ({"settings": {"tol": True}}, ["tol=True", "a number >= 0"]),
        ({"settings": {"tol": -1}}, ["tol=-1"]),
        ({"settings": {"save_dir": "x"}}, ["unknown setting 'save_dir'"]),
    ],
)
def test_a_file_that_describes_no_sweep(sweep, home, content, told):
    path = described(home, content)
    done = sweep("--file", path)
    assert done.status == 2 and calls(home) == []
    (line,) = done.lines
    for part in told:
        assert part in line


def test_data_of_ones_own(sweep, home):
    rng = np.random.default_rng(0)
    np.savez(home / "mine.npz", x=rng.random((30, 8, 8)), y=np.arange(30) % 3)
    done = sweep(f"--methods FcDEC --datasets digits {home / 'mine.npz'} --trials 1 --dry-run")
    assert (done.status, done.err) == (0, "")
    names = [line.partition(" seed")[0].split()[-2:] for line in done.out.splitlines()[:2]]
    assert names == [["FcDEC", "digits"], ["FcDEC", "mine"]]


def test_a_trial_is_planned_once(home):
    words = "--methods FcDEC FcDEC FcDEC-DA --datasets digits digits --seeds 1 1"
    assert [trial.name for trial in trials_of(words)] == [
        "FcDEC digits seed 1",
        "FcDEC-DA digits seed 1",
    ]


def test_the_plan_counts_what_is_shared_once(sweep, home):
    """Minutes: 1 of pretraining, 2 of clustering; megabytes of the weights and the arrays."""
    one = sweep("--methods FcDEC --datasets digits --trials 1 --dry-run").out
    two = sweep("--methods FcDEC FcIDEC --datasets digits --trials 1 --dry-run").out
    assert "1 to do: at most 0.1 hours of this machine, 1 at a time; about 31 MB" in one
    assert "2 to do: at most 0.1 hours" in two and "about 52 MB" in two
    many = "--methods FcDEC FcIDEC --datasets digits --trials 60 --dry-run"
    assert "120 to do: at most 5.0 hours" in sweep(many).out  # (60 * 1 + 120 * 2) / 60
    assert "at most 2.5 hours of this machine, 2 at a time" in sweep(many, "--jobs 2").out
    for trial in trials_of("--methods FcDEC --datasets digits --trials 60"):
        Path(trial.weights).parent.mkdir(parents=True)
        Path(trial.weights).write_text("")
    assert "120 to do: at most 4.0 hours" in sweep(many).out


def test_settings_reach_every_trial(home):
    for trial in trials_of("--datasets usps --trials 1 --maxiter 150 --pretrain-epochs=1"):
        config = trial.record["config"]
        assert (config["maxiter"], config["pretrain_epochs"]) == (150, 1)
        again = options.parse(trial.command())
        assert again.overrides == {"maxiter": 150, "pretrain_epochs": 1}
        assert again.save_dir == trial.folder
        assert again.quiet


def test_a_trials_folder_is_that_of_main(home):
    """A run made by main.py is not made again by a sweep."""
    (trial,) = trials_of("--methods FcDEC --datasets usps --seeds 3")
    words = ["--method", "FcDEC", "--dataset", "usps", "--seed", "3"]
    args = options.parse(words)
    data = inputs.load_data(args)
    assert trial.folder == options.folder_of(args, data, options.resolve(args, data))
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
        assert [word for word in trial.argv if "aug-" in word] == one_stage * [
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
        rows.append(
            {
                "method": trial.record["method"],
                "dataset": trial.record["dataset"],
                "seed": 0,
                "status": "ok",
                "acc": 0.5,
                "nmi": 0.5,
                "seconds_total": 10,
                "k": 10,
                "data_hash": PROBLEMS[trial.record["dataset"]][1],
                "aug_pretrain": config.get("aug_pretrain", ""),
                "aug_cluster": config.get("aug_cluster", ""),
                "config_hash": trial.folder,
            }
        )
    made = published.tables(rows, published.read_paper(), table)
    paper = published.read_paper()
    wanted = (
        (paper.table == table)
        & paper.method.isin(list(METHODS))
        & paper.dataset.isin(list(DATASETS))
        & paper.metric.isin(list(published.SOURCE))
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
    assert (home / "docs" / "results.md").read_text() == README  # only --tables writes it
    assert done.out.splitlines()[-1] == (
        f"2 rows in {os.path.relpath(home / 'results' / 'results.csv')}; "
        f"{os.path.relpath(home / 'results' / 'tables.md')} rewritten"
    )
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


# ---- two sweeps, kills and damage -------------------------------------------------------------

# In place of main.py in a copy of the project: main.py with light trials. In place of what takes
# long to import there are stubs.
LIGHT = """
import os
import sys
import time
import types

import numpy as np

sys.modules["scipy.ndimage"] = types.ModuleType("scipy.ndimage")  # what uses it is replaced below
import real_main as main
from experiments import run_figure as report
from experiments import quality, run_log, runs
from models.settings.base import pretrain_key
from models.core.samples import hash_array
from common.files import load_arrays, remove_leftovers, save_arrays
from common.locks import locked


class Light:
    \"\"\"Stands in for a method: counts to 15 twice, with a checkpoint at each step.\"\"\"

    def __init__(self, method, k, config, random_state, run_dir, cache_dir, monitor, **others):
        self.k, self.config, self.seed, self.run_dir = k, config, random_state, run_dir
        self.cache_dir, self.monitor = cache_dir, monitor

    def phase(self, name, folder, value):
        path, step = os.path.join(folder, "checkpoint.h5"), 0
        if os.path.exists(path):
            arrays, about = load_arrays(path)
            value, step = arrays["value"], about["step"]
        self.monitor.begin(name, 15, step)
        while step < 15:
            if step % 5 == 0:
                self.monitor.row(name, step, {"loss": float(value.sum())})
            time.sleep(0.02)
            value, step = np.cos(value + step), step + 1
            save_arrays(path, {"value": value}, {"step": step})
        return value

    def fit(self, x):
        key, about = pretrain_key(self.config, x.shape[1:], hash_array(x), self.seed)
        folder = os.path.join(self.cache_dir, key)
        os.makedirs(folder, exist_ok=True)
        weights = os.path.join(folder, "ae_weights.h5")
        checkpoint = os.path.join(folder, "checkpoint.h5")
        with locked(os.path.join(folder, "lock")):
            remove_leftovers(folder)
            if not os.path.exists(weights):
                value = self.phase("pretrain", folder, np.full((64, self.k), float(self.seed)))
                save_arrays(weights, {"value": value}, {})
            if os.path.exists(checkpoint):
                os.remove(checkpoint)
        self.value = self.phase("cluster", self.run_dir, load_arrays(weights)[0]["value"])
        self.labels_ = self.refresh_labels_ = self.initial_labels_ = self.transform(x).argmax(1)
        self.n_iter_, self.converged_, self.seconds_ = 15, False, {"cluster": 1.0}

    def other_labels(self):
        return {"refresh": self.refresh_labels_, "kmeans": self.initial_labels_}

    def transform(self, x):
        rng = np.random.default_rng(self.seed)
        return x.reshape(len(x), -1) @ (self.value + rng.random((64, self.k)))

    def memberships(self, x):
        return np.full((len(x), self.k), 1 / self.k)

    def save(self, path):
        save_arrays(path, {"value": self.value}, {})


runs.build, runs.class_of = Light, lambda method: Light
run_log.RunMonitor.graph = None
quality.signals = lambda model, x, z, labels, *others: quality.sizes(labels, model.k)
runs.health.judge = lambda signals, k, n: runs.health.Health("healthy", (), signals)
report.cluster_figure = lambda path, *others, **more: open(path, "w").close()
main.device.set_up = lambda threads, device, parallel: {"device": "", "threads": threads}
sys.exit(main.main())
"""


STUBS = {
    "tensorflow.py": "__version__ = '0'",
    "keras.py": "__version__ = '0'",
    "pooch.py": "class HTTPDownloader: pass",
    "requests.py": "",
    "urllib3/__init__.py": "",
    "urllib3/exceptions.py": "MaxRetryError = None",
    "sklearn/__init__.py": "__version__ = '0'",
    "sklearn/datasets.py": "load_digits = load_svmlight_file = None",
    "sklearn/cluster.py": "KMeans = AgglomerativeClustering = SpectralClustering = None",
    "sklearn/exceptions.py": "class ConvergenceWarning(Warning): pass",
    "sklearn/mixture.py": "GaussianMixture = None",
    "sklearn/neighbors.py": """
import numpy as np
from scipy.sparse import csr_array

class NearestNeighbors:
    def __init__(self, n_neighbors, algorithm="brute"):
        self.k = n_neighbors

    def fit(self, x):
        self.x = x
        return self

    def kneighbors(self):
        d = np.square(self.x[:, None] - self.x[None]).sum(axis=2) + 1e9 * np.eye(len(self.x))
        near = d.argsort(axis=1)[:, : self.k]
        return np.sqrt(np.take_along_axis(d, near, axis=1)), near

    def kneighbors_graph(self):
        graph = np.zeros((len(self.x), len(self.x)))
        np.put_along_axis(graph, self.kneighbors()[1], 1.0, axis=1)
        return csr_array(graph)
""",
    "sklearn/metrics/__init__.py": """
def normalized_mutual_info_score(y, labels, average_method="arithmetic"):
    return float(len(set(labels)) / 10)

adjusted_rand_score = normalized_mutual_info_score
""",
    "sklearn/metrics/cluster.py": """
import numpy as np

def contingency_matrix(y, labels):
    return np.array([[sum((y == i) & (labels == j)) for j in range(10)] for i in range(10)])
""",
}


@pytest.fixture(scope="module")
def light_project(tmp_path_factory):
    """Make a copy of the project with light trials, in a folder that is to be made."""
    made = light_code(tmp_path_factory.mktemp("code") / "project")
    return lambda folder: Path(shutil.copytree(made, folder))


def light_code(folder):
    """The project with light trials, compiled once for the many processes that import it."""
    kill_sweep.copy_project(folder)
    (folder / "main.py").rename(folder / "real_main.py")
    (folder / "main.py").write_text(
        f"if __name__ == '__main__':\n{textwrap.indent(LIGHT, '    ')}\n"
        "else:  # run_exp.py\n    import sys, real_main\n    sys.modules['main'] = real_main\n"
    )
    for name, text in STUBS.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    assert compileall.compile_dir(
        folder, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    return folder


@pytest.fixture(scope="module")
def light_words(tmp_path_factory):
    """A sweep of 1 method x 1 set x 2 seeds."""
    path = tmp_path_factory.mktemp("light") / "light.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((50, 8, 8)), y=np.arange(50) % 10)
    return [
        "--methods",
        "FcDEC",
        "--datasets",
        str(path),
        "--trials",
        "2",
        "--jobs",
        "2",
        "--maxiter",
        "15",
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, light_project, light_words):
    project = light_project(tmp_path_factory.mktemp("undisturbed") / "project")
    with open(project / "output", "w") as log:
        kill_sweep.finish(project, light_words, log)
    assert len(kill_sweep.rows(project)) == 2
    return project


def test_a_killed_sweep_ends_like_one_that_was_not(
    undisturbed, light_project, light_words, tmp_path
):
    """At any moment; benchmarks/kill_sweep.py does it with real trials."""
    project = light_project(tmp_path / "project")
    runs, moments = project / "results" / "runs", []
    with open(project / "output", "w") as log:
        for sign in ("*/config.json", "*/checkpoint.h5", "*/labels.npy"):
            process = kill_sweep.start(project, light_words, log)
            while process.poll() is None and not list(runs.glob(sign)):
                time.sleep(0.005)
            moments.append(process.poll() is None)
            (os.killpg if len(moments) == 1 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            assert kill_sweep.ended(project)
        kill_sweep.finish(project, light_words, log)
    assert moments[:2] == [True, True]
    assert kill_sweep.differences(project, undisturbed) == []


def test_two_sweeps_at_once_share_the_work(undisturbed, light_project, light_words, tmp_path):
    project = light_project(tmp_path / "project")
    with open(project / "output", "w") as log:
        assert kill_sweep.together(project, light_words, log) == (2, 2)
    assert kill_sweep.differences(project, undisturbed) == []


def test_a_trial_that_failed_in_another_sweep_meanwhile(sweep, home, monkeypatch):
    """It is not tried again here; one that failed before this sweep began is."""
    (one, other) = trials_of(TWO)
    real = engine.Sweep.choose

    def choose(self):
        self.begun = "2026-01-01T00:00:00+00:00"
        return real(self)

    monkeypatch.setattr(engine.Sweep, "choose", choose)
    engine.fail(one, "theirs")
    Path(other.folder).mkdir()
    record = {"status": "failed", "reason": "old", "finished": "2025-12-31T23:59:59+00:00"}
    (Path(other.folder) / "result.json").write_text(json.dumps(record))
    done = sweep(TWO)
    assert (done.status, done.err) == (1, f"1 failed: {one.name}\n")
    assert f"failed {one.name:36} in another sweep: theirs" in done.out
    assert [call[0] for call in calls(home)] == ["ConvDEC"]


def test_a_failure_is_not_noted_over_another_sweeps_work(home):
    (trial, _) = trials_of(TWO)
    os.makedirs(trial.folder)
    with locked(os.path.join(trial.folder, "lock")):
        engine.fail(trial, "late")
    assert not (Path(trial.folder) / "result.json").exists()
    save_json(os.path.join(trial.folder, "result.json"), {"status": "ok"})
    engine.fail(trial, "late")
    assert finished(trial.folder) == {"status": "ok"}


def test_a_trial_waits_where_another_process_pretrains(sweep, home, monkeypatch):
    """Another trial is taken meanwhile."""
    (waits, other) = trials_of(TWO)
    os.makedirs(os.path.dirname(waits.weights))
    lock = try_lock(os.path.join(os.path.dirname(waits.weights), "lock"))
    real, left = time.sleep, [3]  # rounds after the other trial until the lock is free

    def sleep(seconds):
        real(seconds)
        left[0] -= finished(other.folder) is not None
        if left[0] == 0:
            lock.close()

    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    done = sweep(TWO)
    assert (done.status, done.err) == (0, "")
    assert [call[0] for call in calls(home)] == ["ConvDEC", "FcDEC"]
    assert "waiting for another process: 1 trials" in done.out


def test_trials_of_one_pretraining_do_not_wait_side_by_side(sweep, home):
    """The first one trains, the others start when its weights are there."""
    order(home, "FcDEC", "slow")
    words = "--methods FcDEC FcIDEC ConvDEC --datasets digits --trials 1 --jobs 2"
    assert sweep(words).status == 0
    assert [call[0] for call in calls(home)][:2] in (["FcDEC", "ConvDEC"], ["ConvDEC", "FcDEC"])


def test_a_trial_that_cannot_be_started_is_a_row(sweep, home, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engine.tempfile, "TemporaryFile", full)
    done = sweep(TWO)
    assert done.status == 1 and len(done.lines) == 1
    assert done.out.count("cannot start: [Errno 28] No space left on device") == 2
    assert list(results(home).status) == ["failed"] * 2


def test_warnings_of_a_trial_are_passed_on(sweep, home):
    order(home, "FcDEC", "warns")
    done = sweep(TWO)
    assert f"note   {'FcDEC digits seed 0':36} the checkpoint was put aside" in done.out
    assert done.status == 0


def test_results_that_cannot_be_written_stop_no_trial(sweep, home, monkeypatch):
    """The disk is full, or the file was damaged meanwhile: the rows are in the run folders."""
    real, count = ledger.update, []

    def update(*args):
        count.append(1)
        if len(count) > 1:
            raise UserError("cannot write results.csv: No space left on device")
        return real(*args)

    monkeypatch.setattr(ledger, "update", update)
    done = sweep(TWO)
    assert done.status == 2
    assert [call[0] for call in calls(home)] == ["FcDEC", "ConvDEC"]
    assert all("No space left on device" in line for line in done.lines)
    monkeypatch.undo()


def test_truncated_results_are_refused_and_come_back(sweep, home):
    assert sweep(TWO).status == 0
    path = home / "results" / "results.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    done = sweep("--methods FcDEC --datasets digits --seeds 1")
    assert done.status == 2 and len(done.lines) == 1
    assert "results.csv, line 3" in done.err and "mend or remove the file" in done.err
    assert len(calls(home)) == 2  # before anything is started
    path.unlink()
    assert sweep("--tables").status == 0
    assert path.read_bytes() == whole


def test_a_data_set_that_is_missing_keeps_no_other_from_running(sweep, home, monkeypatch):
    load = datasets.load

    def broken(name, *args):
        if name == "usps":
            raise UserError("dataset 'usps' not found and downloading failed; looked in\n  here")
        return load(name, *args)

    monkeypatch.setattr(datasets, "load", broken)
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
    (home / "docs" / "results.md").write_text(README)
    done = sweep("--tables")
    assert (done.status, done.err) == (0, "")
    assert "2 rows" in done.out
    assert len(results(home)) == 2
    assert "old" not in (home / "docs" / "results.md").read_text()
    assert len(calls(home)) == 2


# ---- rows of a user's own files ---------------------------------------------------------------


@pytest.fixture
def own(home):
    """The words of a sweep over a user's file that is called like a data set."""
    x = np.random.default_rng(0).random((30, 16, 16))
    np.savez(home / "usps.npz", x=x)
    return f"--n-clusters 10 --methods FcDEC --trials 2 --datasets {home / 'usps.npz'}"


def test_rows_of_a_users_file_stay_out_of_what_is_tracked(sweep, home, own):
    tracked = home / "results" / "results.csv"
    done = sweep(own)
    assert (done.status, done.err) == (0, "")
    path = home / "results" / "own" / "results.csv"
    assert done.out.splitlines()[-1] == f"2 rows in {os.path.relpath(path)}"
    assert list(pd.read_csv(path).source) == ["file"] * 2
    assert not tracked.exists() and not (home / "results" / "tables.md").exists()
    assert (home / "docs" / "results.md").read_text() == README

    done = sweep(own, "digits")  # the last word is another data set
    assert (done.status, done.err) == (0, "")
    told = done.out.splitlines()[-1]
    assert f"2 rows in {os.path.relpath(path)}; 2 rows in {os.path.relpath(tracked)}; " in told
    assert set(results(home).dataset) == {"digits"} and len(pd.read_csv(path)) == 2

    done = sweep("--tables")
    assert (done.status, done.err) == (0, "")
    assert f"2 rows of your own files in {os.path.relpath(path)}" in done.out
    assert set(results(home).dataset) == {"digits"} and len(pd.read_csv(path)) == 2
    page = (home / "docs" / "results.md").read_text()
    assert "| usps |" not in page.split("## Table by table")[1]


def test_a_users_labels_that_have_changed_are_scored_by_a_sweep_too(folders, sweep):
    """Rows and choices are of the labels that the file has now; a dry run changes nothing."""
    path = folders / "mine.csv"

    def write(classes):
        frame = pd.DataFrame({"a": np.repeat([0.0, 3.0, 6.0], 20) + np.arange(60) % 20 / 100})
        frame.assign(label=np.repeat(classes, 20)).to_csv(path, index=False)

    write([0, 1, 2])
    words = f"--methods k-means --seeds 0 1 --n-clusters 3 --datasets {path}"
    for trial in trials_of(words):
        data, config = inputs.load_data(trial.spec), preset("k-means", vectors=True)
        execute(Run("k-means", data, trial.spec.seed, config, trial.folder), show=False)
        result = finished(trial.folder) | {"finished": "2026-01-01T00:00:00+00:00"}
        save_json(os.path.join(trial.folder, "result.json"), result)
    assert sweep(words).status == 0
    rows = folders / "results" / "own" / "results.csv"
    best = rows.with_name("choices.csv")
    known = pd.read_csv(best).assign(finished="2026-01-02T00:00:00+00:00")
    known.to_csv(best, index=False)
    assert list(pd.read_csv(rows).acc) == [1, 1] and list(pd.read_csv(best).chosen_acc) == [1]

    write([0, 1, 1])
    assert "scored" not in sweep(words, "--dry-run").err
    done = sweep(words)
    assert done.status == 0 and done.out.startswith("2 trials are done, 0 to do")
    assert done.err.count("was scored on other labels than mine has now") == 2
    assert list(pd.read_csv(rows).acc.round(3)) == [0.667, 0.667]
    assert list(pd.read_csv(best).chosen_acc.round(3)) == [0.667]
    assert "scored" not in sweep(words).err


def test_no_sweep_writes_readme_and_tables_does(sweep, home):
    assert sweep(TWO).status == 0
    assert (home / "docs" / "results.md").read_text() == README
    assert sweep("--tables").status == 0
    assert "old" not in (home / "docs" / "results.md").read_text()


@pytest.mark.parametrize("sets", ["digits", "usps.npz", "digits usps.npz"])
def test_a_file_for_all_rows_of_a_sweep(sweep, home, own, sets):
    """Those of other sweeps in the same folder of runs are not among them."""
    assert sweep("--methods ConvDEC --trials 1 --datasets digits").status == 0
    before = (home / "results" / "results.csv").read_bytes()
    names = sets.replace("usps.npz", str(home / "usps.npz"))
    path = home / "new" / "mine.csv"
    done = sweep(f"--n-clusters 10 --methods FcDEC --trials 2 --datasets {names} --results {path}")
    assert (done.status, done.err) == (0, "")
    count = 2 * len(sets.split())
    assert done.out.splitlines()[-1] == f"{count} rows in {os.path.relpath(path)}"
    assert sorted(pd.read_csv(path).dataset) == sorted(2 * [s.split(".")[0] for s in sets.split()])
    assert (home / "results" / "results.csv").read_bytes() == before
    assert not (home / "results" / "own").exists()


def test_a_failed_run_on_a_users_file_is_a_row_there(sweep, home, own):
    order(home, "FcDEC", "fails", "fails")
    assert sweep(own).status == 1
    rows = pd.read_csv(home / "results" / "own" / "results.csv")
    assert list(rows.status) == ["failed"] * 2 and list(rows.source) == ["file"] * 2
    assert not (home / "results" / "results.csv").exists()


def test_rows_of_users_files_that_an_earlier_sweep_left_move(sweep, home):
    """Sweeps once wrote them into results.csv, without a source."""
    row = {"method": "FcDEC", "dataset": "usps", "seed": 0, "status": "ok", "acc": 0.99, "k": 10}
    mine = row | {"command": "python main.py --data usps.npz", "config_hash": "a"}
    path = home / "results" / "results.csv"
    ledger.add(path, [row, mine])
    assert sweep("--tables").status == 0
    assert len(results(home)) == 1 and results(home).command.isna().all()
    moved = pd.read_csv(home / "results" / "own" / "results.csv")
    assert list(moved.command) == ["python main.py --data usps.npz"]


@pytest.mark.parametrize("flag", ["--tables", "--report"])
def test_a_file_of_rows_is_a_sweeps(sweep, home, flag):
    done = sweep(flag, "--results mine.csv")
    assert done.status == 2
    (line,) = done.lines
    assert "--results mine.csv" in line and f"not with {flag}" in line


def test_a_file_of_rows_that_cannot_be(sweep, home, monkeypatch):
    done = sweep(TWO, f"--results {home}")
    assert done.status == 2 and len(done.lines) == 1 and calls(home) == []
    (home / "other.csv").write_text("no rows\n")
    monkeypatch.chdir(home)
    done = sweep(TWO, "--results .")
    assert done.status == 2 and "cannot read .: Is a directory" in done.lines[-1]
    done = sweep(TWO, f"--results {home / 'other.csv'}")
    assert done.status == 2 and "other.csv, line 1" in done.err and calls(home) == []


def test_a_setting_without_effect_stops_a_sweep_before_it_starts(sweep, home):
    """Settings are for all methods of a sweep: those without a use for it go into another."""
    done = sweep("--methods ConvDEC-DA FcDEC --datasets digits --trials 1 --rotation 20")
    assert done.status == 2 and calls(home) == []
    assert done.lines == [
        "run_exp.py: error: --rotation has no effect for FcDEC: no stage is augmented"
    ]
    assert sweep("--methods ConvDEC-DA --datasets digits --trials 1 --rotation 20").status == 0


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
    run_exp.publish.publish()
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


# ---- what cannot be meant --------------------------------------------------------------------

FEW_WORDS = ["--methods", "k-means", "--datasets", "digits", "--dry-run"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--tables --methods k-means", "--methods: expected it with a sweep, not with --tables"),
        ("--report --dry-run", "--dry-run: expected it with a sweep, not with --report"),
        ("--campaign --results mine.csv", "--campaign and --results: expected only one"),
        ("--n-clusters 2-5", "n_clusters=2-5: a sweep needs one K"),
        ("--trials 100000", "trials=100000: expected at most 10000"),
        ("--predict x.csv", "--predict is for main.py"),
        ("--data-dir ", "--data-dir '': expected a name that is not empty"),
        ("--results ", "--results '': expected the name"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, told):
    some = [] if words.split()[0] in ("--tables", "--report", "--campaign") else FEW_WORDS
    with user_error(told):
        run_exp.run([*some, *words.split(" ")])


def test_a_table_without_the_method_that_is_asked_for():
    with user_error("the table has none of these methods"):
        run_exp.run(["--table", "decda-2", "--methods", "VaDE", "--dry-run"])


def test_a_damaged_list_of_choices_is_told(tmp_path):
    good = ",".join(choices.COLUMNS) + "\n"
    for text in ("garbage\n", good[:40], good + "k-means,digits\n", "\x81"):
        path = tmp_path / "choices.csv"
        path.write_bytes(text.encode("latin-1"))
        with user_error("choices.csv"):
            choices.read(path)
    path.write_text("\ufeff" + good)
    assert choices.read(path) == []


def test_published_numbers_that_are_cut_short_are_told(tmp_path, monkeypatch):
    path = tmp_path / "paper.csv"
    monkeypatch.setattr(published, "PAPER", str(path))
    text = (ROOT / "results" / "paper.csv").read_text()
    for some in (None, text[:3000], text.replace("value", "values", 1)):
        if some is not None:
            path.write_text(some)
        with user_error("the published numbers"):
            published.read_paper()


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    with user_error("'/dev/null' is no regular file"), files.replacing("/dev/null"):
        pass
    os.mkfifo(tmp_path / "pipe")
    with user_error("is no regular file"), files.replacing(tmp_path / "pipe"):
        pass


def test_who_reads_the_output_may_go(tmp_path):
    code = "import run_exp; import sys; sys.exit(run_exp.main())"
    words = [sys.executable, "-c", code, *FEW_WORDS, "--trials", "300"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    child.stdout.readline()
    child.stdout.close()
    assert b"Traceback" not in child.stderr.read()
    assert child.wait() == 141
