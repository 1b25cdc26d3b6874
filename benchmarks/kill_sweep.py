"""Kill a sweep at random moments, start it again, and compare its end with an undisturbed one's.

python benchmarks/kill_sweep.py: 3 methods x 2 small sets x 2 seeds, each in a copy of the project
in a temporary folder: undisturbed; killed with SIGKILL ten times, the whole process group or only
run_exp.py; as two sweeps at once. Exits with 1 and says what differs if anything does. Ten minutes
on two free cores.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "loaders", "experiments", "models")
VARIES = ("seconds", "peak_memory_mb", "finished", "command", "commit")  # beginnings of columns
# Appended to the copies: t-SNE would take longer than all the rest, and runs are to be counted.
FEWER_POINTS = "\nPOINTS = 40\n"
COUNTED = """

from common import paths


def _counted(keep):
    def kept(run, *others):
        with open(os.path.join(paths.ROOT, "fits"), "a") as file:
            file.write(os.path.basename(run.folder) + "\\n")
        return keep(run, *others)

    return kept


_keep = _counted(_keep)
"""


def copy_project(folder):
    """Copy the project's code, without results, to a folder that is to be made; return it."""
    for path in [
        *ROOT.glob("*.py"),
        ROOT / "docs" / "results.md",
        ROOT / "results" / "paper.csv",
        *ROOT.glob("configs/figures/*"),
        *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")),
    ]:
        target = Path(folder) / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name, text in (("run_figure.py", FEWER_POINTS), ("runs.py", COUNTED)):
        with open(Path(folder) / "experiments" / name, "a") as file:
            file.write(text)
    return Path(folder)


def start(project, words, log):
    """Start run_exp.py of a project's copy in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "run_exp.py", *words],
        cwd=project,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def processes(project):
    """Return the ids of the processes that work in a project's copy."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if os.readlink(path / "cwd") == str(project) and state != "Z":
                found.append(int(path.name))
        except OSError:
            continue
    return found


def ended(project, seconds=10.0):
    """Return whether all processes of a project's copy are gone within some seconds."""
    end = time.monotonic() + seconds
    while processes(project):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def progress(project):
    """Return what there is of a sweep: runs that are done, begun, and checkpoints."""
    runs = project / "results" / "runs"
    done = len(list(runs.glob("*/result.json")))
    begun = len(list(runs.glob("*/config.json"))) - done
    checkpoints = len(list((project / "results").glob("*/*/checkpoint.h5")))
    return f"{done} trials done, {begun} begun, {checkpoints} checkpoints"


def news(project):
    """Return what changes whenever a trial logs something."""
    logs = (project / "results" / "runs").glob("*/log.csv")
    return {path.parent.name: path.stat().st_size for path in logs}


def killed(project, words, delays, log):
    """Start a sweep and kill it after each delay, in seconds; return the number of kills.

    The clock starts when a trial has logged something, but every third time at once: the start of
    the processes takes longer than all the rest. By turns the whole process group and run_exp.py
    alone are killed. RuntimeError if a process outlives it.
    """
    count = 0
    for number, delay in enumerate(delays):
        before = news(project)
        process = start(project, words, log)
        try:
            while number % 3 < 2 and process.poll() is None and news(project) == before:
                time.sleep(0.01)
            process.wait(delay)
            print(f"  ended by itself within {delay:.1f} s: {progress(project)}", flush=True)
            continue
        except subprocess.TimeoutExpired:
            pass
        alone = number % 2 == 1
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        count += 1
        if not ended(project):
            raise RuntimeError(f"processes {processes(project)} outlived their sweep")
        what = "run_exp.py" if alone else "all processes"
        print(f"  killed {what} after {delay:.1f} s: {progress(project)}", flush=True)
    return count


def finish(project, words, log):
    """Run a sweep to its end; RuntimeError if it fails."""
    code = start(project, words, log).wait()
    if code:
        raise RuntimeError(f"run_exp.py ended with {code}")


def rows(project, varies=VARIES):
    """Return a sweep's rows, without what differs from time to time."""
    files = ("results.csv", "own/results.csv")  # of data sets with names, and of users' files
    paths = [project / "results" / name for name in files]
    table = pd.concat([pd.read_csv(p) for p in paths if p.exists()], ignore_index=True)
    return table[[name for name in table if not name.startswith(varies)]]


def log_rows(folder):
    return pd.read_csv(folder / "log.csv").drop(columns="seconds")


