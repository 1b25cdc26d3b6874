"""The papers' figures: the runs that each needs, in a sweep file, and what our rows have of it."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from common import paths
from common.errors import UserError, unknown
from experiments import ledger, published
from experiments.ledger import Row
from experiments.run_log import read_log
from experiments.runs import differences
from experiments.sweepfiles import KEYS, read_sweep
from models import preset

FOLDER = os.path.join("configs", "figures")
HERE = os.path.join(paths.ROOT, FOLDER)


@dataclass(frozen=True)
class Figure:
    """A published figure."""

    title: str
    kind: str  # grid: ACC over two settings; rounds: curves over Kingdra's; maps: t-SNE of codes
    axes: tuple = ()  # (setting, label), two of a grid
    note: str = ""  # what the paper's figure shows, as far as it is known


FIGURES = {
    "decda-3": Figure(
        "DEC-DA, Figure 3: FcDEC-DA on MNIST-test under larger shifts and rotations",
        "grid",
        (("shift_pixels", "largest shift, pixels"), ("rotation", "largest rotation, degrees")),
        "paper: stable for rotations up to 40 degrees and shifts of 1 to 4 pixels, far lower at 6; "
        "its grid is not known",
    ),
    "kingdra-rounds": Figure(
        "Kingdra: KINGDRA-LADDER-IM round by round",
        "rounds",
        note="dashed: the paper's ACC at the end",
    ),
    "dscdan-5": Figure(
        "DSCDAN, Figure 5: sensitivity to its weights, MNIST-test",
        "grid",
        (
            ("mutual", "beta, weight of the mutual information"),
            ("prior", "gamma, weight of the prior"),
        ),
        "the paper's grid is not known; each weight is that of both stages",
    ),
    "dscdan-6": Figure("DSCDAN, Figure 6: t-SNE of the embeddings of MNIST-test", "maps"),
}
LOGGED = ("acc", "member_acc", "agreement", "pseudo_labels", "pseudo_acc")  # of a round


def figure_of(name: str) -> Figure:
    """Return a figure; UserError if there is none of that name."""
    if name not in FIGURES:
        raise UserError(unknown("figure", name, FIGURES))
    return FIGURES[name]


def path_of(name: str) -> str:
    """Return the sweep file of a figure, from the checkout's folder."""
    return os.path.join(FOLDER, f"{name}.json")


def command(name: str) -> str:
    """Return the command that makes a figure's runs."""
    return f"python run_exp.py {path_of(name)}"


def cells(name: str, rows: list[Row]) -> list[dict]:
    """Return the cells of a figure: the runs that it needs, with our scores where there is a row.

    name: a key of FIGURES. A cell has method, dataset, seed and settings, {name: value}; run, as
    in `published.scores`, or None.
    """
    figure_of(name)
    nothing = argparse.Namespace(**dict.fromkeys(KEYS))
    wanted = [
        (method, dataset, seed, overrides)
        for one, overrides in read_sweep(os.path.join(HERE, f"{name}.json"), nothing)
        for dataset in one.datasets
        for seed in one.seeds
        for method in one.methods
    ]
    words = [changes(method, dataset, overrides) for method, dataset, _, overrides in wanted]
    found = published.scores(rows, {text for text in words if text})
    return [
        {
            "method": method,
            "dataset": dataset,
            "seed": seed,
            "settings": overrides,
            "run": found.get(published.place_of(method, dataset, text), {}).get(seed),
        }
        for (method, dataset, seed, overrides), text in zip(wanted, words, strict=True)
    ]


def changes(method: str, dataset: str, overrides: dict) -> str:
    """Return the settings among `overrides` that are not the method's own, as a row has them."""
    own = preset(method, dataset)
    return published.changes(" ".join(differences(own.changed(overrides), own)))


def coverage(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """Return {figure: (cells that have a row, all cells)}."""
    counted = {}
    for name in FIGURES:
        some = cells(name, rows)
        counted[name] = sum(cell["run"] is not None for cell in some), len(some)
    return counted


def rounds(name: str, results_dir: str | os.PathLike) -> list[dict]:
    """Return the rounds of a figure's logs, of run folders or of those kept in results/logs.

    A round has dataset, seed, settings (what is not the method's own), round from 1, and LOGGED.
    """
    results = Path(results_dir)
    folders, _ = ledger.folders(results / "runs")
    rows = ledger.read_rows(results / "results.csv")
    found = []
    for cell in cells(name, []):
        about = {key: str(cell[key]) for key in ("method", "dataset", "seed")}
        start = "{method}-{dataset}-s{seed}-".format(**about)
        logs = {
            folder / "log.csv": row["overrides"]
            for folder, row in folders.items()
            if row["status"] == "ok" and folder.name.startswith(start)
        }
        there = {path.parent.name for path in logs}
        of = [row["overrides"] for row in rows if about.items() <= row.items()]
        settings = of[0] if len(of) == 1 else "settings not known"
        kept = sorted((results / "logs").glob(f"{start}*.csv"))
        logs |= {path: settings for path in kept if path.stem not in there}
        for path, settings in logs.items():
            run = {"dataset": cell["dataset"], "seed": cell["seed"], "settings": settings}
            some = [row for row in read_log(path) if row.get("agreement")]
            for i, row in enumerate(some, start=1):
                found.append(run | {"round": i} | {key: row.get(key, "") for key in LOGGED})
    return found
