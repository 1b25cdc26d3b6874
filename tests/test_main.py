"""The command line of one run: what it refuses, what it writes, how it resumes.

What fails before TensorFlow is set up, and what needs no process of its own, runs in this one.
Runs that need a fresh process are forked off a server that has imported TensorFlow once; two
tests start `python main.py` itself.
"""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import main
import metrics
from common import device
from common.errors import UserError
from common.locks import locked
from experiments import ledger, runs
from experiments import run_figure as report
from experiments.run_log import read_log

ROOT = Path(main.__file__).resolve().parent
TINY = (
    "--pretrain-epochs",
    "1",
    "--maxiter",
    "4",
    "--update-interval",
    "2",
    "--tol",
    "0",
    "--n-init",
    "1",
    "--threads",
    "1",
    "--quiet",
)
FILES = {
    "config.json",
    "log.csv",
    "labels.npy",
    "embedding.npy",
    "clusters.png",
    "ae_weights.h5",
    "pretrained_codes.npy",
    "labels.csv",
    "encoder.keras",
    "autoencoder.keras",
    "encoder.weights.h5",
    "model_final.h5",
    "result.json",
}
PATIENCE = 900  # seconds; for a machine with much else to do


# ---- running main.py --------------------------------------------------------------------------


def outcome(status, out, err):
    return SimpleNamespace(status=status, out=out, err=err, lines=err.splitlines())


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run main.py's words in this process, without its set-up of TensorFlow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        device, "set_up", lambda threads, device, parallel: {"device": "", "threads": threads}
    )

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, words)])
        capsys.readouterr()
        try:
            status = main.main()
        except SystemExit as end:  # argparse
            status = end.code
        return outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(command, tmp_path):
    """Run words that are a mistake and return the one line that says so."""

    def run(*words, status=2):
        words = [*words, "--cache-dir", tmp_path / "cache"] if "--cache-dir" not in words else words
        done = command(*words)
        assert (done.status, done.out) == (status, "")
        assert len(done.lines) == 1, done.err
        assert done.err.startswith("main.py: ")
        return done.err

    return run


@pytest.fixture
def early(refused, monkeypatch):
    """`refused`, and that before TensorFlow is set up: bad input is told at once."""

    def set_up(threads, device, parallel):
        raise AssertionError("accepted")

    monkeypatch.setattr(device, "set_up", set_up)
    return refused


def real(*words, cwd, options=()):
    """Run `python main.py` itself."""
    line = [sys.executable, *options, str(ROOT / "main.py"), *map(str, words)]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE)
    return outcome(done.returncode, done.stdout, done.stderr)


def work(words, folder, stem, largest, widths):
    """Be `python main.py WORDS` in a folder, with output to files; no file may grow larger.

    With `widths` the Fc methods' hidden layers have these.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(stem + suffix, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.argv = ["main.py", *words]
    report.POINTS = 40  # t-SNE would take longer than all the rest
    if widths:
        from models.core import networks

        full = networks.dense_autoencoder
        networks.AUTOENCODERS["fc"] = lambda *args: full(*args, widths=widths)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.exit(main.main())


class Command:
    """A process at work on main.py's words."""

    def __init__(self, context, words, folder, stem, largest, widths):
        self.stem = str(stem)
        told = [str(word) for word in words], str(folder), self.stem, largest, widths
        self.process = context.Process(target=work, args=told)
        self.process.daemon = True
        self.process.start()

    def end(self):
        """Wait for it and return its outcome."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"not done after {PATIENCE} s"
        texts = [Path(self.stem + suffix).read_text() for suffix in (".out", ".err")]
        return outcome(self.process.exitcode, *texts)


@pytest.fixture(scope="module")
def start(forks, tmp_path_factory):
    """Start main.py's words in a folder, in a process of their own."""
    stems = (tmp_path_factory.mktemp("output") / str(i) for i in range(1000))

    def command(*words, cwd, largest=resource.RLIM_INFINITY, widths=None):
        return Command(forks, words, cwd, next(stems), largest, widths)

    return command


@pytest.fixture(scope="module")
def fresh(start):
    """Run main.py's words in a folder, in a process of their own."""
    return lambda *words, **others: start(*words, **others).end()


# ---- data -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A labelled .npz of 60 digits 0, 1 and 2."""
    digits = load_digits()
    rows = np.flatnonzero(digits.target < 3)[:60]
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x=digits.images[rows] / 16, y=digits.target[rows])
    return path


