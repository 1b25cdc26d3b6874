"""Trials on a cluster of two nodes, each a raylet of its own on this machine.

The nodes run a stand-in for main.py that does as its method's name says; one trial is real.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import datasets
import run_exp
from common import paths
from common.locks import is_locked, try_lock
from experiments import distributed, ledger, plan, rendering
from experiments import sweep as engine
from experiments.run_files import finished

ROOT = Path(run_exp.__file__).resolve().parent
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")

# In place of main.py on the nodes, without TensorFlow. What it shall do stands in $HOME_OF_TEST.
STAND_IN = """
import json, os, pathlib, sys, time

words = sys.argv[1:]
told = {name: words[words.index("--" + name) + 1]
        for name in ("method", "dataset", "seed", "threads", "save-dir", "cache-dir")}
home, folder = pathlib.Path(os.environ["HOME_OF_TEST"]), pathlib.Path(told["save-dir"])
key = (home / "keys" / (told["method"] + told["seed"])).read_text()
weights = pathlib.Path(told["cache-dir"]) / key / "ae_weights.h5"
call = told | {"pid": os.getpid(), "found": weights.exists(), "begin": time.time(),
               "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "here": os.getcwd(),
               "before": sorted(os.listdir(folder))}
with open(home / "calls", "a") as file:
    file.write(json.dumps(call) + "\\n")
order = home / "orders" / told["method"]
what = order.read_text().split() if order.exists() else []
order.write_text("\\n".join(what[1:]))
what = what[0] if what else "ok"
weights.parent.mkdir(parents=True, exist_ok=True)
weights.write_bytes(weights.read_bytes() if weights.exists() else b"weights of " + key.encode())
(folder / "checkpoint.h5").write_text(told["method"])
if what == "sleep":
    time.sleep(600)
if what == "meets":  # ends only if another one runs at the same time
    while (home / "calls").read_text().count("begin") < 2:
        time.sleep(0.1)
if what == "fails":
    sys.exit("main.py: training failed: the loss is not finite")
(folder / "labels.npy").write_bytes(b"labels of " + told["method"].encode())
(folder / "model_final.h5").write_bytes(b"m" * 3_000_000)
result = {"method": told["method"], "dataset": told["dataset"], "seed": int(told["seed"]),
          "status": "ok", "acc": 0.5, "nmi": 0.25, "seconds_total": 1.5, "commit": "",
          "command": "python main.py --save-dir " + str(folder), "config_hash": folder.parent.name,
          "finished": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
(folder / "checkpoint.h5").unlink()
(folder / "result.json").write_text(json.dumps(result))
with open(home / "calls", "a") as file:
    file.write(json.dumps({"pid": os.getpid(), "end": time.time()}) + "\\n")
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A copy of the code, as it goes to the nodes, with the stand-in for main.py."""
    folder = tmp_path_factory.mktemp("project")
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    for name in ("common", "loaders", "experiments", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__py*"))
    (folder / "main.py").rename(folder / "real.py")
    (folder / "main.py").write_text(STAND_IN)
    for name in ("orders", "keys"):
        (folder / name).mkdir()
    return folder


def patiently(start, tries=5):
    """Start a part of the cluster: Ray gives up after 30 s, too few on a busy machine."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception:
            if not left:
                raise


def add_node(cluster):
    return patiently(lambda: cluster.add_node(num_cpus=1, num_gpus=1))


@pytest.fixture(scope="module")
def cluster(base):
    """A head without CPUs of its own and two nodes of one CPU and one (pretended) GPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("HOME_OF_TEST", str(base))
        patch.setenv("PYTHONWARNINGS", "ignore")
        cluster = Cluster()
        try:
            patiently(lambda: cluster.add_node(num_cpus=0, include_dashboard=False))
            cluster.nodes = [add_node(cluster) for _ in range(2)]
            yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture
def home(base, tmp_path, monkeypatch):
    """A project folder of our own; what the nodes do is told in `base`."""
    monkeypatch.setattr(paths, "ROOT", str(base))
    monkeypatch.setattr(paths, "RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(engine, "PAUSE", 0.2)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text(f"{rendering.BEGIN}\n{rendering.END}\n")
    for path in [base / "calls", *(base / "orders").iterdir()]:
        path.unlink(missing_ok=True)
    return tmp_path


@pytest.fixture
def sweep(home, base, cluster, monkeypatch, capsys):
    """Run run_exp.py's words in this process, on the cluster."""

    def run(words, address=cluster.address):
        words = [*words.split(), "--ray", address]
        args, rest = plan.parser().parse_known_args(words)
        for trial in plan.plan(args, rest)[0]:
            method, seed = trial.record["method"], trial.record["seed"]
            key = Path(trial.weights).parent.name
            (base / "keys" / f"{method}{seed}").write_text(key)
        monkeypatch.setattr(sys, "argv", ["run_exp.py", *words])
        capsys.readouterr()
        status = run_exp.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err)

    return run


