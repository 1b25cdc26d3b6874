"""Several runs of one method that differ in the seed alone, and the one answer that they give."""

import argparse
import os
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import metrics
from common.errors import UserError
from common.files import remove, save_array, save_json
from datasets import Dataset
from experiments import choices, consensus
from experiments.description import about, now
from experiments.inputs import load_data
from experiments.predict import write_table
from experiments.run_files import (
    RUN_FILES,
    WAY_OUT,
    check_folder,
    check_result,
    finished,
    held,
    read_array,
    read_labels,
    read_record,
    refuse_others,
    score_anew,
)

if TYPE_CHECKING:
    from experiments.n_clusters import Choice
    from experiments.sweep import Trial


def conclude(folders: Sequence[str], data: Dataset) -> tuple[consensus.Conclusion, list[dict]]:
    """Return (Conclusion, results) of the finished runs in some folders, on their data set.

    UserError if fewer than two runs are finished, or a folder's files are damaged.
    """
    results = {folder: finished(folder) for folder in folders}
    results = {folder: result for folder, result in results.items() if result is not None}
    labels, codes = [], []
    for folder, result in results.items():
        check_result(folder, result, scored=data.y is not None)
        labels.append(read_labels(folder, data))
        if os.path.exists(os.path.join(folder, "pretrained_codes.npy")):
            z = read_array(folder, "pretrained_codes.npy")
            codes.append(z)
            whole = z.dtype.kind == "f" and z.ndim == 2 and len(z) == data.n and z.size > 0
            if not whole or not np.isfinite(z).all():
                raise UserError(
                    f"pretrained_codes.npy in {folder!r}: expected a code of finite numbers for "
                    f"each of the {data.n} samples of {data.name}"
                )
    return consensus.conclude(data.x, labels, codes), list(results.values())


def choice(found: consensus.Conclusion, results: list[dict], data: Dataset) -> dict:
    """Return a row of choices.csv for a Conclusion on runs with these results."""
    best = results[found.chosen]
    row = {name: best.get(name, "") for name in choices.COLUMNS if name in best}
    row |= {
        "runs": len(results),
        "seeds": " ".join(str(result["seed"]) for result in results),
        "chosen_seed": best["seed"],
        "chosen_verdict": best.get("verdict", ""),
        "company": round(float(found.company.mean()), 6),
        "similarity": round(float(found.similarity.mean()), 6),
        "finished": now(),
    }
    if data.y is not None:
        accs = [result["acc"] for result in results]
        row |= {"mean_acc": statistics.fmean(accs), "best_acc": max(accs)}
        for name, labels in (("chosen", found.labels), ("consensus", found.consensus)):
            row[f"{name}_acc"] = metrics.acc(data.y, labels)
            row[f"{name}_nmi"] = metrics.nmi(data.y, labels)
    return row


def table(found: consensus.Conclusion, results: list[dict]) -> list[str]:
    """Return lines that show each run beside the others, the chosen one marked."""
    scored = all("acc" in result for result in results)
    lines = ["seed  verdict    score  like the others" + ("     acc" if scored else "")]
    for i, result in enumerate(results):
        name = f"{result['seed']:4}  {result.get('verdict', '-'):9}"
        acc = f"  {result['acc']:.4f}" if scored else ""
        mark = "  <- chosen" if i == found.chosen else ""
        lines.append(f"{name}  {found.scores[i]:.3f}  {found.similarity[i]:15.3f}{acc}{mark}")
    return lines


def summary(row: dict) -> str:
    """Return one line on a row of choices.csv."""
    text = f"{row['runs']} runs: seed {row['chosen_seed']} chosen"
    if row.get("chosen_acc", "") != "":
        text += (
            f" (acc {float(row['chosen_acc']):.4f}), consensus acc "
            f"{float(row['consensus_acc']):.4f}, mean acc {float(row['mean_acc']):.4f}"
        )
    share = f"{float(row['company']):.0%}"
    return f"{text}; the clusters that two runs put a sample in share {share} of their samples"


def write(folder: str, found: consensus.Conclusion, row: dict, data: Dataset) -> None:
    """Write the answer's files into a folder: arrays, choice.json, and labels.csv of the arrays.

    labels.npy (n,) is the chosen run's; consensus.npy (n,) what most runs say; company.npy (n,)
    the mean Jaccard overlap of the clusters that two runs put each sample in, in (0, 1].
    """
    os.makedirs(folder, exist_ok=True)
    arrays = {"labels": found.labels, "consensus": found.consensus, "company": found.company}
    for name, array in arrays.items():
        save_array(os.path.join(folder, f"{name}.npy"), array)
    table = pd.DataFrame({"sample": data.rows or range(data.n), "label": found.labels})
    table["consensus"], table["company"] = found.consensus, found.company.round(6)
    write_table(os.path.join(folder, "labels.csv"), table)
    scores = {"scores": found.scores.tolist(), "similarities": found.similarity.tolist()}
    save_json(os.path.join(folder, "choice.json"), row | scores)