@pytest.fixture
def put(tmp_path):
    """Write an array to a .npy file."""

    def write(array, name="mine.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return write


def images(n=12, side=8):
    return np.random.default_rng(0).random((n, side, side))


def rows(folder, phase=None):
    """The rows of a run's log, without the time."""
    with open(Path(folder) / "log.csv", newline="") as file:
        every = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    return [row for row in every if phase in (None, row["phase"])]


def result_of(folder):
    return json.loads((Path(folder) / "result.json").read_text())


def scores_line(text):
    (line,) = [line for line in text.splitlines() if line.startswith("scores: ")]
    return line


# ---- what is refused --------------------------------------------------------------------------


def test_help_needs_no_tensorflow(tmp_path):
    done = real("-h", cwd=tmp_path, options=["-X", "importtime"])
    assert done.status == 0
    assert done.out.startswith("usage: main.py")
    imported = {line.rpartition("|")[2].strip() for line in done.lines}
    assert "argparse" in imported
    assert not {name for name in imported if name.startswith(("tensorflow", "keras"))}
    for option in ("--method", "--pretrained-weights", "--dry-run", "--checkpoint-seconds"):
        assert option in done.out


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    done = real("--method", "ConvDEC-DAA", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    (line,) = done.lines
    assert line.startswith(
        "main.py: error: unknown method 'ConvDEC-DAA'; did you mean 'ConvDEC-DA'? choose from "
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, told",
    [
        ("--method Conv", ["'Conv'", "FcDEC,", "ConvIDEC-DA"]),
        ("--method convdec-da", ["'convdec-da'", "did you mean 'ConvDEC-DA'?"]),
        ("--dataset minst", ["unknown dataset 'minst'", "did you mean 'mnist'?", "usps"]),
        ("--dataset digits --data a.npy", ["--dataset digits", "--data a.npy", "only one"]),
        ("--n-clusters 0", ["n_clusters=0", "2 to n=1797"]),
        ("--n-clusters 1", ["n_clusters=1", "2 to n=1797"]),
        ("--n-clusters 1798", ["n_clusters=1798", "2 to n=1797"]),
        ("--n-clusters ten", ["--n-clusters", "'ten'", "a whole number"]),
        ("--lr -1", ["lr=-1.0", "a finite number > 0"]),
        ("--lr 0", ["lr=0.0", "a finite number > 0"]),
        ("--lr nan", ["lr=nan", "a finite number > 0"]),
        ("--pretrain-lr inf", ["pretrain_lr=inf", "a finite number > 0"]),
        ("--tol abc", ["--tol", "'abc'", "float"]),
        ("--tol -0.1", ["tol=-0.1", ">= 0"]),
        ("--tol nan", ["tol=nan", ">= 0"]),
        ("--optimizer foo", ["unknown optimizer 'foo'", "sgd, adam"]),
        ("--pretrain-optimizer foo", ["unknown pretrain_optimizer 'foo'", "sgd, adam"]),
        ("--method ConvDEC --momentum 0.9", ["momentum=0.9", "adam has none", "sgd"]),
        ("--method FcDEC --optimizer adam --momentum 0.5", ["momentum=0.5", "adam has none"]),
        ("--method FcDEC --momentum 1", ["momentum=1.0", "< 1"]),
        ("--batch-size 0", ["batch_size=0", "an integer >= 1"]),
        ("--latent-dim 0", ["latent_dim=0", "an integer >= 1"]),
        ("--n-init 0", ["n_init=0", "an integer >= 1", "'auto'"]),
        ("--n-init many", ["--n-init", "'many'", "an integer or auto"]),
        ("--method FcDEC --n-init auto --init spectral", ["n_init='auto'", "init='spectral'"]),
        ("--method GMM --n-init auto", ["--n-init", "'auto'", "int"]),
        ("--method FcDEC --init kmeans", ["unknown init 'kmeans'", "k-means", "umap"]),
        ("--method SpectralNet --init gmm", ["init='gmm'", "does not start from a clustering"]),
        ("--method k-means --init gmm", ["--init is not a setting of k-means"]),
        ("--update-interval 0", ["update_interval=0", "an integer >= 1"]),
        ("--pretrain-epochs -1", ["pretrain_epochs=-1", "an integer >= 0"]),
        ("--pretrain-epochs 1.5", ["--pretrain-epochs", "'1.5'", "int"]),
        ("--maxiter -1", ["maxiter=-1", "an integer >= 0"]),
        ("--alpha nan", ["alpha=nan", ">= 0"]),
        ("--beta -1", ["beta=-1.0", ">= 0"]),
        ("--shift 1", ["shift=1.0", ">= 0", "< 1"]),
        ("--rotation 200", ["rotation=200.0", "<= 180"]),
        ("--center middle", ["unknown center 'middle'", "original, true"]),
        ("--seed -1", ["seed=-1", "0 to 2147483647"]),
        ("--seed 2147483648", ["seed=2147483648", "0 to 2147483647"]),
        ("--seed 1.5", ["--seed", "'1.5'", "int"]),
        ("--checkpoint-seconds -1", ["checkpoint_seconds=-1.0", ">= 0"]),
        ("--checkpoint-seconds nan", ["checkpoint_seconds=nan", ">= 0"]),
        ("--data-dir nowhere", ["'nowhere'", "no such folder"]),
        ("--device tpu", ["--device", "'tpu'", "'cpu', 'gpu'"]),
        ("--frobnicate 3", ["unrecognized arguments", "--frobnicate"]),
        ("--method", ["--method", "expected one argument"]),
    ],
)
def test_bad_words(early, tmp_path, words, told):
    named = [] if "--method" in words else ["--method", "ASPC-DA"]
    line = early(*named, *words.split())
    for part in told:
        assert part in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["-t", "--weights", "model_final.h5"]])
@pytest.mark.parametrize("threads", [0, -2])
def test_threads_out_of_range(refused, monkeypatch, tmp_path, words, threads):
    monkeypatch.setattr(device, "set_up", SET_UP)
    words = [*words, "--dataset", "digits", "--threads", threads, "--save-dir", tmp_path / "run"]
    line = refused(*words)
    assert f"threads={threads}: expected an integer >= 1" in line


SET_UP = device.set_up


