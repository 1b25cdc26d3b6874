"""Judge the codes of finished runs without labels: how well they fall into K clusters.

    python benchmarks/cuts.py results/runs/ConvAE+MI+RS-usps-*

A table: for each run its settings and the lowest normalised cut of the spectral clusterings of its
embedding into K clusters (models/core/graphs.py; K to K + 6 eigenvectors). Low is good. This chose
DSCDAN's settings that the paper does not give; no label is read.
"""

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from models.core.graphs import lowest_cut  # noqa: E402

STARTS = 20  # of k-means


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("runs", nargs="+", metavar="FOLDER", help="folders of finished runs")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    print("| run | settings | lowest cut | eigenvectors |\n| --- | --- | --- | --- |")
    for folder in args.runs:
        try:
            with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
                result = json.load(file)
            codes = np.load(os.path.join(folder, "embedding.npy"))
        except (OSError, ValueError) as error:
            sys.exit(f"{folder!r}: expected the folder of a finished run ({error})")
        with threadpool_limits(1):
            _, cut, count = lowest_cut(codes, result["k"], STARTS, args.seed)
        run = f"{result['method']} {result['dataset']} seed {result['seed']}"
        settings = result["overrides"] or "defaults"
        print(f"| {run} | {settings} | {cut:.3f} | {count} |", flush=True)


if __name__ == "__main__":
    main()