def calls(base):
    """What the nodes were told to do, by the order of their beginning, with the end's time."""
    path = base / "calls"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    ends = {line["pid"]: line["end"] for line in lines if "end" in line}
    return [line | {"end": ends.get(line["pid"])} for line in lines if "begin" in line]


def order(base, method, *outcomes):
    (base / "orders" / method).write_text("\n".join(outcomes))


def gone(pid):
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


def test_a_sweep_on_two_nodes(sweep, home, base):
    """Its files come back, two trials at a time, and one of a kind pretrains for all."""
    words = "--methods FcDEC FcIDEC ConvDEC --datasets digits --trials 1"
    order(base, "FcDEC", "meets")
    order(base, "ConvDEC", "meets")
    done = sweep(words)
    assert (done.status, done.err) == (0, "")
    every = calls(base)
    assert sorted(call["method"] for call in every) == ["ConvDEC", "FcDEC", "FcIDEC"]
    by = {call["method"]: call for call in every}
    assert by["FcIDEC"]["begin"] > by["FcDEC"]["end"]  # waits for its pretraining
    assert [by[m]["found"] for m in ("FcDEC", "ConvDEC", "FcIDEC")] == [False, False, True]
    assert {call["threads"] for call in every} == {"1"}
    assert {by["FcDEC"]["gpu"], by["ConvDEC"]["gpu"]} <= {"0", "1"}  # one trial a device
    for call in every:
        assert not Path(call["save-dir"]).exists()  # nothing is left on the node
        assert str(home) not in call["save-dir"] + call["cache-dir"] + call["here"]
    table = ledger.read_rows(home / "results" / "results.csv")
    assert [row["status"] for row in table] == ["ok"] * 3
    for folder in (home / "results" / "runs").iterdir():
        assert {path.name for path in folder.iterdir()} == {
            "labels.npy",
            "model_final.h5",
            "result.json",
            "lock",
        }
        result = finished(folder)
        assert (folder / "labels.npy").read_text() == f"labels of {result['method']}"
        assert (folder / "model_final.h5").stat().st_size == 3_000_000
        assert f"--save-dir {folder} " in result["command"]
        assert not is_locked(folder / "lock")
    for folder in (home / "results" / "pretrained").iterdir():
        assert (folder / "ae_weights.h5").read_text() == f"weights of {folder.name}"

    again = sweep(words)
    assert again.out.startswith("3 trials are done, 0 to do") and len(calls(base)) == 3


def test_what_fails_or_hangs_is_a_row_and_stops_no_other(sweep, home, base):
    order(base, "FcDEC", "fails", "fails")
    order(base, "ConvDEC", "sleep")
    words = "--methods FcDEC FcIDEC ConvDEC ConvIDEC --datasets digits --seeds 3 --gpus 0"
    done = sweep(f"{words} --timeout 0.1 --retries 1")
    assert (done.status, done.err) == (1, "1 failed: FcDEC digits seed 3\n")
    assert "failed ConvDEC digits seed 3" in done.out and "stopped after 0.1 minutes" in done.out
    table = {r["method"]: r for r in ledger.read_rows(home / "results" / "results.csv")}
    assert table.pop("FcDEC")["reason"] == "main.py: training failed: the loss is not finite"
    assert {row["status"] for row in table.values()} == {"ok"} and len(table) == 3
    assert [call["found"] for call in calls(base) if call["method"] == "FcIDEC"] == [True]
    assert {call["gpu"] for call in calls(base)} <= {None, ""}