@pytest.mark.parametrize(("flag", "warned"), [("avx512_vnni", True), ("avx512_bf16", False)])
def test_bfloat16_without_units_for_it_is_warned_of_even_if_quiet(
    command, monkeypatch, tmp_path, flag, warned
):
    def execute(*args):
        raise UserError("not trained")

    monkeypatch.setattr(device, "cpu_flags", lambda: {flag})
    monkeypatch.setattr(device, "set_up", lambda *args: {"device": device.cpu_name(), "threads": 1})
    monkeypatch.setattr(runs, "execute", execute)
    folders = ("--save-dir", tmp_path / "run", "--cache-dir", tmp_path / "cache")
    done = command("--method", "ASPC-DA", "--precision", "bfloat16", "--quiet", *folders)
    assert done.lines[-1] == "main.py: error: not trained"
    assert len(done.lines) == 1 + warned
    if warned:
        assert done.lines[0].startswith("warning: precision bfloat16: this CPU has no units")


@pytest.mark.parametrize(
    "array, words, told",
    [
        (np.zeros((4, 2, 2, 2, 1)), (), ["shape (4, 2, 2, 2, 1)", "expected", "(n, h, w, c)"]),
        (np.zeros((4, 8, 8, 2)), (), ["shape (4, 8, 8, 2)", "c = 1 or 3"]),
        (np.zeros(9), (), ["shape (9,)", "expected"]),
        (np.where(np.eye(8) > 0, np.nan, images(3)), (), ["24 values", "NaN", "(0, 0, 0)"]),
        (np.where(np.eye(8) > 0, np.inf, images(3)), (), ["24 values", "inf", "finite"]),
        (images(12), (), ["--n-clusters K"]),
        (images(12), ("--n-clusters", 0), ["n_clusters=0", "2 to 12"]),
        (images(12), ("--n-clusters", 1), ["n_clusters=1", "2 to 12"]),
        (images(12), ("--n-clusters", 13), ["n_clusters=13", "2 to 12"]),
        (np.array([["a", "b"], ["c", "d"]]), (), ["dtype", "real numbers"]),
        (np.array([{}, None], object), (), ["mine.npy"]),
        (images(1), ("--n-clusters", 2), ["n = 1", "at least 2"]),
    ],
)
def test_bad_data(early, put, array, words, told):
    line = early("--data", put(array), *words)
    for part in ["mine.npy", *told]:
        assert part in line


