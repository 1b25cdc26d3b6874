"""docs/guides: their diffs apply to a copy of the project and work; docs/architecture.md is true.

Each guide's copy is used in a new process, forked off a server that has imported TensorFlow.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models import METHODS, preset
from models.settings.base import digest, pretrain_key

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ROOT / "docs" / "guides"
LEFT_OUT = ("results/", "tests/", "benchmarks/", "configs/")  # of the copy
# The checkout's modules make room for the copy's, whose networks become small. `said` is what
# main.py prints.
HEAD = """
import contextlib, functools, io, sys
sys.path.insert(0, sys.argv[1])
ours = ("common", "loaders", "datasets", "metrics", "augment", "models", "experiments", "reporting",
        "main", "run_exp")
for name in list(sys.modules):
    if name.partition(".")[0] in ours:
        del sys.modules[name]
import main
from experiments import run_figure
from models.core import networks
assert main.__file__.startswith(sys.argv[1]) and networks.__file__.startswith(sys.argv[1])
small = functools.partial(networks.dense_autoencoder, widths=(32, 24))
networks.AUTOENCODERS["fc"] = small
run_figure.POINTS = 40  # t-SNE would take longer than all the rest

def said(*words):
    sys.argv = ["main.py", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            status = main.main()
        except SystemExit as end:  # -h
            status = end.code
    assert status == 0, (words, status)
    return " ".join(out.getvalue().split())

home, words = sys.argv[1], sys.argv[2:]
"""


def git(*words, folder=ROOT, check=True):
    """Run git in a folder, which need not be a repository, whatever lies above it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = str(Path(folder).parent)
    return subprocess.run(
        ["git", *words], cwd=folder, env=env, check=check, capture_output=True, text=True
    )


def diff_of(guide):
    """Return the one diff of a guide."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```", (GUIDES / guide).read_text(), re.M | re.S)
    return diff


@pytest.fixture
def changed(tmp_path):
    """Copy the project's tracked files and apply a guide's diff to the copy; return its folder."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git, or no checkout")

    def copy(guide):
        home = tmp_path / guide
        for name in git("ls-files", "-z").stdout.split("\0"):
            if name and not name.startswith(LEFT_OUT) and (ROOT / name).is_file():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, home / name)
        (tmp_path / "diff").write_text(diff_of(guide))
        done = git("apply", str(tmp_path / "diff"), folder=home, check=False)
        assert done.returncode == 0, f"{guide}: the diff no longer applies\n{done.stderr}"
        return home

    return copy


def differs(home):
    """Return the names of the copy's files that the checkout has otherwise or not at all."""
    names = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return {
        str(name)
        for name in names
        if not (ROOT / name).exists() or (ROOT / name).read_bytes() != (home / name).read_bytes()
    }


def test_every_guide_has_a_diff_and_a_test():
    found = {path.name for path in GUIDES.glob("*.md")}
    assert found == {"add-a-method.md", "add-a-data-set.md", "add-a-setting.md"}
    assert all(diff_of(name).startswith("diff --git ") for name in found)


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("*.md")))
def test_the_example_passes_the_linter(guide, changed):
    home = changed(guide)
    names = [name for name in differs(home) if name.endswith(".py")]
    assert names
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", *names],
            cwd=home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_method_is_a_module_and_a_row(changed, new_process):
    assert "DKM" not in METHODS
    home = changed("add-a-method.md")
    assert differs(home) == {
        "models/dkm.py",
        "models/settings/dkm.py",
        "models/settings/presets.py",
    }
    code = """
assert "dkm DKM" in said("-h")
assert "--inverse-temperature FLOAT" in said("--method", "DKM", "-h")
tiny = ["--method", "DKM", "--pretrain-epochs", "1", "--epochs", "1", "--n-init", "1",
        "--threads", "1", "--quiet", "--save-dir", home + "/run", "--cache-dir", home + "/cache"]
assert "scores: acc 0." in said(*tiny)

import numpy as np
import datasets
from models import load

x = datasets.load("digits").x
labels = np.load(home + "/run/labels.npy")
model = load(home + "/run/model_final.h5")
q = model.memberships(x)
assert labels.shape == (1797,) and len(np.unique(labels)) > 5
assert (model.predict(x) == labels).all() and (q.argmax(axis=1) == labels).all()
assert np.allclose(q.sum(axis=1), 1, atol=1e-5)
log = open(home + "/run/log.csv").read().splitlines()
rows = [dict(zip(log[0].split(","), line.split(","))) for line in log[1:]]
final = [row for row in rows if row["phase"] == "final"]
assert len(final) == 1 and final[0]["step"] == "8"  # an epoch: 1797 samples, 256 a step
assert float(final[0]["reconstruction"]) > 0 and float(final[0]["distance"]) > 0
"""
    new_process(HEAD + code, home)