def conclude_groups(trials: "list[Trial]", path: str | os.PathLike) -> list[str]:
    """Conclude from the finished trials of each group that differs in the seed alone.

    Keep the answers in a choices.csv; return a line a group of two or more, or why there is none.
    """
    groups, ended = {}, {}
    for trial in trials:
        result = finished(trial.folder)
        if result is not None:
            ended[trial] = result.get("finished", "")
            about_it = about(trial.record)
            groups.setdefault(tuple(str(about_it[name]) for name in choices.KEY), []).append(trial)
    known = {tuple(row[name] for name in choices.KEY): row for row in choices.read(path)}
    lines, rows, data = [], [], {}
    for key, some in groups.items():
        if len(some) < 2:
            continue
        name = f"{key[0]} on {key[1]}"
        seeds = " ".join(str(trial.record["seed"]) for trial in some)
        row = known.get(key)
        if row is None or row["seeds"] != seeds or row["finished"] < max(map(ended.get, some)):
            if key[2] not in data:
                data = {key[2]: load_data(some[0].spec)}  # one at a time: they are large
            try:
                found = conclude([trial.folder for trial in some], data[key[2]])
            except UserError as error:
                lines.append(f"no choice for {name}: {error}")
                continue
            row = choice(*found, data[key[2]])
            rows.append(row)
        lines.append(f"{name}: {summary(row)}")
    if rows:
        choices.keep(path, rows)
    return lines


# ---- python main.py --trials N ----------------------------------------------------------------


def run(args: argparse.Namespace, data: Dataset, k: "Choice | None" = None) -> dict:
    """Train the trials of a command line, print and keep their answer; return the chosen result.

    k is the choice of the number of clusters, kept with the answer; None where it was given.
    UserError if fewer than two trials end well.
    """
    from experiments.plan import trial_of  # it imports the engine, which few need
    from experiments.spec import RunSpec
    from experiments.sweep import Cores, Sweep

    jobs = args.jobs or 1
    threads = max(1, args.threads // jobs)
    trials, hashes = [], {}
    for seed in range(args.seed, args.seed + args.trials):
        folder = None if args.save_dir is None else os.path.join(args.save_dir, f"seed{seed}")
        spec = RunSpec.of(args, seed=seed, threads=threads, save_dir=folder, strict=False)
        trials.append(trial_of(spec, data, hashes))
    folder = args.save_dir or f"{trials[0].folder}-{args.trials}trials"
    _claim(folder, trials, args.overwrite)
    for trial in trials:
        score_anew(trial.folder, data)
    failed = Sweep(trials, Cores(jobs)).run()
    if failed:
        print(f"{len(failed)} of {len(trials)} trials failed: {'; '.join(failed)}")
    found, results = conclude([trial.folder for trial in trials], data)
    row = choice(found, results, data)
    write(folder, found, row, data)
    if k is not None:
        from experiments import n_clusters  # with scikit-learn

        n_clusters.keep(k, folder)
    print("\n".join([*table(found, results), summary(row)]))
    print(f"labels.csv, labels.npy (the chosen run's), consensus.npy, company.npy in {folder}")
    return results[found.chosen]


def _claim(folder, trials, overwrite):
    """Check that the folders are free for, or hold, these very trials; empty them to overwrite."""
    if overwrite:
        _empty(folder, RUN_FILES)
        for trial in trials:
            _empty(trial.folder, ("result.json",))  # the trial itself starts over
        return
    if os.path.exists(os.path.join(folder, "config.json")):
        raise UserError(f"{folder!r} holds a single run: {WAY_OUT}")
    for trial in trials:
        check_folder(trial.folder, trial.record)
    path = os.path.join(folder, "choice.json")
    if os.path.exists(path):
        there, here = read_record(path), about(trials[0].record)
        there = {name: there.get(name) for name in choices.KEY} if there else {}
        refuse_others(folder, there, {name: here[name] for name in choices.KEY})


def _empty(folder, names):
    """Remove files of a folder; FolderInUse if a process is at work there."""
    if os.path.isdir(folder):
        with held(folder):
            remove(folder, names)
