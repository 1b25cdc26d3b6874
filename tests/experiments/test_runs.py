"""A run's folder, log and figure, and the count of its operations."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from keras import layers
from PIL import Image
from threadpoolctl import threadpool_limits

import metrics
from common import checkout, logs
from common.errors import FolderInUse, UserError
from common.files import save_json
from common.locks import locked
from datasets import PROBLEMS
from experiments import description, published, runs
from experiments.run_figure import cluster_figure
from experiments.run_files import finished
from experiments.run_log import LOG_COLUMNS, RunMonitor, read_log
from experiments.runs import Run, execute, identity
from models import METHODS
from models.core.cost import layer_products, step_flops, weight_count
from models.core.networks import conv_autoencoder, dense_autoencoder
from models.settings.base import SGD, Adam
from models.settings.presets import preset

ROOT = Path(runs.__file__).resolve().parent.parent


def data(name="usps", n=9298, k=10, sha256="5a" * 32, named=True):
    return SimpleNamespace(
        held_out=None,
        own_vectors=False,
        name=name,
        n=n,
        n_clusters=k,
        sha256=sha256,
        x=None,
        y=None,
        named=named,
        source="named" if named else "file",
        preset_name=name if named else None,
    )


def run_of(folder="", method="FcDEC-DA", changes=None, weights=None, **others):
    samples = data()
    config = replace(preset(method, samples.name, samples.n), **(changes or {}))
    return Run(method, samples, 0, config, str(folder), pretrained_weights=weights, **others)


# ---- what a run is ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_settings_are_no_overrides(method):
    assert run_of(method=method).overrides() == ""


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"tol": 0.01}, {"tol=0.01"}),
        ({"tol": 0.01, "maxiter": 150}, {"tol=0.01", "maxiter=150"}),
        ({"optimizer": SGD(0.5, 0.9)}, {"optimizer=sgd(0.5,0.9)"}),
        ({"optimizer": Adam(1e-4)}, {"optimizer=adam(0.0001)"}),
        ({"pretrain_optimizer": SGD(1.0, 0.0)}, {"pretrain_optimizer=sgd(1,0)"}),
        ({"shift_pixels": 2.0, "center": "true"}, {"shift_pixels=2.0", "center=true"}),
        ({"aug_pretrain": False}, {"aug_pretrain=False"}),
        ({"update_interval": 140}, {"update_interval=140"}),
    ],
)
def test_overrides(changes, words):
    text = run_of(changes=changes).overrides()
    assert set(text.split()) == words


def test_overrides_compare_with_the_settings_for_the_data_at_hand():
    config = preset("FcDEC", "mnist", 70000)
    assert config.update_interval == 140
    assert Run("FcDEC", data("mnist", 70000), 0, config, "").overrides() == ""
    assert Run("FcDEC", data("usps", 9298), 0, config, "").overrides() == "update_interval=140"


@pytest.mark.parametrize(
    "changes, counts",
    [({}, True), ({"aug_pretrain": False}, True), ({"tol": 0.01}, False), ({"lr": 0.5}, False)],
)
def test_the_ledger_takes_only_the_papers_settings(changes, counts):
    """A one-stage variant is a method of the paper's; any other change is not in its tables."""
    if "lr" in changes:
        changes = {"optimizer": SGD(changes["lr"], 0.9)}
    run = run_of(changes=changes)
    row = {
        "method": run.method,
        "dataset": "usps",
        "seed": 0,
        "status": "ok",
        "acc": 0.5,
        "k": 10,
        "data_hash": PROBLEMS["usps"][1],
        "source": "named",
        "aug_pretrain": run.config.aug_pretrain,
        "aug_cluster": run.config.aug_cluster,
        "overrides": run.overrides(),
    }
    table = published.tables([row], published.read_paper(), "decda-2")
    assert table.attrs["covered"] == counts


def test_weights_are_part_of_a_run_by_content(tmp_path):
    one, same, other = (tmp_path / name for name in ("one.h5", "same.h5", "other.h5"))
    one.write_bytes(b"abc")
    same.write_bytes(b"abc")
    other.write_bytes(b"abd")
    assert run_of(weights=one).identity() == run_of(weights=same).identity()
    assert run_of(weights=one).identity() != run_of(weights=other).identity()
    assert run_of(weights=one).identity() != run_of().identity()
    word = run_of(weights=one).overrides()
    assert word == run_of(weights=same).overrides() != run_of(weights=other).overrides()
    assert word == f"pretrained_weights={run_of(weights=one).identity()['pretrained_weights']}"
    with pytest.raises(UserError, match="cannot read the weights file .*missing.h5"):
        run_of(weights=str(tmp_path / "missing.h5")).identity()