@pytest.mark.parametrize("kind", ["missing", "truncated", "text", "folder", "ending", "no pixels"])
def test_bad_data_files(early, small, tmp_path, kind):
    path = tmp_path / "bad.npz"
    if kind == "truncated":
        path.write_bytes(small.read_bytes()[: small.stat().st_size // 2])
    elif kind == "text":
        path.write_text("these are not arrays")
    elif kind == "folder":
        path = tmp_path / "bad"
        path.mkdir()
    elif kind == "ending":
        path = tmp_path / "bad.mat"
        path.write_text("")
    elif kind == "no pixels":
        np.savez(path, x=np.zeros((0, 8, 8)), y=np.zeros(0))
    line = early("--data", path)
    assert str(path) in line
    assert "expected" in line or "cannot be read" in line


@pytest.mark.parametrize(
    "method", ["FcDEC-DA", "FcIDEC-DA", "FcDCN-DA", "ConvDEC", "ConvDEC-DA", "ConvIDEC-DA"]
)
def test_flat_data_that_is_no_square_image(early, put, method):
    line = early("--data", put(np.eye(20)[:, :13]), "--n-clusters", 2, "--method", method)
    assert "vectors of 13 numbers" in line
    assert method.removesuffix("-DA").replace("Conv", "Fc") in line.partition("such as")[2]
    assert "--image-shape" in line


def test_flat_data_suits_what_neither_augments_nor_convolves(command, put):
    words = ("--data", put(np.eye(20)[:, :13]), "--n-clusters", 2, "--dry-run")
    assert command(*words, "--method", "FcIDEC").status == 0
    words += ("--method", "FcDEC-DA", "--no-aug-pretrain", "--no-aug-cluster")
    assert command(*words).status == 0
    assert command(*words, "--aug-cluster").status == 2


def test_images_too_small_to_convolve(refused, put, tmp_path):
    words = ("--data", put(images(12, side=6)), "--n-clusters", 2, "--save-dir", tmp_path / "run")
    line = refused(*words, "--method", "ConvDEC-DA", "--quiet")
    assert "(6, 6, 1)" in line
    assert "at least 8 pixels" in line


@pytest.mark.parametrize("below", ["", "run"])
def test_a_save_dir_that_cannot_be(early, tmp_path, below):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / below
    line = early("--save-dir", path)
    assert f"cannot write to the folder {str(path)!r}" in line


def test_a_cache_dir_that_cannot_be(refused, small, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(
        "--data",
        small,
        "--method",
        "FcDEC",
        *TINY,
        "--save-dir",
        tmp_path / "run",
        "--cache-dir",
        tmp_path / "file" / "cache",
    )
    assert str(tmp_path / "file" / "cache") in line


def test_a_save_dir_in_use(refused, tmp_path, small):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / "lock"):
        line = refused("--data", small, "--method", "FcDEC", *TINY, "--save-dir", "run", status=75)
    assert "'run' is in use by another process" in line
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["lock"]


def test_a_loss_that_explodes(command, small, tmp_path):
    words = ("--data", small, "--method", "FcDEC", *TINY, "--save-dir", tmp_path / "run")
    done = command(*words, "--lr", "1e30")
    *retries, line = [one for one in done.lines if "warning" in one or "failed" in one]
    assert done.status == 3 and len(retries) == 3
    assert all("starts over with a learning rate" in one for one in retries)
    assert line.startswith("main.py: training failed: ") and "not finite" in line
    assert "--lr" in line
    assert not (tmp_path / "run" / "result.json").exists()


def test_gpu_where_there_is_none(fresh, tmp_path):
    if list(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists():
        pytest.skip("this machine has a GPU")
    done = fresh("--device", "gpu", "--save-dir", "run", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    (line,) = done.lines
    assert "device 'gpu'" in line and "expected cpu" in line


# ---- settings ---------------------------------------------------------------------------------


def dry(command, *words):
    """What --dry-run tells: the resolved run and the two estimates in minutes."""
    done = command(*words, "--dry-run")
    assert (done.status, done.err) == (0, "")
    told, end = json.JSONDecoder().raw_decode(done.out)
    found = re.fullmatch(
        r"about ([\d.]+) min of pretraining, at most ([\d.]+) min of clustering",
        done.out[end:].strip(),
    )
    return told, [float(number) for number in found.groups()]


@pytest.fixture
def settled(command, monkeypatch):
    """What --dry-run tells of the resolved run; no time is spent on the estimate."""
    monkeypatch.setattr(main, "estimate", lambda config, data, threads: [1.0, 2.0])
    return lambda *words: dry(command, *words)[0]


SGD_1 = {"name": "sgd", "lr": 1.0, "momentum": 0.9}
SGD_01 = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
ADAM = {"name": "adam", "lr": 0.001}
ADAM_4 = {"name": "adam", "lr": 0.0001}


@pytest.mark.parametrize(
    "method, network, pretrain_optimizer, optimizer, alpha, beta, interval",
    [
        ("FcDEC", "fc", SGD_1, SGD_01, 0.0, 1.0, 30),
        ("FcIDEC", "fc", SGD_1, SGD_1, 1.0, 0.1, 30),
        ("FcDCN", "fc", SGD_1, ADAM_4, 0.0, 1.0, None),
        ("ConvDEC", "conv", ADAM, ADAM, 0.0, 1.0, 30),
        ("ConvIDEC", "conv", ADAM, ADAM, 1.0, 0.1, 30),
    ],
)
@pytest.mark.parametrize("suffix", ["", "-DA"])
def test_presets(
    settled, tmp_path, method, suffix, network, pretrain_optimizer, optimizer, alpha, beta, interval
):
    told = settled("--method", method + suffix)
    config = told.pop("config")
    assert told.pop("save_dir").startswith(str(ROOT / "results" / "runs" / f"{method}{suffix}-"))
    assert told == {
        "method": method + suffix,
        "dataset": "digits",
        "n": 1797,
        "n_clusters": 10,
        "shape": [8, 8, 1],
        "seed": 0,
    }
    assert config["network"] == network
    assert config["pretrain_optimizer"] == pretrain_optimizer
    assert config["optimizer"] == optimizer
    assert (config["alpha"], config["beta"]) == (alpha, beta)
    assert config["update_interval"] == interval
    assert config["aug_pretrain"] is config["aug_cluster"] is bool(suffix)
    assert (config["pretrain_epochs"], config["maxiter"], config["tol"]) == (250, 20000, 0.001)
    assert (config["batch_size"], config["latent_dim"]) == (256, 10)
    assert (config["shift"], config["rotation"]) == (0.1, 10.0)
    assert list(tmp_path.iterdir()) == []  # a dry run leaves nothing behind


def test_the_update_interval_grows_with_the_data(settled, put):
    words = ("--data", put(100 * np.eye(20000, 4)), "--n-clusters", 2)
    assert settled(*words, "--method", "FcDEC")["config"]["update_interval"] == 140
    assert settled(*words, "--method", "FcDCN")["config"]["update_interval"] is None


def test_defaults(command):
    told, (pretrain, cluster) = dry(command)
    assert (told["method"], told["dataset"], told["seed"]) == ("SpectralSAT-DA", "digits", 0)
    assert pretrain == 0 and cluster > 0


def test_the_start_and_its_restarts(settled, command, small, tmp_path):
    words = ("--method", "FcDEC", "--n-init", "auto", "--init", "umap")
    config = settled(*words)["config"]
    assert (config["n_init"], config["init"]) == ("auto", "umap")
    assert "init" not in settled("--method", "FcDEC")["config"]
    told, minutes = dry(command, "--method", "k-means", "--n-init", "auto")
    assert told["config"] == {"n_init": "auto"} and minutes[1] > 0
    words = ("--method", "k-means", "--data", small, "--n-init", "auto")
    done = command(*words, "--save-dir", tmp_path / "run", "--cache-dir", tmp_path / "cache")
    assert done.status == 0
    row = result_of(tmp_path / "run")
    assert (row["overrides"], row["n_init_made"]) == ("n_init=auto", 20)
    assert sum("k-means: 20 restarts" in line for line in done.lines) == 1


def test_overrides_act(settled):
    words = (
        "--method",
        "FcDEC-DA",
        "--tol",
        0.05,
        "--lr",
        0.5,
        "--momentum",
        0.1,
        "--maxiter",
        7,
        "--update-interval",
        3,
        "--pretrain-epochs",
        2,
        "--pretrain-lr",
        0.2,
        "--n-init",
        4,
        "--batch-size",
        32,
        "--latent-dim",
        5,
        "--alpha",
        0.3,
        "--beta",
        0.7,
        "--seed",
        3,
        "--shift-pixels",
        2,
        "--rotation",
        5,
        "--center",
        "true",
        "--no-aug-cluster",
        "--n-clusters",
        4,
        "--save-dir",
        "here",
    )
    told, plain = settled(*words), settled("--method", "FcDEC-DA")
    assert (told["seed"], told["n_clusters"], told["save_dir"]) == (3, 4, "here")
    changed = {
        "tol": 0.05,
        "maxiter": 7,
        "update_interval": 3,
        "pretrain_epochs": 2,
        "n_init": 4,
        "batch_size": 32,
        "latent_dim": 5,
        "alpha": 0.3,
        "beta": 0.7,
        "shift_pixels": 2.0,
        "rotation": 5.0,
        "center": "true",
        "aug_cluster": False,
        "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.1},
        "pretrain_optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.9},
    }
    assert told["config"] == plain["config"] | changed


@pytest.mark.parametrize(
    "words, optimizer",
    [
        ("--method FcDEC --optimizer sgd --lr 0.01", SGD_01),
        ("--method FcIDEC --optimizer sgd", SGD_1),  # the preset's kind keeps its numbers
        ("--method FcIDEC --optimizer adam", ADAM),
        ("--method ConvDEC --optimizer sgd --lr 2", SGD_01 | {"lr": 2.0}),
        ("--method ConvDEC --optimizer sgd --momentum 0", SGD_01 | {"momentum": 0.0}),
        ("--method ConvDEC --lr 2", {"name": "adam", "lr": 2.0}),
    ],
)
def test_optimizers(settled, words, optimizer):
    config = settled(*words.split())["config"]
    assert config["optimizer"] == optimizer
    assert config["pretrain_optimizer"] == (ADAM if "Conv" in words else SGD_1)


def test_every_setting_has_a_folder_of_its_own(settled, put):
    """Without --save-dir no two different runs meet in one folder, and equal ones do."""
    other = put(images(12))
    lines = [
        "",
        "--seed 1",
        "--tol 0.5",
        "--lr 0.5",
        "--method FcDEC",
        "--n-clusters 3",
        "--no-aug-pretrain",
        f"--data {other} --n-clusters 3",
        "--pretrained-weights a.h5",
        "--pretrained-weights b.h5",
    ]
    lines = [line if "--method" in line else f"--method ASPC-DA {line}" for line in lines]
    folders = [settled(*line.split())["save_dir"] for line in lines]
    assert len(set(folders)) == len(lines)
    assert settled("--method", "ASPC-DA")["save_dir"] == folders[0]


def test_the_estimate_counts_what_is_to_be_done(command):
    words = ("--method", "FcDEC-DA", "--pretrain-epochs")
    _, none = dry(command, *words, 0, "--maxiter", 0)
    assert none == [0, 0]
    _, much = dry(command, *words, 100000, "--maxiter", 10**9)
    _, more = dry(command, *words, 1000000, "--maxiter", 10**9)
    assert 3 < more[0] / much[0] < 30  # ten times, on a machine that may be busy
    assert more[1] > 100


# ---- one run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(fresh, tmp_path_factory):
    """FcDEC-DA on digits: its words, its folder, what it printed."""
    folder = tmp_path_factory.mktemp("run")
    words = (
        "--method",
        "FcDEC-DA",
        "--dataset",
        "digits",
        "--save-dir",
        "fcdec-da",
        "--cache-dir",
        "cache",
        *TINY,
    )
    done = fresh(*words, cwd=folder)
    assert (done.status, done.err) == (0, "")
    return SimpleNamespace(words=words, cwd=folder, folder=folder / "fcdec-da", done=done)


def test_a_run_leaves_its_files(run):
    found = {path.name for path in run.folder.iterdir()}
    assert found - {"lock"} == FILES
    with Image.open(run.folder / "clusters.png") as image:
        assert image.format == "PNG" and min(image.size) > 100
        image.load()
    labels, z = np.load(run.folder / "labels.npy"), np.load(run.folder / "embedding.npy")
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert set(labels) <= set(range(10))
    assert z.shape == (1797, 10) and z.dtype == np.float32
    (pretrained,) = (run.cwd / "cache").iterdir()
    assert {path.name for path in pretrained.iterdir()} - {"lock"} == {"ae_weights.h5"}


def test_a_run_tells_its_result(run):
    result = result_of(run.folder)
    assert set(ledger.COLUMNS) - {"reason"} <= set(result)
    assert [name for name, value in result.items() if value is None] == []
    expected = {
        "method": "FcDEC-DA",
        "dataset": "digits",
        "n": 1797,
        "k": 10,
        "seed": 0,
        "status": "ok",
        "iterations": 4,
        "converged": False,
        "pretrain_epochs": 1,
        "aug_pretrain": True,
        "aug_cluster": True,
        "threads": 1,
    }
    assert {name: result[name] for name in expected} == expected
    assert result["cpu"] == device.cpu_kind() and isinstance(result["onednn"], bool)
    assert set(result["overrides"].split()) == {
        "pretrain_epochs=1",
        "maxiter=4",
        "update_interval=2",
        "n_init=1",
        "tol=0.0",
    }
    assert result["command"] == "python main.py " + " ".join(run.words)
    assert result["seconds_total"] == pytest.approx(
        sum(result[f"seconds_{name}"] for name in ("pretrain", "initialize", "cluster")), abs=0.02
    )
    assert 0 < result["seconds_steps"] < result["seconds_total"]
    y, labels = load_digits().target, np.load(run.folder / "labels.npy")
    for name, value in metrics.scores(y, labels).items():
        assert result[name] == value
    ledger.as_row(result)  # what the ledger takes

    printed = run.done.out.splitlines()
    four = "acc {acc:.4f}  nmi {nmi:.4f}  nmi_geometric {nmi_geometric:.4f}  ari {ari:.4f}"
    assert "scores: " + four.format(**result) in printed
    (before,) = [line for line in printed if line.startswith("k-means")]
    assert f"acc {result['kmeans_acc']:.4f}" in before
    assert "fcdec-da" in printed[-1] and "clusters.png" in printed[-1]


def test_a_run_logs_its_progress(run):
    log = rows(run.folder)
    assert [(row["phase"], row["step"]) for row in log] == [
        ("pretrain", "7"),
        ("cluster", "0"),
        ("cluster", "2"),
        ("final", "4"),
    ]
    assert float(log[0]["reconstruction"]) > 0
    assert log[1]["changed"] == "1"
    assert float(log[2]["kl"]) > 0
    result = result_of(run.folder)
    assert float(log[-1]["acc"]) == pytest.approx(result["acc"], abs=1e-6)
    assert float(log[-2]["acc"]) == pytest.approx(result["refresh_acc"], abs=1e-6)
    assert float(log[-2]["nmi"]) == pytest.approx(result["refresh_nmi"], abs=1e-6)
    assert log[0]["acc"] == ""


def state(folder):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}


def test_the_same_command_again_returns_the_stored_result(run, command, monkeypatch):
    monkeypatch.chdir(run.cwd)
    monkeypatch.setattr(runs, "build", None)  # no model is made
    before = state(run.folder)
    done = command(*run.words)
    said, _, out = done.out.partition("\n")
    assert (done.status, out) == (0, run.done.out)
    assert said == f"already done on {result_of(run.folder)['finished']}; --overwrite starts over"
    assert "already" not in run.done.out
    changed = {name for name, when in state(run.folder).items() if before.get(name) != when}
    assert changed <= {"lock", "config.json"}


@pytest.mark.parametrize(
    "words, told",
    [
        (["--tol", 0.5], ["tol 0.0 there, 0.5 here"]),
        (["--seed", 7], ["seed 0 there, 7 here"]),
        (["--method", "FcDEC"], ["method 'FcDEC-DA' there, 'FcDEC' here"]),
        (["--n-clusters", 3], ["k 10 there, 3 here"]),
        (["--pretrained-weights", "fcdec-da/ae_weights.h5"], ["pretrained_weights None there"]),
    ],
)
def test_another_run_in_its_folder_is_refused(run, refused, monkeypatch, words, told):
    monkeypatch.chdir(run.cwd)
    before = state(run.folder)
    line = refused(*run.words, *words)
    for part in ["'fcdec-da' holds another run", "--save-dir", "--overwrite", *told]:
        assert part in line
    assert {**state(run.folder), "lock": 0} == {**before, "lock": 0}


def test_overwrite(run, fresh, tmp_path):
    folder = tmp_path / "run"
    words = (*run.words, "--save-dir", folder, "--cache-dir", run.cwd / "cache")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for name in FILES:
        (folder / name).write_bytes((run.folder / name).read_bytes())
    done = fresh(*words, "--maxiter", 1, "--overwrite", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert result_of(folder)["iterations"] == 1
    assert [(row["phase"], row["step"]) for row in rows(folder)] == [
        ("cluster", "0"),
        ("final", "1"),
    ]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "ae_weights.h5").exists()


def test_unlabelled_data(put, tmp_path):
    """Also the one run here of `python main.py` as it is, TensorFlow's own messages included."""
    path = put(images(20))
    words = (
        "--data",
        path,
        "--n-clusters",
        3,
        "--method",
        "ConvDEC-DA",
        *TINY,
        "--save-dir",
        "run",
        "--cache-dir",
        "cache",
    )
    done = real(*words, cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    assert "acc" not in done.out and "nmi" not in done.out
    result = result_of(tmp_path / "run")
    assert not {name for name in result if name.endswith(("acc", "nmi", "ari"))}
    assert (result["dataset"], result["n"], result["k"]) == ("mine", 20, 3)
    assert {row[name] for row in rows(tmp_path / "run") for name in ("acc", "nmi", "ari")} == {""}
    labels = np.load(tmp_path / "run" / "labels.npy")
    assert labels.shape == (20,) and set(labels) <= {0, 1, 2}
    ledger.as_row(result)


# ---- weights ----------------------------------------------------------------------------------


def test_the_issues_three_lines(fresh, tmp_path):
    """Train; start from the pretrained weights; score the model. As written, but tiny."""
    tiny = (*TINY, "--cache-dir", "cache")
    line = "--method FcDEC --optimizer sgd --lr 0.01 --save-dir results/fcdec"
    train = fresh(*line.split(), *tiny, cwd=tmp_path, widths=(20,))
    assert (train.status, train.err) == (0, "")
    first = tmp_path / "results" / "fcdec"

    line = (
        "--method FcDEC --optimizer sgd --lr 0.01 --pretrained-weights results/fcdec/ae_weights.h5"
    )
    again = fresh(*line.split(), *tiny, "--save-dir", "again", cwd=tmp_path, widths=(20,))
    assert (again.status, again.err) == (0, "")
    assert [row["phase"] for row in rows(tmp_path / "again")] == ["cluster", "cluster", "final"]
    assert np.array_equal(np.load(first / "labels.npy"), np.load(tmp_path / "again" / "labels.npy"))
    assert "pretrained_weights=" in result_of(tmp_path / "again")["overrides"]
    assert "pretrained_weights=" not in result_of(first)["overrides"]

    line = "--method FcDEC -t --weights results/fcdec/model_final.h5"
    test = fresh(*line.split(), cwd=tmp_path, widths=(20,))
    assert (test.status, test.err) == (0, "")
    assert scores_line(test.out) == scores_line(train.out)
    sizes = np.bincount(np.load(first / "labels.npy"), minlength=10)
    assert "samples a cluster: " + " ".join(map(str, sizes)) in test.out.splitlines()


def test_scores_of_a_saved_model(run, command):
    done = command("--method", "FcDEC-DA", "-t", "--weights", run.folder / "model_final.h5")
    assert (done.status, done.err) == (0, "")
    assert scores_line(done.out) == scores_line(run.done.out)


def test_a_saved_model_on_other_data(run, command, small, put):
    words = ("--method", "FcDEC-DA", "-t", "--weights", run.folder / "model_final.h5")
    done = command(*words, "--data", small)
    assert done.status == 0 and "n=60, 10 clusters" in done.out
    done = command(*words, "--data", put(images(20)))
    assert done.status == 0 and "scores" not in done.out


def test_a_saved_model_says_what_it_is(run, command, small, put):
    """Neither method nor K is asked for; of labels neither."""
    words = ("-t", "--weights", run.folder / "model_final.h5", "--data")
    with_method = command("--method", "FcDEC-DA", *words, small)
    assert command(*words, small).out == with_method.out
    assert with_method.out.startswith("FcDEC-DA on ") and "scores" in with_method.out
    unlabelled = command(*words, put(images(5)))  # fewer than the model has clusters
    assert unlabelled.status == 0 and "n=5, 10 clusters" in unlabelled.out


@pytest.mark.parametrize("use", [["-t"], ["--predict", "new.csv"]], ids=["test", "predict"])
@pytest.mark.parametrize(
    "words",
    ["--n-clusters 7", "--n-clusters 2-5", "--seed 3", "--save-dir x", "--strict", "--trials 2"]
    + ["--n-init 3", "--pretrained-weights ae_weights.h5"],
)
def test_what_decides_a_run_has_no_meaning_for_a_saved_model(refused, use, words):
    flag = words.split()[0]
    assert f"{flag} " in (line := refused(*use, "--method", "FcDEC", *words.split()))
    assert f"and {use[0]}: expected only one" in line


def test_a_saved_model_is_scored_on_one_data_set(refused):
    line = refused("-t", "--weights", "run", "--data", "a.csv", "--dataset", "usps")
    assert "--dataset usps and --data a.csv: expected only one" in line


@pytest.mark.parametrize(
    "weights, words, told",
    [
        (None, [], ["no --weights", "model_final.h5"]),
        ("missing.h5", [], ["no weights file at 'missing.h5'"]),
        ("ae_weights.h5", [], ["autoencoder", "model_final.h5"]),
        ("model_final.h5", ["--method", "FcIDEC-DA"], ["FcDEC-DA model", "expected FcIDEC-DA"]),
        ("result.json", [], ["result.json", "HDF5"]),
        ("cut.h5", [], ["cut.h5", "HDF5"]),
        ("model_final.h5", ["--data"], ["(9, 9, 1)", "(8, 8, 1)"]),
    ],
)
def test_bad_weights_to_score(run, refused, put, tmp_path, weights, words, told):
    path = run.folder / str(weights)
    if weights == "missing.h5":
        path = weights
    elif weights == "cut.h5":
        path = tmp_path / weights
        path.write_bytes((run.folder / "model_final.h5").read_bytes()[:100000])
    given = [] if weights is None else ["--weights", path]
    if words == ["--data"]:
        words = ["--data", put(images(20, side=9))]
    line = refused("-t", "--method", "FcDEC-DA", *given, *words)
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    "weights, words, told",
    [
        ("missing.h5", [], ["cannot read the weights file 'missing.h5'"]),
        ("ae_weights.h5", ["--method", "ConvDEC-DA"], ["ae_weights.h5", "'conv' network"]),
        ("ae_weights.h5", ["--latent-dim", 3], ["ae_weights.h5", "(2000, 10)", "(2000, 3)"]),
        ("ae_weights.h5", ["--data"], ["ae_weights.h5", "(64, 500)", "(81, 500)"]),
        ("labels.npy", [], ["labels.npy", "HDF5"]),
    ],
)
def test_bad_weights_to_start_from(run, refused, put, tmp_path, weights, words, told):
    path = weights if weights == "missing.h5" else run.folder / weights
    if words == ["--data"]:
        words = ["--data", put(images(20, side=9)), "--n-clusters", 3]
    line = refused(
        "--method",
        "FcDEC-DA",
        "--pretrained-weights",
        path,
        *TINY,
        *words,
        "--save-dir",
        tmp_path / "run",
    )
    for part in told:
        assert part in line
    assert not (tmp_path / "run" / "result.json").exists()


# ---- killed and resumed -----------------------------------------------------------------------

LONG = (
    "--method",
    "FcIDEC-DA",
    "--lr",
    0.1,
    "--pretrain-epochs",
    20,
    "--maxiter",
    20,
    "--tol",
    0,
    "--update-interval",
    2,
    "--batch-size",
    32,
    "--n-init",
    2,
    "--threads",
    1,
    "--quiet",
    "--checkpoint-seconds",
    0,
    "--save-dir",
    "run",
    "--cache-dir",
    "cache",
)
NARROW = (60,)
STOPS = [
    ("pretrain", signal.SIGKILL),
    ("pretrain", signal.SIGINT),
    ("cluster", signal.SIGINT),
    ("cluster", signal.SIGKILL),
]


@pytest.fixture(scope="module")
def whole(start, small, tmp_path_factory):
    """The run that nothing interrupts, still at work: its command and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return start("--data", small, *LONG, cwd=folder, widths=NARROW), folder / "run"


def steps(folder, phase):
    return [int(row["step"]) for row in read_log(folder / "log.csv") if row["phase"] == phase]


def stop(start, folder, phase, number):
    """Start a run, send it a signal in a phase once it has logged progress; return its outcome."""
    before = max(steps(folder, phase), default=0)
    command = start()
    end = time.monotonic() + PATIENCE
    while max(steps(folder, phase), default=0) <= before:
        assert command.process.exitcode is None, command.end().err
        assert time.monotonic() < end, f"no progress in {phase}"
        time.sleep(0.005)
    os.kill(command.process.pid, number)
    return command.end()


def test_a_stopped_run_ends_like_one_that_was_not(whole, start, small, tmp_path):
    """Killed and interrupted, in pretraining and in clustering."""
    folder, line = tmp_path / "run", ("--data", small, *LONG)
    for phase, number in STOPS:
        stopped = stop(lambda: start(*line, cwd=tmp_path, widths=NARROW), folder, phase, number)
        if number == signal.SIGINT:
            assert (stopped.status, stopped.out) == (130, "")
            assert stopped.err == (
                "main.py: interrupted; the same command goes on where it stopped\n"
            )
        else:
            assert stopped.status == -signal.SIGKILL
        assert {row["phase"] for row in rows(folder)} <= {"pretrain", phase}  # in time
        assert not (folder / "result.json").exists()
        where = folder if phase == "cluster" else next((tmp_path / "cache").iterdir())
        assert (where / "checkpoint.h5").exists()

    done = start(*line, cwd=tmp_path, widths=NARROW).end()
    command, expected = whole
    assert (done.status, done.err) == (0, "")
    assert command.end().status == 0
    assert rows(folder) == rows(expected)
    assert [row["step"] for row in rows(folder, "cluster")] == [str(i) for i in range(0, 20, 2)]
    for name in ("labels.npy", "embedding.npy"):
        assert np.array_equal(np.load(folder / name), np.load(expected / name))
    assert scores_line(done.out) == scores_line(command.end().out)
    assert result_of(folder)["acc"] > 0.6  # there is something to be equal
    assert not (folder / "checkpoint.h5").exists()
    assert not list((tmp_path / "cache").glob("*/checkpoint.h5"))
    assert FILES.issubset(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sign", ["_multiarray_umath", "libtensorflow"])
def test_an_interrupt_while_modules_are_imported(sign, small, tmp_path):
    """Of NumPy, before main.py's first line, and of TensorFlow, inside a run."""
    line = [
        sys.executable,
        str(ROOT / "main.py"),
        "--data",
        str(small),
        "--method",
        "FcDEC",
        *TINY,
        "--save-dir",
        "run",
        "--cache-dir",
        "cache",
    ]
    # What is started in a shell's background is told to ignore SIGINT, and so are its children.
    process = subprocess.Popen(
        line,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while sign not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert err == "main.py: interrupted; the same command goes on where it stopped\n"


# ---- full disks and damaged files -------------------------------------------------------------


def test_a_full_disk_and_damaged_files_are_survived(fresh, small, tmp_path):
    """A limit on the size of files stands for the disk: both are an OSError at any write."""

    def run(folder, **others):
        words = ("--data", small, "--method", "FcDEC", *TINY, "--checkpoint-seconds", 0)
        words = (*words, "--save-dir", folder, "--cache-dir", "cache")
        return fresh(*words, cwd=tmp_path, widths=(300,), **others)

    full = run("one", largest=100_000)
    assert (full.status, full.out, len(full.lines)) == (74, "", 1)
    assert full.err.startswith("main.py: error: cannot write 'cache/")
    assert "File too large; nothing is lost, the same command goes on" in full.err
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("*.h5"))
    whole = run("one")
    assert (whole.status, whole.err) == (0, "")

    (weights,) = (tmp_path / "cache").glob("*/ae_weights.h5")
    good = weights.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 0xFF  # a weight: HDF5 does not notice
    weights.write_bytes(bad)
    other = tmp_path / "two"
    other.mkdir()
    (other / "checkpoint.h5").write_bytes(good[:5000])
    left = [other / ".labels.npy.abc.tmp", other / ".old.tmp", weights.parent / ".a.h5.b.tmp"]
    for path in left:
        path.write_text("")
    again = run("two")
    assert again.status == 0
    first, second = again.lines
    assert first.startswith("warning: ") and second.startswith("warning: ")
    assert f"put aside as cache/{weights.parent.name}/ae_weights.h5.damaged, trained" in first
    assert "put aside as two/checkpoint.h5.damaged, this phase starts over" in second
    assert not any(path.exists() for path in left)
    assert Path(f"{weights}.damaged").read_bytes() == bad
    for name in ("labels.npy", "embedding.npy"):
        assert np.array_equal(np.load(other / name), np.load(tmp_path / "one" / name))
    assert result_of(other)["acc"] == result_of(tmp_path / "one")["acc"]
