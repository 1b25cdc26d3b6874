"""The digits sorted by class, mixed and as they are; batches in that order, and shuffled.

    python benchmarks/order.py --methods LADDER-IM FcIDEC --seeds 0

prints ACC with batches in the order of the samples and with `shuffle`. Labels sort the samples and
score the result; no method sees them.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sklearn.datasets import load_digits

from common import device
from metrics import acc
from models import build

SHORT = {"pretrain_epochs": 40, "maxiter": 400}  # of methods with an auto-encoder


def orders(y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return {name: indices (n,)} of the samples with labels y (n,)."""
    return {
        "mixed": np.random.default_rng(seed).permutation(len(y)),
        "sorted": np.argsort(y, kind="stable"),
        "as they are": np.arange(len(y)),
    }


def main() -> None:
    """Print a line a fit."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    p.add_argument("--methods", nargs="+", default=["LADDER-IM", "FcIDEC"], metavar="NAME")
    p.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="S")
    args = p.parse_args()
    device.set_up(1, "cpu")
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    print(
        "| method | seed | samples | in their order | shuffled |\n| --- | --- | --- | --- | --- |"
    )
    for method in args.methods:
        own = {} if "LADDER" in method else SHORT
        for seed in args.seeds:
            for name, rows in orders(y, seed).items():
                scores = []
                for shuffle in (False, True):
                    model = build(
                        method, 10, vectors=True, random_state=seed, shuffle=shuffle, **own
                    ).fit(x[rows])
                    scores.append(f"{acc(y[rows], model.labels_):.3f}")
                print(f"| {method} | {seed} | {name} | {' | '.join(scores)} |", flush=True)


if __name__ == "__main__":
    main()