def differences(project, reference):
    """Return lines on what differs between two ended sweeps; none if they are equal."""
    told = []
    if not rows(project).equals(rows(reference)):
        told.append("the rows differ")
    names = [sorted(os.listdir(p / "results" / "runs")) for p in (project, reference)]
    if names[0] != names[1]:
        return [*told, "the run folders differ"]
    for name in names[0]:
        here, there = (p / "results" / "runs" / name for p in (project, reference))
        for file in ("labels.npy", "embedding.npy"):
            if not np.array_equal(np.load(here / file), np.load(there / file)):
                told.append(f"{name}: {file} differs")
        if not log_rows(here).equals(log_rows(there)):
            told.append(f"{name}: log.csv differs")
    kept = [
        {str(path.relative_to(p / "results")) for path in (p / "results").rglob("*")}
        for p in (project, reference)
    ]
    told += [f"left behind: {path}" for path in sorted(kept[0] - kept[1])]
    return told + [f"missing: {path}" for path in sorted(kept[1] - kept[0])]


def fits(project):
    """Return the names of the runs that were fitted, once a fit."""
    return (project / "fits").read_text().split()


def together(project, words, log):
    """Run two sweeps at once; return how many trials were fitted, and how many fits that took."""
    both = [start(project, words, log) for _ in range(2)]
    codes = [process.wait() for process in both]
    if any(codes):
        raise RuntimeError(f"run_exp.py ended with {codes}")
    made = fits(project)
    return len(set(made)), len(made)


def small_set(path):
    """Write 400 images of five shapes at random places, 8x8, with labels."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 5
    shapes = rng.random((5, 6, 6)) < 0.5
    x = 0.1 * rng.random((400, 8, 8))
    for image, label, (row, column) in zip(x, y, rng.integers(0, 3, (400, 2)), strict=True):
        image[row : row + 6, column : column + 6] += 0.9 * shapes[label]
    np.savez(path, x=np.clip(x, 0, 1), y=y)


def demonstrate(folder, words, kills, rng):
    """Do all that the head of this file says; return the lines on what differs."""
    with open(folder / "output.txt", "w") as log:
        begin = time.monotonic()
        reference = copy_project(folder / "undisturbed")
        finish(reference, words, log)
        seconds = time.monotonic() - begin
        print(f"undisturbed: {seconds:.0f} s, {progress(reference)}", flush=True)
        project = copy_project(folder / "killed")
        work = sum(rows(reference, VARIES[1:]).seconds_total)
        longest = work / kills  # so that the last kill, too, meets a sweep at work
        count = killed(project, words, [rng.uniform(0, longest) for _ in range(kills)], log)
        finish(project, words, log)
        print(f"killed {count} times and finished: {len(fits(project))} fits", flush=True)
        shared = copy_project(folder / "shared")
        trials, made = together(shared, words, log)
        print(f"two sweeps at once: {trials} trials, {made} fits", flush=True)
    told = [f"killed: {line}" for line in differences(project, reference)]
    told += [f"shared: {line}" for line in differences(shared, reference)]
    if made != trials or trials != len(rows(reference)):
        told.append(f"two sweeps at once made {made} fits of {trials} trials")
    if count < kills:
        told.append(f"only {count} of {kills} kills met a sweep at work")
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", metavar="DIR", help="work in this new folder and keep it")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="kill-sweep-")).resolve()
    folder.mkdir(exist_ok=True, parents=True)
    small_set(folder / "shapes.npz")
    sweep = {
        "methods": ["FcDEC", "ConvDEC", "ConvIDEC"],
        "datasets": ["digits", str(folder / "shapes.npz")],
        "seeds": [0, 1],
        "settings": {
            "pretrain_epochs": 2,
            "maxiter": 30,
            "update_interval": 10,
            "tol": 0,
            "n_init": 2,
        },
    }
    (folder / "sweep.json").write_text(json.dumps(sweep, indent=1))
    words = [
        "--file",
        str(folder / "sweep.json"),
        "--jobs",
        str(args.jobs),
        "--threads",
        "1",
        "--checkpoint-seconds",
        "2",
    ]
    told = demonstrate(folder, words, args.kills, random.Random(args.seed))
    print("\n".join(told) or "rows, scores, labels, embeddings and logs are equal")
    if args.keep is None and not told:
        shutil.rmtree(folder)
    else:
        print(f"all of it is in {folder}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
