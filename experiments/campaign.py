"""The campaign: the sweep files of configs/campaign in the order of their names, to the last run.

`python run_exp.py --campaign` goes on where the last one stopped, on this machine or another: a
run is done when results/results.csv has its row, or its run folder its result. See
docs/campaign.md.
"""

import os
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common import paths
from common.errors import UserError
from experiments import ledger, options
from experiments import plan as planning
from experiments.description import about
from experiments.ledger import AnyPath, Row
from experiments.run_files import finished
from experiments.runs import make_folder
from experiments.sweep import LOWEST, Cores, Sweep, Trial

FOLDER = os.path.join(paths.ROOT, "configs", "campaign")
ALONE = (
    *("results", "methods", "datasets", "seeds", "trials", "table", "figure", "file"),
    *("ray", "gpus", "dry_run", "tables", "report", "maps"),
)  # options of other sweeps


def parser() -> options.Parser:
    """Return the parser of the words that only a campaign has."""
    p = options.Parser(
        prog="run_exp.py",
        usage="run_exp.py --campaign [options]",
        description=__doc__.partition("\n\n")[0],
        epilog="Also: --timeout, --retries and the options of main.py, for every run.",
    )
    add = p.add_argument
    add("--campaign", action="store_true", help="run what is left")
    only = p.add_mutually_exclusive_group()
    only.add_argument(
        "--status",
        action="store_true",
        help="run nothing: print what is done and what is left, one line per file",
    )
    only.add_argument(
        "--import",
        dest="source",
        metavar="DIR",
        help="run nothing: take the finished runs of another checkout, or of its folder of runs, "
        "into results/results.csv",
    )
    cores = len(os.sched_getaffinity(0))
    jobs = "runs side by side (default: as many as cores)"
    add("--jobs", **options.COUNT, default=cores, help=jobs)
    add("--threads", **options.COUNT, default=1, help="threads a run (default 1)")
    add(
        "--runs-dir",
        metavar="DIR",
        help="where the run folders lie, with the pretrained auto-encoders beside it, in "
        "DIR/../pretrained (default results/runs)",
    )
    return p


@dataclass
class Block:
    """The trials of one sweep file that no file before it has."""

    name: str
    done: list
    left: list
    ratios: list  # of the done ones: the time that each took over its estimate