def test_a_data_set_loads_by_name(changed, new_process):
    home = changed("add-a-data-set.md")
    assert differs(home) == {"datasets.py", "data/README.md"}
    code = """
import datasets

wine = datasets.load("wine", download=False)
assert (wine.x.shape, str(wine.x.dtype), wine.n_clusters) == ((178, 13), "float32", 3)
assert wine.named
assert list(datasets.PROBLEMS) == list(datasets.DATASETS)
assert datasets.PROBLEMS["wine"] == (3, wine.sha256[:16])
assert "digits, wine, mnist" in said("-h")
out = said("--dataset", "wine", "--method", "k-means", "--quiet", "--save-dir", home + "/run")
acc = float(out.split("scores: acc ")[1].split()[0])
assert acc > 0.85, acc
"""
    new_process(HEAD + code, home)


def test_a_setting_is_an_option_and_changes_no_hash_at_its_default(changed, new_process):
    home = changed("add-a-setting.md")
    assert differs(home) == {"models/dec.py", "models/settings/dec_da.py", "docs/methods/dec-da.md"}
    before = preset("FcDEC", "digits", 1797)
    hashes = digest(before.identity_dict()), pretrain_key(before, (8, 8, 1), "x", 0)[0]
    tiny = {
        "pretrain_epochs": 1,
        "maxiter": 4,
        "update_interval": 2,
        "tol": 0.0,
        "n_init": 1,
        "batch_size": 64,
    }
    code = f"""
from models import build, preset
from models.settings.base import digest, pretrain_key

assert "--label-smoothing FLOAT share of the targets" in said("--method", "FcDEC", "-h")
assert "--label-smoothing" not in said("--method", "FcDCN", "-h")
config = preset("FcDEC", "digits", 1797)
changed = config.changed({{"label_smoothing": 0.5}})
key = pretrain_key(config, (8, 8, 1), "x", 0)[0]
assert (digest(config.identity_dict()), key) == tuple(words)
assert digest(changed.identity_dict()) != words[0]
assert pretrain_key(changed, (8, 8, 1), "x", 0)[0] == key

import numpy as np
from sklearn.datasets import load_digits

x = (load_digits().images[:200, :, :, None] / 16.0).astype(np.float32)

def centers(**more):
    model = build("FcDEC", 10, random_state=0, cache_dir=home + "/cache", **{tiny}, **more)
    return model.fit(x).cluster_centers_

plain, none, half = centers(), centers(label_smoothing=0.0), centers(label_smoothing=0.5)
assert (plain == none).all() and np.isfinite(half).all() and (plain != half).any()
"""
    new_process(HEAD + code, home, *hashes)


# ---- docs/architecture.md ---------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def listed():
    """Return the paths of the page's tree of folders, as it indents them."""
    tree = re.search(r"^```\n(.*?)^```", ARCHITECTURE, re.M | re.S)[1]
    found, folders = [], []
    for indent, name in re.findall(r"^( *)(\S+)", tree, re.M):
        del folders[len(indent) // 2 :]
        found.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return found


def test_the_tree_lists_every_module_once():
    packages = ("common", "loaders", "experiments", "models", "reporting")
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("", *packages)
        for path in (ROOT / folder).glob("*.py" if not folder else "**/*.py")
    }
    shown = [name for name in listed() if name.endswith(".py")]
    assert len(shown) == len(set(shown))
    assert set(shown) == {
        name for name in modules if not name.endswith("__init__.py") or name == "models/__init__.py"
    }
    assert all((ROOT / name).is_dir() for name in listed() if name.endswith("/"))


def test_the_layers_are_those_of_the_imports():
    from test_imports import LAYERS

    lines = re.findall(r"^\| (\d) \| (.*) \|$", ARCHITECTURE, re.M)
    names = [tuple(re.findall(r"`([\w.]+)`", cells.partition(":")[0])) for _, cells in lines]
    assert names == list(LAYERS)


def test_no_method_takes_more_than_four_files_to_read():
    section = ARCHITECTURE.split("\n## Reading order\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \[(.*?)\]\((.*?)\) \| (.*) \|$", section, re.M)
    assert {f"docs/{page}" for _, page, _ in rows} == {
        str(path.relative_to(ROOT)) for path in ROOT.glob("docs/methods/*.md")
    }
    for name, _, files in rows:
        parts = files.split(", and the method's: ")  # one of those after it
        count = len(re.findall(r"\.py\]", parts[0])) + len(parts) - 1
        assert 1 <= count <= 4, name