def test_identity_holds_all_that_decides_the_result():
    config = preset("FcDEC-DA")
    plain = identity("FcDEC-DA", data(), 0, config)
    assert json.loads(json.dumps(plain)) == plain
    assert plain == identity("FcDEC-DA", data(), 0, preset("FcDEC-DA"))
    others = [
        identity("FcDEC", data(), 0, config),
        identity("FcDEC-DA", data("mnist"), 0, config),
        identity("FcDEC-DA", data(n=9297), 0, config),
        identity("FcDEC-DA", data(k=9), 0, config),
        identity("FcDEC-DA", data(sha256="5b" * 32), 0, config),
        identity("FcDEC-DA", data(), 1, config),
        identity("FcDEC-DA", data(), 0, replace(config, tol=0.1)),
    ]
    assert plain not in others
    # Neither where it lies nor how it is told makes another run of it.
    elsewhere = run_of("there", cache_dir="cache", checkpoint_seconds=0, environment={"threads": 1})
    assert elsewhere.identity() == run_of("here").identity()


# ---- the log ----------------------------------------------------------------------------------


def write_log(path, places):
    """A log.csv with rows at (phase, step)."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        writer.writeheader()
        writer.writerows({"phase": phase, "step": step, "loss": 0.5} for phase, step in places)


def places(path):
    return [(row["phase"], int(row["step"])) for row in read_log(path)]


def test_no_log_has_no_rows(tmp_path):
    assert read_log(tmp_path / "log.csv") == []
    (tmp_path / "log.csv").write_text("")
    assert read_log(tmp_path / "log.csv") == []


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "log.csv"
    write_log(path, [("pretrain", 8), ("cluster", 0), ("cluster", 1234)])
    whole = path.read_bytes()
    start = whole.rindex(b"cluster")
    commas = [i for i in range(start, len(whole)) if whole[i : i + 1] == b","]
    for end in range(start, commas[-1] + 1):  # until the last comma the row is not whole
        path.write_bytes(whole[:end])
        assert places(path) == [("pretrain", 8), ("cluster", 0)], whole[start:end]


LOG = [
    ("pretrain", 4),
    ("pretrain", 8),
    ("cluster", 0),
    ("cluster", 2),
    ("cluster", 4),
    ("final", 4),
]


@pytest.mark.parametrize(
    "phase, step, kept",
    [
        ("pretrain", 0, 0),
        ("pretrain", 4, 0),  # the row of step 4 comes again: it is written before that step
        ("pretrain", 5, 1),
        ("pretrain", 8, 1),
        ("cluster", 0, 2),
        ("cluster", 2, 3),
        ("cluster", 3, 4),
        ("cluster", 4, 4),
        ("cluster", 5, 5),  # all but the final row
    ],
)
def test_a_resumed_phase_drops_the_rows_that_will_come_again(tmp_path, phase, step, kept):
    path = tmp_path / "log.csv"
    write_log(path, LOG)
    with open(path, "a") as file:
        file.write("cluster,6,0.1")  # cut
    RunMonitor(path, show=False).begin(phase, 10, step)
    assert places(path) == LOG[:kept]
    assert path.read_text().startswith(",".join(LOG_COLUMNS))


def test_a_monitors_rows_are_read_back(tmp_path):
    y = np.array([0, 0, 1, 1, 2, 2])
    labels = np.array([1, 1, 0, 0, 0, 2])
    monitor = RunMonitor(tmp_path / "log.csv", y, show=False)
    monitor.begin("pretrain", 4, 0)
    monitor.row("pretrain", 4, {"loss": 0.125, "seconds": 2.5, "unheard of": 1.0})
    monitor.begin("cluster", 10, 0)
    monitor.row("cluster", 0, {"changed": 1.0, "seconds": 0.0}, labels)
    monitor.progress("cluster", 1)
    monitor.note("silent")
    monitor.close()
    first, second = read_log(tmp_path / "log.csv")
    assert {k: v for k, v in first.items() if v} == {
        "phase": "pretrain",
        "step": "4",
        "seconds": "2.5",
        "loss": "0.125",
    }
    scores = metrics.scores(y, labels)
    for name in ("acc", "nmi", "ari"):
        assert float(second[name]) == pytest.approx(scores[name], rel=1e-5)
    assert second["changed"] == "1"


def test_a_monitor_without_labels_has_no_scores(tmp_path):
    monitor = RunMonitor(tmp_path / "log.csv", show=False)
    monitor.begin("cluster", 10, 0)
    monitor.row("cluster", 0, {"changed": 1.0}, np.zeros(3, int))
    (row,) = read_log(tmp_path / "log.csv")
    assert row["acc"] == row["nmi"] == row["ari"] == ""


def test_a_monitor_shows_progress_on_stderr(tmp_path, capsys):
    logs.to_stderr()
    monitor = RunMonitor(tmp_path / "log.csv", np.array([0, 1]))
    monitor.begin("cluster", 10, 4)
    monitor.progress("cluster", 5)
    monitor.row("cluster", 5, {"loss": 0.25, "changed": 0.5}, np.array([1, 0]))
    monitor.progress("cluster", 10)
    monitor.note("a note")
    monitor.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "a note" in err
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    for part in ("cluster", "10/10", "loss=0.25", "changed=0.5", "acc=1", "nmi=1"):
        assert part in last


def test_warnings_are_shown_with_their_prefix_though_quiet_and_notes_are_not(tmp_path, capsys):
    monitor = RunMonitor(tmp_path / "log.csv", show=False)
    for quiet, shown in ((True, ""), (False, "a note\n"), (False, "a note\n"), (True, "")):
        logs.to_stderr(quiet)
        monitor.note("a note")
        monitor.warn("100 %s of it")
        assert capsys.readouterr() == ("", f"{shown}warning: 100 %s of it\n")
    assert logs.warnings_in(f"Epoch 1\n{shown}warning: 100 %s of it\n") == ["100 %s of it"]


def test_notes_and_warnings_of_the_library_are_ordinary_log_records():
    """Nothing is printed but by a handler of the importer's own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from models.core.monitor import Monitor; Monitor().warn('one'); records = []; "
        "from logging import Handler, getLogger; "
        "handler = Handler(); handler.emit = records.append; "
        "log = getLogger('deep_clustering'); log.addHandler(handler); log.setLevel('INFO'); "
        "Monitor().note('two'); Monitor().warn('three'); "
        "print([(r.levelname, r.getMessage()) for r in records])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, Path(logs.__file__).parents[1]], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[('INFO', 'two'), ('WARNING', 'three')]\n", "")


