"""How good the run is that is chosen without labels, over groups of runs that differ in the seed.

    python benchmarks/choice.py DIR [DIR ...]

For each method, data set and setting with two or more finished run folders in DIR or below: ACC of
the chosen run, of the consensus, of the best run and of all on average, and how far the runs agree.
Run folders of a time before pretrained codes were kept get them from their auto-encoder.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import datasets  # noqa: E402
from common.errors import UserError  # noqa: E402
from experiments import trials  # noqa: E402
from experiments.consensus import conclude  # noqa: E402
from experiments.run_files import read_result  # noqa: E402
from models import load  # noqa: E402

NEAR = 0.01  # of the best run's ACC: a choice within it counts as right


def codes_of(folder, x):
    """Return the pretrained codes (n, z) of a run; None if it has no auto-encoder."""
    if (folder / "pretrained_codes.npy").exists():
        return np.load(folder / "pretrained_codes.npy")
    if not (folder / "ae_weights.h5").exists():
        return None
    model = load(folder / "model_final.h5")
    model.seconds_, model.step_seconds_ = {}, {}
    model._load_autoencoder(folder / "ae_weights.h5")
    return model._encode(model._samples(x))


def groups(folders):
    """Return {(method, dataset, overrides): {seed: (folder, result)}} of finished, scored runs."""
    found = {}
    for path in sorted(p for folder in folders for p in Path(folder).rglob("result.json")):
        result = read_result(path.parent)
        if result.get("status") == "ok" and "acc" in result:
            key = result["method"], result["dataset"], result["overrides"], result["config_hash"]
            found.setdefault(key, {})[result["seed"]] = (path.parent, result)
    return {key: runs for key, runs in found.items() if len(runs) > 1}


def main():
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folders", nargs="+", metavar="DIR")
    lines = []
    for (method, name, overrides, _), runs in groups(p.parse_args().folders).items():
        try:
            data = datasets.load(name, download=False)
        except UserError:
            continue  # a made-up data set
        runs = dict(sorted(runs.items()))
        labels = [np.load(folder / "labels.npy") for folder, _ in runs.values()]
        codes = [codes_of(folder, data.x) for folder, _ in runs.values()]
        found = conclude(data.x, labels, [z for z in codes if z is not None])
        row = trials.choice(found, [result for _, result in runs.values()], data)
        lines.append(
            {"method": f"{method} {overrides}".strip(), "data set": name, "runs": len(runs)}
            | {"chosen seed": row["chosen_seed"]}
            | {what: row[f"{what}_acc"] for what in ("chosen", "consensus", "best", "mean")}
            | {"company": row["company"]}
        )
    table = pd.DataFrame(lines)
    table["right"] = table.chosen >= table.best - NEAR
    print(table.round(4).to_string(index=False))
    print(f"{table.right.sum()} of {len(table)} choices within {NEAR} of the best run")


if __name__ == "__main__":
    main()
