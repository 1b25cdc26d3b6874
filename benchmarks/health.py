"""What the verdict on a run's health is worth: runs spoilt on purpose, and runs as they came.

    python benchmarks/health.py --spoil DIR     make runs on digits, most of them spoilt, in DIR
    python benchmarks/health.py --easy DIR      make runs on easy data, most of them good, in DIR
    python benchmarks/health.py DIR [DIR ...]   judge all run folders in DIR and below

The second prints one line per run (its verdict without labels, its ACC with them), how the verdicts
compare with ACC, and for each data set the rank correlation (Spearman) of every signal with ACC
over the runs with the right K. Runs are judged afresh from their files, by the code of today.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import datasets  # noqa: E402
import main  # noqa: E402
import metrics  # noqa: E402
from common.errors import TrainingFailed  # noqa: E402
from experiments import health, quality  # noqa: E402
from experiments.options import parse  # noqa: E402
from experiments.run_files import read_result  # noqa: E402
from experiments.run_log import read_log  # noqa: E402
from models import load  # noqa: E402

GOOD, BAD = 0.9, 0.6  # ACC: of at least GOOD a run is called good, below BAD bad
# What each spoilt run is told, besides the data.
SPOILT = {
    "as published": [],
    "rate of clustering too large": ["--optimizer", "adam", "--lr", "0.03"],
    "rate of clustering far too large": ["--optimizer", "adam", "--lr", "0.3"],
    "no pretraining": ["--pretrain-epochs", "0"],
    "little pretraining": ["--pretrain-epochs", "15"],
    "K = 3": ["--n-clusters", "3"],
    "K = 20": ["--n-clusters", "20"],
    "K = 60": ["--n-clusters", "60"],
    "wild augmentation": ["--rotation", "180", "--shift", "0.5"],
}
METHODS = ("ASPC-DA", "FcDEC-DA")


def spoilt_data(folder):
    """Write made-up data sets and return {what is wrong: path}."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
    rng = np.random.default_rng(0)
    kinds = {
        "constant samples": np.full_like(x, 0.5),
        "three quarters of the samples the same": np.where(
            (rng.random(len(x)) < 0.75)[:, None, None, None], x[:1], x
        ),
        "uniform noise": rng.random(x.shape, np.float32),
        "pixels shuffled in each sample": rng.permuted(x.reshape(len(x), -1), axis=1).reshape(
            x.shape
        ),
    }
    paths = {}
    for what, array in kinds.items():
        paths[what] = folder / f"{what.replace(' ', '-')}.npz"
        np.savez(paths[what], x=array, y=y)
    return paths


def spoil(folder, methods, seeds):
    """Train the runs, each in a folder of its own below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = {what: ["--dataset", "digits", *words] for what, words in SPOILT.items()}
    for what, path in spoilt_data(folder).items():
        cases[what] = ["--data", str(path), "--n-clusters", "10", "--pretrain-epochs", "250"]
    for seed, (what, words), method in itertools.product(seeds, cases.items(), methods):
        name = f"{method}-{what.replace(' ', '-')}-s{seed}"
        words = ["--method", method, *words, "--quiet"]
        if method != "ASPC-DA":  # which is limited by passes over the data
            words += ["--maxiter", "3000"]
        train(folder, name, words, seed)


def easy_data(folder):
    """Write data sets whose groups are plain, of equal and of unequal size; return {name: path}."""
    from sklearn.datasets import load_digits, make_blobs

    digits, paths = load_digits(), {}
    for classes in ((0, 1), (0, 4, 6), (0, 1, 2, 3, 4)):
        rows = np.isin(digits.target, classes)
        name = "digits-" + "".join(map(str, classes))
        arrays = {"x": (digits.images[rows, :, :, None] / 16).astype(np.float32)}
        paths[name] = folder / f"{name}.npz"
        np.savez(paths[name], y=digits.target[rows], **arrays)
    for k, sizes in ((3, (300,) * 3), (8, (100,) * 8), (5, (600, 300, 150, 100, 50))):
        name = f"blobs-{k}-{'even' if len(set(sizes)) == 1 else 'uneven'}"
        x, y = make_blobs(sizes, 30, centers=None, cluster_std=2.0, random_state=k)
        x = (x - x.min()) / (x.max() - x.min())
        paths[name] = folder / f"{name}.npz"
        np.savez(paths[name], x=x.astype(np.float32), y=y)
    return paths


def make_easy(folder, seeds):
    """Train the runs on easy data, each in a folder of its own below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for (name, path), seed in itertools.product(easy_data(folder).items(), seeds):
        k = str(len(np.unique(np.load(path)["y"])))
        images = name.startswith("digits")
        for method in ("ASPC-DA", "FcDEC-DA", "IMSAT-VAT") if images else ("k-means", "GMM", "AC"):
            words = ["--method", method, "--data", str(path), "--n-clusters", k, "--quiet"]
            words += ["--pretrain-epochs", "500"] if method.endswith("-DA") else []
            train(folder, f"{method}-{name}-s{seed}", words, seed)