# ---- the folder -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, done",
    [
        (b'{"status": "ok", "acc": 0.5}', {"status": "ok", "acc": 0.5}),
        (b'{"status": "failed", "reason": "NaN"}', None),
        (b'{"acc": 0.5}', None),
        (b'{"status": "ok", "ac', None),
        (b"[1, 2]", None),
        (b"null", None),
        (b"", None),
        (b"\x00\x00\x00\x00", None),
        (b"\xff\xfe\x80", None),  # not even text
        (None, None),
    ],
)
def test_finished(tmp_path, content, done):
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    assert finished(tmp_path) == done


class Built(Exception):
    pass


@pytest.fixture
def building(monkeypatch):
    """A run that gets as far as building its model says so instead."""

    def build(*_, **__):
        raise Built

    monkeypatch.setattr(runs, "build", build)


def test_a_folder_in_use(tmp_path, building):
    with locked(tmp_path / "lock"):
        with pytest.raises(FolderInUse, match="in use by another process") as info:
            execute(run_of(tmp_path), show=False)
        assert info.value.status == 75
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    with pytest.raises(Built):
        execute(run_of(tmp_path), show=False)


def test_a_folder_is_made_and_claimed(tmp_path, building):
    run = run_of(tmp_path / "new" / "run")
    with pytest.raises(Built):
        execute(run, show=False)
    folder = Path(run.folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "lock"}
    assert json.loads((folder / "config.json").read_text()) == run.identity()