def test_a_trial_whose_node_is_lost_is_started_again(sweep, home, base, cluster, monkeypatch):
    """A worker is killed, then a node; the trials end on what is left."""
    order(base, "FcDEC", "sleep")
    order(base, "ConvDEC", "sleep")
    killed, real = [], distributed.Cluster.poll

    def parent(pid):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    def poll(self, trial):
        begun = [call for call in calls(base) if call["pid"] not in killed]
        if not killed and len(begun) == 2:  # the workers of both nodes are at it
            killed.append(begun[0]["pid"])
            os.kill(parent(killed[0]), signal.SIGKILL)
        elif len(killed) == 1 and len(begun) == 2:  # the killed one has begun again
            killed.append(begun[0]["pid"])
            raylet = parent(parent(killed[1]))
            (node,) = (
                node
                for node in cluster.nodes
                if node.all_processes["raylet"][0].process.pid == raylet
            )
            cluster.nodes.remove(node)
            cluster.remove_node(node, allow_graceful=False)
        return real(self, trial)

    monkeypatch.setattr(distributed.Cluster, "poll", poll)
    done = sweep("--methods FcDEC ConvDEC --datasets digits --seeds 5")
    cluster.nodes.append(add_node(cluster))
    assert (done.status, done.err) == (0, "")
    assert done.out.count("it is started again") >= 2
    assert "WorkerCrashedError" in done.out and "NodeDiedError" in done.out
    assert {row["status"] for row in ledger.read_rows(home / "results" / "results.csv")} == {"ok"}
    assert all(gone(call["pid"]) for call in calls(base))


def test_a_trial_in_use_here_is_left_alone(home, base, cluster):
    """The run folder's lock on this machine also holds for what runs elsewhere."""
    args, rest = plan.parser().parse_known_args(["--methods", "FcDEC", "--datasets", "digits"])
    trial = plan.plan(args, rest)[0][0]
    executor = distributed.Cluster(cluster.address, home / "results")
    try:
        os.makedirs(trial.folder)
        with try_lock(os.path.join(trial.folder, "lock")), pytest.raises(distributed.FolderInUse):
            executor.start(trial)
        assert calls(base) == []
    finally:
        executor.stop()


@pytest.mark.parametrize("words, told", [("--threads 64", "64 CPU"), ("--gpus 3", "3 GPU")])
def test_what_no_node_has_is_refused(sweep, words, told):
    done = sweep(f"--methods FcDEC --datasets digits --trials 1 {words}")
    assert done.status == 2
    assert told in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:x"])
def test_an_address_without_a_cluster_is_refused(home, monkeypatch, capsys, address):
    words = ["--methods", "FcDEC", "--datasets", "digits", "--trials", "1", "--ray", address]
    monkeypatch.setattr(sys, "argv", ["run_exp.py", *words])
    assert run_exp.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no Ray cluster at {address!r}: " in line


def test_the_real_thing(sweep, home, base, monkeypatch):
    """On a node as here: the same labels."""
    fewer = "from experiments import run_figure\nrun_figure.POINTS = 40\n"
    real = f"{fewer}import real, sys\nif __name__ == '__main__':\n    sys.exit(real.main())\n"
    with monkeypatch.context() as patch:
        patch.setattr(paths, "ROOT", str(home / "code"))
        shutil.copytree(base, home / "code")
        (home / "code" / "main.py").write_text(real)
        tiny = "--methods FcDEC --datasets digits --trials 1 --pretrain-epochs 1 --maxiter 2"
        done = sweep(f"{tiny} --n-init 1 --gpus 0")
    assert (done.status, done.err) == (0, "")
    (folder,) = (home / "results" / "runs").iterdir()
    assert {
        "config.json",
        "log.csv",
        "labels.npy",
        "embedding.npy",
        "ae_weights.h5",
        "model_final.h5",
        "result.json",
    } <= set(os.listdir(folder))
    from models import load

    x = datasets.load("digits").x
    labels = load(folder / "model_final.h5").predict(x)
    assert np.array_equal(labels, np.load(folder / "labels.npy"))