def train(folder, name, words, seed):
    """Carry out one run of main.py's words in folder/name."""
    words = [*words, "--seed", str(seed), "--threads", "1", "--save-dir", str(folder / name)]
    print(f"== {name}", flush=True)
    try:
        main.run(parse([*words, "--cache-dir", str(folder / "pretrained")]))
    except TrainingFailed as error:
        print(f"training failed: {error}", flush=True)


def data_of(result, folder):
    """Return the data set of a run: by name, or the made-up one beside its folder."""
    if result["dataset"] in datasets.DATASETS:
        return datasets.load(result["dataset"])
    return datasets.load_file(folder.parent / f"{result['dataset']}.npz", int(result["k"]))


def judged(folders):
    """Return a table, one row per run folder: verdict, reasons, signals and, for us alone, ACC."""
    rows, known = [], {}
    for path in sorted(p for folder in folders for p in Path(folder).rglob("result.json")):
        result, folder = read_result(path.parent), path.parent
        if result.get("status") != "ok" or "acc" not in result:
            continue
        key = result["data_hash"]
        if key not in known:
            data = data_of(result, folder)
            known = {key: (data, quality.Graph(data.x))}  # one at a time: sets are large
        data, graph = known[key]
        model = load(folder / "model_final.h5")
        labels, z = (np.load(folder / f"{name}.npy") for name in ("labels", "embedding"))
        memberships = model.memberships(data.x)
        log, settled = read_log(folder / "log.csv"), result["converged"]
        signals = quality.signals(
            model, data.x, z, labels, memberships, graph, converged=settled, log=log
        )
        found = health.judge(signals, memberships.shape[1], data.n)
        kept = {n: result[n] for n in ("start_agreement", "drift") if n in result}
        rows.append(
            {
                "run": folder.name,
                "dataset": result["dataset"],
                "k": result["k"],
                "classes": len(np.unique(data.y)),
                "acc": result["acc"],
                "nmi": result["nmi"],
            }
            | found.columns()
            | kept
        )
        for share in (0.1, 0.3, 1.0) if folder.name.endswith("as-published-s0") else ():
            rng = np.random.default_rng(0)
            some = rng.random(len(labels)) < share
            mixed = labels.copy()
            mixed[some] = rng.permutation(labels[some])
            signals = quality.signals(model, data.x, z, mixed, memberships, graph)
            found = health.judge(signals, memberships.shape[1], data.n)
            rows.append(
                rows[-1]
                | {
                    "run": f"{folder.name}, {share:.0%} of the labels shuffled",
                    "acc": metrics.acc(data.y, mixed),
                    "nmi": metrics.nmi(data.y, mixed),
                }
                | found.columns()
            )
    return pd.DataFrame(rows)


def report(table):
    """Print the runs, the verdicts against ACC, and the signals' rank correlations with it."""
    shown = ["run", "dataset", "k", "acc", "verdict", *(n for n in quality.NAMES if n in table)]
    with pd.option_context("display.width", 250, "display.max_colwidth", 60):
        print(table[shown].round(3).to_string(index=False))
        print(table[["run", "verdict", "reasons"]].to_string(index=False))
    right = table[table.k == table.classes]
    kind = np.select([right.acc >= GOOD, right.acc < BAD], ["good", "bad"], "between")
    print(f"\nruns with the right K (good: ACC of at least {GOOD}, bad: below {BAD}) by verdict")
    print(pd.crosstab(pd.Series(kind, right.index, name="run"), right.verdict).to_string())
    print("\nSpearman's rank correlation with ACC, runs with the right K")
    found = {}
    for name, some in right.groupby("dataset"):
        if len(some) > 3:
            signals = some[[n for n in quality.NAMES if n in some]].astype(float)
            found[f"{name} ({len(some)})"] = signals.corrwith(some.acc, method="spearman")
    print(pd.DataFrame(found).round(2).to_string())


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folders", nargs="*", metavar="DIR")
    p.add_argument("--spoil", type=Path, metavar="DIR")
    p.add_argument("--easy", type=Path, metavar="DIR")
    p.add_argument("--methods", nargs="+", default=METHODS)
    p.add_argument("--seeds", nargs="+", type=int, default=(0,))
    p.add_argument("--csv", metavar="FILE", help="keep the table of judged runs")
    args = p.parse_args()
    if args.spoil:
        spoil(args.spoil, args.methods, args.seeds)
    if args.easy:
        make_easy(args.easy, args.seeds)
    if args.folders:
        table = judged(args.folders)
        if args.csv:
            table.to_csv(args.csv, index=False)
        report(table)