def test_a_done_run_is_not_run_again(tmp_path, building):
    run = run_of(tmp_path)
    save_json(tmp_path / "config.json", run.identity())
    save_json(tmp_path / "result.json", {"status": "ok", "acc": 0.5})
    assert execute(run, show=False) == {"status": "ok", "acc": 0.5}
    with pytest.raises(Built):
        execute(run, show=False, overwrite=True)
    assert not (tmp_path / "result.json").exists()


def test_a_failed_run_is_run_again(tmp_path, building):
    save_json(tmp_path / "config.json", run_of().identity())
    save_json(tmp_path / "result.json", {"status": "failed"})
    with pytest.raises(Built):
        execute(run_of(tmp_path), show=False)


def test_another_runs_folder(tmp_path, building):
    other = run_of(tmp_path, changes={"tol": 0.5, "maxiter": 3})
    save_json(tmp_path / "config.json", other.identity())
    (tmp_path / "log.csv").write_text("theirs")
    with pytest.raises(UserError, match="another run") as info:
        execute(run_of(tmp_path), show=False)
    for part in (str(tmp_path), "tol 0.5 there, 0.001 here", "maxiter 3 there, 20000 here"):
        assert part in str(info.value)
    assert (tmp_path / "log.csv").read_text() == "theirs"
    with pytest.raises(Built):
        execute(run_of(tmp_path), show=False, overwrite=True)
    assert not (tmp_path / "log.csv").exists()
    assert json.loads((tmp_path / "config.json").read_text()) == run_of().identity()