def run(argv: list[str], results_dir: AnyPath) -> int:
    """Do what a command line with --campaign asks for; return the exit status.

    results_dir: the folder of results.csv. UserError for a mistake in the command line or in a
    sweep file, before anything starts.
    """
    args, rest = parser().parse_known_args(argv)
    if "" in (args.source, args.runs_dir):
        raise UserError("--import or --runs-dir '': expected the name of a folder")
    results = os.path.join(results_dir, "results.csv")
    sweep_args, _ = planning.parse(rest)
    for name in ALONE:
        if getattr(sweep_args, name) not in (None, False):
            raise UserError(f"--campaign and --{name.replace('_', '-')}: expected only one")
    if args.source is not None:
        if rest:
            raise UserError(f"{rest[0]!r}: --import takes no further options")
        return import_runs(args.source, results)
    runs_dir = os.path.abspath(args.runs_dir or os.path.join(results_dir, "runs"))
    words = ["--jobs", str(args.jobs), "--threads", str(args.threads)]
    if args.runs_dir is not None:
        words += ["--cache-dir", os.path.join(os.path.dirname(runs_dir), "pretrained")]
    if not args.status:
        os.nice(LOWEST)
    rows = [row for row in ledger.read_rows(results) if row["status"] == "ok"]
    blocks, complaints = read_blocks([*words, *rest], rows, runs_dir)
    for complaint in complaints:
        print(f"run_exp.py: left out: {complaint}", file=sys.stderr)
    if args.status:
        print(status(blocks, args.jobs))
        if complaints:
            print(f"not counted: the runs on data sets that were not found ({len(complaints)})")
        return 0
    make_folder(runs_dir)
    ledger.update(results, runs_dir)  # or refuse
    left = [trial for block in blocks for trial in block.left]
    print(f"campaign: {sum(len(block.done) for block in blocks)} runs have a row or a result")
    cores = Cores(args.jobs, sweep_args.timeout)
    failed = carry_out(left, cores, sweep_args.retries, results, runs_dir)
    if failed:
        print(f"{len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return 2 if complaints else 1 if failed else 0


def read_blocks(
    words: list[str], rows: Iterable[Row], runs_dir: AnyPath
) -> tuple[list[Block], list[str]]:
    """Return (blocks, complaints about data sets that cannot be had) of the sweep files, in order.

    words: of the command line, for every file; rows: of results.csv, with status ok; runs_dir:
    where the run folders lie.
    """
    files = sorted(Path(FOLDER).glob("*.json"))
    if not files:
        raise UserError(f"no sweep files in {FOLDER!r}: expected *.json")
    blocks, complaints, seen = [], {}, set()
    rows = {ledger.key_of(row): row for row in rows}
    for path in files:
        try:
            trials, some = planning.plan(*planning.parse([str(path), *words]))
        except UserError as error:
            message = str(error) if path.name in str(error) else f"{path.name}: {error}"
            raise UserError(message) from error
        complaints |= dict.fromkeys(some)
        block = Block(path.stem, [], [], [])
        for trial in trials:
            key = key_of(trial)
            if key in seen:
                continue
            seen.add(key)
            trial.folder = os.path.join(runs_dir, os.path.basename(trial.folder))
            result = rows.get(key) or finished(trial.folder)
            (block.done if result else block.left).append(trial)
            if result and result.get("seconds_total") and sum(trial.minutes) > 0:
                seconds = float(result["seconds_total"]) * int(result.get("threads") or 1)
                block.ratios.append(seconds / 60 / sum(trial.minutes))
        blocks.append(block)
    return blocks, list(complaints)


def key_of(trial: Trial) -> tuple[str, ...]:
    """Return the key that a trial's row in results.csv will have."""
    return ledger.key_of(ledger.as_row(about(trial.record) | {"status": "ok"}))


def status(blocks: list[Block], jobs: int) -> str:
    """Return the table of what is done and what is left, one line per block and one of the total.

    The estimates rest on the speed of this machine at this moment and on the largest number of
    steps. So they are multiplied by what the done runs took over theirs, the median.
    """
    ratios = [ratio for block in blocks for ratio in block.ratios]
    factor = statistics.median(ratios) if ratios else 1.0
    lines, trained = [], {None}
    for block in blocks:
        hours = factor * planning.left(block.left, trained)[0] / jobs / 60
        lines.append((block.name, len(block.done), len(block.left), hours))
    lines.append(("total", *(sum(line[i] for line in lines) for i in (1, 2, 3))))
    width = max(len(line[0]) for line in lines)
    text = [f"{'block':{width}}  done  to do  hours left"]
    text += [f"{name:{width}} {done:5} {left:6} {time:11.1f}" for name, done, left, time in lines]
    known = f"by the times of {len(ratios)} done runs" if ratios else "at most"
    return "\n".join([*text, f"hours: {jobs} runs at a time, {known}"])


def carry_out(
    trials: list[Trial], executor: Cores, retries: int, results: AnyPath, runs_dir: AnyPath
) -> list[str]:
    """Run trials in order, bring results.csv up to date after each; return the failed ones' names.

    A trial whose row comes into results.csv meanwhile, of another machine, is not started.
    """

    def settled():
        try:
            rows, _ = ledger.update(results, runs_dir)
        except UserError as error:  # the rows are in the run folders as well
            print(f"warning: {error}", file=sys.stderr)
            return
        done = ledger.done_keys(rows)
        sweep.pending = [trial for trial in sweep.pending if key_of(trial) not in done]

    sweep = Sweep(trials, executor, retries, settled)
    return sweep.run()


def import_runs(source: AnyPath, results: AnyPath) -> int:
    """Add the finished runs below a folder to a results.csv and say how many; return 0.

    source: a checkout of this project, or a folder with run folders. Rows that are there with
    status ok stay as they are. A damaged result is left out, with a warning; so is one that does
    not say which run it is of. UserError if there is no such folder, or results.csv is damaged or
    cannot be written.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"--import {str(source)!r}: no such folder")
    below = folder / "results" / "runs"
    rows, warnings = ledger.folders(below if below.is_dir() else folder)
    good = []
    for place, row in rows.items():
        missing = [name for name in ledger.KEY if not row[name]]
        if row["status"] == "ok" and missing:
            warnings.append(f"left out {place / 'result.json'}: no {', '.join(missing)}")
        elif row["status"] == "ok":
            good.append(row)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    there = ledger.done_keys(ledger.read_rows(results))
    new = {ledger.key_of(row) for row in good} - there
    everything = ledger.add(results, good, replace=False)
    print(
        f"{len(good)} finished runs found, {len(new)} of them new; {len(everything)} rows in "
        f"{os.path.relpath(results)}"
    )
    return 0
