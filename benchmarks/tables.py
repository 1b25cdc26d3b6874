"""Methods on small tables against k-means on the same columns: mean ACC over seeds, failures.

    python benchmarks/tables.py --methods GMM-stable FcDEC FcIDEC --seeds 10 --out FILE.csv

benchmarks/tables.csv has the runs of docs/own-data.md.

The tables are scikit-learn's iris, wine and breast cancer, and 500 samples of 4 Gaussian groups in
2 to 1,000 columns; each in [0, 1], with variance 1, and as it is. Labels only score. A row is
written as soon as it is known, and what FILE.csv holds is not run again.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import device  # noqa: E402

device.prepare()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn import datasets as tables  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, StandardScaler  # noqa: E402

import metrics  # noqa: E402
from common.errors import TrainingFailed, UserError  # noqa: E402
from models import METHODS, build  # noqa: E402

SCALERS = {"[0, 1]": MinMaxScaler, "variance 1": StandardScaler, "as it is": None}


def table(name):
    """Return (x, y) of a table by its name."""
    if name.startswith("blobs"):
        d = int(name.removeprefix("blobs"))
        spread = 1.0 if d == 2 else 4.0
        return tables.make_blobs(500, d, centers=4, cluster_std=spread, random_state=d)
    found = {
        "iris": tables.load_iris,
        "wine": tables.load_wine,
        "cancer": tables.load_breast_cancer,
    }[name]()
    return found.data, found.target


NAMES = ("iris", "wine", "cancer", "blobs2", "blobs10", "blobs30", "blobs100", "blobs1000")


def score(method, x, y, seed, cache):
    """Return the ACC of a method with the settings for a user's own vectors; NaN if it fails.

    Methods that pretrain alike share that, in the folder `cache`.
    """
    k = len(np.unique(y))
    if method == "k-means":
        return metrics.acc(y, KMeans(k, n_init=20, random_state=seed).fit_predict(x))
    try:
        shared = {"cache_dir": cache} if METHODS[method].settings.pretrains else {}
        model = build(method, k, n=len(x), vectors=True, random_state=seed, **shared)
        return metrics.acc(y, model.fit_predict(x))
    except (TrainingFailed, UserError) as error:
        print(f"{method}: {error}", file=sys.stderr)
        return float("nan")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--methods", nargs="+", default=["GMM-stable", "FcDEC", "FcIDEC"])
    p.add_argument("--tables", nargs="+", default=NAMES, choices=NAMES)
    p.add_argument("--scales", nargs="+", default=list(SCALERS), choices=SCALERS)
    p.add_argument("--seeds", type=int, default=10)
    p.add_argument("--out", default="tables.csv")
    args = p.parse_args()
    device.set_up(1, "cpu")
    key = ["table", "scale", "method", "seed"]
    rows = pd.read_csv(args.out) if os.path.exists(args.out) else pd.DataFrame(columns=key)
    done = set(map(tuple, rows[key].to_numpy().tolist()))
    cases = itertools.product(range(args.seeds), args.tables, args.scales)
    for seed, name, scale in cases:
        x, y = table(name)
        scaler = SCALERS[scale]
        z = (x if scaler is None else scaler().fit_transform(x)).astype(np.float32)
        with tempfile.TemporaryDirectory() as cache:
            for method in ["k-means", *args.methods]:
                if (name, scale, method, seed) in done:
                    continue
                begin = time.monotonic()
                row = dict(zip(key, (name, scale, method, seed), strict=True))
                row |= {
                    "acc": score(method, z, y, seed, cache),
                    "seconds": round(time.monotonic() - begin, 1),
                }
                rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
                rows.to_csv(args.out, index=False)
    of = rows[rows["table"].isin(args.tables) & rows["scale"].isin(args.scales)]
    of = of[of["seed"] < args.seeds]
    print(of.pivot_table("acc", ["table", "scale"], "method").round(3).to_string())
    print(of.groupby("method")["acc"].agg(["mean", "min", "count", "size"]).round(3).to_string())


if __name__ == "__main__":
    main()