@pytest.mark.parametrize("content", [b'{"method": "FcD', b"", b"[]", b"null", b"\xff\xfe\x80"])
def test_a_damaged_config(tmp_path, building, content):
    """Whose folder it is cannot be told, so it is nobody's to take without a word."""
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match="--overwrite"):
        execute(run_of(tmp_path), show=False)
    assert (tmp_path / "config.json").read_bytes() == content
    with pytest.raises(Built):
        execute(run_of(tmp_path), show=False, overwrite=True)


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_folder_that_cannot_be(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to the folder"):
        runs.make_folder(str(tmp_path / below))


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout of one commit that checkout.py takes for its own."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    (tmp_path / "results").mkdir()
    for name in ("code.py", "README.md", "results/results.csv"):
        (tmp_path / name).write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    monkeypatch.setattr(checkout.paths, "ROOT", str(tmp_path))
    checkout.commit_at_start.cache_clear()
    yield tmp_path
    checkout.commit_at_start.cache_clear()


def test_the_commit_is_empty_where_there_is_no_git(monkeypatch):
    assert isinstance(checkout.git_commit(), str)
    monkeypatch.setenv("PATH", "")
    assert checkout.git_commit() == ""


def test_the_commit_is_empty_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(checkout.paths, "ROOT", str(tmp_path))
    assert checkout.git_commit() == ""


def test_a_commit_is_dirty_by_its_code_alone(repository):
    """Sweeps write results while the same code runs."""
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    assert checkout.git_commit() == head and len(head) == 12
    (repository / "results" / "results.csv").write_text("two")
    (repository / "README.md").write_text("two")
    (repository / "new.py").write_text("not tracked")
    assert checkout.git_commit() == head
    (repository / "code.py").write_text("two")
    assert checkout.git_commit() == f"{head}-dirty"


@pytest.mark.parametrize("change", ["commit", "edit"])
def test_a_rows_commit_is_that_of_the_start(repository, monkeypatch, tmp_path, change):
    """What is committed, or edited, while a run is at work is not what ran."""
    head = git(repository, "rev-parse", "--short=12", "HEAD")

    class Model:
        n_iter_, converged_, seconds_ = 1, True, {"cluster": 1.0}

        def fit(self, x):
            (repository / "code.py").write_text("two")
            if change == "commit":
                git(repository, "commit", "-qam", "two")

    run = run_of(tmp_path / "run")
    run.data.x = None
    monkeypatch.setattr(runs, "build", lambda *_, **__: Model())
    monkeypatch.setattr(
        runs, "_keep", lambda run, model, _, *rest: description.describe(run, model, *rest)
    )
    assert execute(run, show=False)["commit"] == head
    assert checkout.git_commit() != head


# ---- the figure -------------------------------------------------------------------------------


def drawn(path, x, k=3, *, z=None, labels=None, title="a title"):
    """Draw random clusters of x and return the picture, (h, w, c)."""
    rng = np.random.default_rng(0)
    z = rng.random((len(x), 4), np.float32) if z is None else np.asarray(z, np.float32)
    q = rng.random((len(x), k)) + 0.1
    labels = q.argmax(axis=1) if labels is None else np.asarray(labels)
    with threadpool_limits(1):  # t-SNE of few points on many threads mostly waits
        cluster_figure(path, x, z, labels, q / q.sum(axis=1, keepdims=True), title)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")) / 255


def samples(n=24, *shape):
    return np.random.default_rng(1).random((n, *(shape or (8, 8, 1))), np.float32)


def is_grey(picture):
    return np.ptp(picture, axis=2).max() < 0.02


def left_half(picture):
    return picture[:, : int(picture.shape[1] * 0.55)]  # the sheets, without the coloured map


def test_figure_of_grey_images(tmp_path):
    picture = drawn(tmp_path / "a.png", samples())
    assert is_grey(left_half(picture)) and not is_grey(picture)
    assert picture.shape[1] > 10 * 110  # wider than the map alone


def test_figure_of_colour_images(tmp_path):
    picture = drawn(tmp_path / "a.png", samples(24, 8, 8, 3) * np.float32([1, 0, 0]))
    sheet = left_half(picture).reshape(-1, 3)
    assert (sheet[:, 0] - sheet[:, 1]).max() > 0.5


def test_figure_of_vectors_has_no_sheets(tmp_path):
    picture = drawn(tmp_path / "a.png", samples(24, 5))
    assert picture.shape[1] < 10 * 110
    assert drawn(tmp_path / "b.png", samples(24, 8, 8, 4)).shape == picture.shape


def test_figure_shows_the_certain_members_first(tmp_path):
    """Clusters of black images with one white one: the most certain, then the least."""
    x = np.zeros((40, 8, 8, 1), np.float32)
    x[7] = 1
    whiter = []
    for sure in (0.9, 0.4):
        q = np.full((40, 2), 0.3)
        q[:, 0] = np.linspace(0.5, 0.8, 40)
        q[7, 0] = sure
        z = samples(40, 2)
        with threadpool_limits(1):
            cluster_figure(tmp_path / "a.png", x, z, np.zeros(40, int), q)
        with Image.open(tmp_path / "a.png") as image:
            picture = left_half(np.asarray(image.convert("L")) / 255)
        black = np.argwhere(picture < 0.02)
        (top, left), (bottom, right) = black.min(axis=0), black.max(axis=0)
        strip = picture[top : bottom + 1, left : right + 1]
        thirds = np.array_split(strip.mean(axis=0), 3)
        whiter.append(thirds[0].mean() > thirds[1].mean())
        assert right - left > 100
    assert whiter == [True, False]


@pytest.mark.parametrize(
    "n, shape",
    [
        (2, (8, 8, 1)),
        (3, (5,)),
        (4, (8, 8, 3)),
        (5, (5,)),
        (24, (1, 9, 1)),
        (24, (9, 1, 1)),
        (24, (1, 9, 3)),
    ],
)
def test_figure_of_few_and_thin_samples(tmp_path, n, shape):
    drawn(tmp_path / "a.png", samples(n, *shape), k=2)


def test_figure_with_empty_clusters_and_clusters_of_one(tmp_path):
    drawn(tmp_path / "a.png", samples(), k=4, labels=np.array([0] + [2] * 23))


def test_figure_with_many_clusters(tmp_path):
    picture = drawn(tmp_path / "a.png", samples(60), k=60)
    assert picture.shape == drawn(tmp_path / "b.png", samples(60, 5), k=60).shape  # no sheets


def test_figure_with_one_cluster(tmp_path):
    drawn(tmp_path / "a.png", samples(), k=1)


def test_figure_of_an_embedding_of_one_number(tmp_path):
    """--latent-dim 1."""
    drawn(tmp_path / "a.png", samples(), z=samples(24, 1))


@pytest.mark.parametrize("title", ["FcDEC on cost$_$, seed 0", "a^b_c {x} \\alpha", "$", "über"])
def test_figure_with_any_title(tmp_path, title):
    """A user's file name is part of it."""
    drawn(tmp_path / "a.png", samples(24, 5), title=title)


def test_figure_of_an_embedding_that_collapsed(tmp_path):
    """In a process of its own: t-SNE of equal points may end in a segmentation fault."""
    code = """
import sys, numpy as np
from experiments.run_figure import cluster_figure
n, path = 24, sys.argv[1]
x, labels, q = np.zeros((n, 5)), np.zeros(n, int), np.full((n, 2), 0.5)
rng = np.random.default_rng(0)
for name, z in {
    "zero": np.zeros((n, 3)),
    "each axis at its own value": np.tile([1.0, 2.0, 3.0], (n, 1)),
    "equal but for rounding": 1 + 1e-7 * rng.random((n, 3)),
    "tiny": 1e-30 * rng.random((n, 3)),
    "huge": 1e20 * rng.random((n, 3)),
    "two points": np.repeat(np.eye(2), n // 2, axis=0),
}.items():
    print(name, flush=True)
    cluster_figure(path, x, z.astype(np.float32), labels, q)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "done"), done.stderr[-2000:]


# ---- operations -------------------------------------------------------------------------------

# Multiply-adds a sample of each encoder layer, by hand.
BY_HAND = {
    ("fc", (784,)): [784 * 500, 500 * 500, 500 * 2000, 2000 * 10],
    ("conv", (28, 28, 1)): [14 * 14 * 800, 7 * 7 * 51200, 3 * 3 * 73728, 1152 * 10],
    ("conv", (16, 16, 1)): [8 * 8 * 800, 4 * 4 * 51200, 2 * 2 * 73728, 512 * 10],
}


@pytest.mark.parametrize("network, shape", BY_HAND)
def test_products_by_hand(network, shape):
    encoder, decoder = layer_products(network, shape)
    assert encoder == BY_HAND[network, shape]
    assert decoder == encoder[::-1]


@pytest.mark.parametrize(
    "network, shape, with_decoder, without",
    [
        ("fc", (784,), 19_160_000, 9_188_000),
        ("conv", (28, 28, 1), 39_774_464, 19_730_432),
        ("conv", (16, 16, 1), 13_942_784, 6_920_192),
    ],
)
def test_step_flops_by_hand(network, shape, with_decoder, without):
    """Two operations a product; three products a layer, the first one's input gradient aside."""
    assert step_flops(network, shape, 1) == with_decoder
    assert step_flops(network, shape, 1, decoder=False) == without
    assert step_flops(network, shape, 256) == 256 * with_decoder


def test_flat_or_not_costs_the_same():
    assert step_flops("fc", (784,), 8) == step_flops("fc", (28, 28, 1), 8)
    assert step_flops("fc", (784,), 8, latent_dim=3) < step_flops("fc", (784,), 8)


@pytest.mark.parametrize(
    "network, shape", [("fc", (8, 8, 1)), ("conv", (28, 28, 1)), ("conv", (16, 16, 3))]
)
def test_weights_of_the_networks_that_are_built(network, shape):
    make = {"fc": dense_autoencoder, "conv": conv_autoencoder}[network]
    built = sum(model.count_params() for model in make(shape))
    assert 0.98 * built < weight_count(network, shape) < built


def products_of(model):
    """Multiply-adds a sample of a Keras model's layers."""
    products = []
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            products.append(math.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Conv2DTranspose):  # before Conv2D, should it be one
            products.append(math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Conv2D):
            products.append(math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape))
    return products


@pytest.mark.parametrize(
    "network, shape, latent_dim",
    [
        ("fc", (784,), 10),
        ("fc", (8, 8, 1), 3),
        ("conv", (28, 28, 1), 10),
        ("conv", (16, 16, 1), 10),
        ("conv", (8, 8, 1), 4),
        ("conv", (32, 32, 3), 10),
        ("conv", (17, 23, 1), 10),
        ("conv", (9, 10, 3), 2),
        ("conv", (9, 8, 1), 10),  # 8 pixels are too few not to be padded
    ],
)
def test_products_of_the_layers_that_are_built(network, shape, latent_dim):
    make = {"fc": dense_autoencoder, "conv": conv_autoencoder}[network]
    models = make(shape, latent_dim=latent_dim)
    counted = layer_products(network, shape, latent_dim)
    assert [products_of(model) for model in models] == list(map(list, counted))
