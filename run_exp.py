"""Run many trials (methods x data sets x seeds), one process each, and keep the ledger.

Without arguments: DEC-DA's five augmented methods on its four data sets, five seeds. Settings of
main.py given here (--maxiter 150, --pretrain-epochs 1, ...) hold for every trial. A trial that is
done is not run again; one that was killed goes on where it stopped.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import datasets
import ledger
import main as single
from errors import FolderInUse, UserError, unknown
from models import METHODS
from models.config import digest
from models.storage import save_json
from runs import about, finished, identity, now

ROOT = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(ROOT, "results")
DEFAULT_METHODS = ("FcDEC-DA", "FcIDEC-DA", "FcDCN-DA", "ConvDEC-DA", "ConvIDEC-DA")
DEFAULT_DATASETS = ("mnist", "mnist-test", "usps", "fmnist")


@dataclass
class Trial:
    """One run of the sweep: its words for main.py, its folder, and whom it shares weights with."""

    name: str
    words: list
    folder: str
    pretraining: str
    record: dict  # the run's identity
    minutes: float
    tries: int = 0
    after: float = 0.0  # not to be started before this time


def parser():
    """Return the command line's parser."""
    p = single.Parser(description=__doc__, epilog="Other options: see python main.py -h.")
    add = p.add_argument
    add("--methods", nargs="+", metavar="NAME", help="default: the five -DA methods")
    add("--datasets", nargs="+", metavar="NAME", help="default: mnist mnist-test usps fmnist")
    seeds = p.add_mutually_exclusive_group()
    seeds.add_argument("--trials", type=int, default=5, metavar="N", help="seeds 0 to N-1 (5)")
    seeds.add_argument("--seeds", type=int, nargs="+", metavar="S")
    add("--table", metavar="ID", help="the runs that a published table needs, e.g. decda-3")
    add("--jobs", type=int, default=1, metavar="N",
        help="trials side by side, each on its share of the cores (default 1)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="threads a trial (default: cores / jobs)")
    add("--timeout", type=float, metavar="MINUTES", help="stop a trial that takes longer")
    add("--retries", type=int, default=0, metavar="N", help="times to retry a failed trial")
    add("--dry-run", action="store_true", help="print the plan and stop")
    add("--tables", action="store_true",
        help="run nothing: rebuild results.csv, the tables and README's")  # fmt: skip
    add("--report", action="store_true",
        help="run nothing: write results/report.html, all results on one page")  # fmt: skip
    return p


def wanted(args):
    """Return the (method, data set, further words) that the command line asks for."""
    for kind, given, known in (
        ("method", args.methods, METHODS), ("dataset", args.datasets, datasets.DATASETS)
    ):  # fmt: skip
        for name in given or ():
            if name not in known:
                raise UserError(unknown(kind, name, known))
    if args.table is None:
        methods, names = args.methods or DEFAULT_METHODS, args.datasets or DEFAULT_DATASETS
        pairs = [(m, d, []) for d in names for m in methods]
    else:
        paper = ledger.read_paper()
        cells = paper[(paper.table == args.table) & paper.method.isin(list(METHODS))]
        if args.table not in set(paper.table):
            raise UserError(unknown("table", args.table, paper.table.unique()))
        if not len(cells):
            raise UserError(f"table {args.table!r} holds no method of this project's")
        pairs = []
        for cell in cells.itertuples():
            here = cell.dataset in datasets.DATASETS
            chosen = args.datasets is None or cell.dataset in args.datasets
            chosen = chosen and (args.methods is None or cell.method in args.methods)
            pair = (cell.method, cell.dataset, _stages(cell.variant))
            if here and chosen and pair not in pairs:
                pairs.append(pair)
    return pairs


def _stages(variant):
    """Return main.py's words for a one-stage variant, "y/n" for (pretraining, clustering)."""
    if not variant:
        return []
    return [
        f"--{'' if flag == 'y' else 'no-'}aug-{stage}"
        for stage, flag in zip(("pretrain", "cluster"), variant.split("/"), strict=True)
    ]


def plan(args, rest):
    """Return (trials, complaints about data sets that cannot be had).

    Every trial's settings are checked here, before the first one starts.
    """
    if args.jobs < 1:
        raise UserError(f"jobs={args.jobs}: expected an integer >= 1")
    if args.seeds is None and args.trials < 1:
        raise UserError(f"trials={args.trials}: expected an integer >= 1")
    if args.timeout is not None and not args.timeout > 0:
        raise UserError(f"timeout={args.timeout}: expected minutes > 0")
    seeds = args.seeds or range(args.trials)
    cores = len(os.sched_getaffinity(0))
    threads = max(1, cores // args.jobs) if args.threads is None else args.threads
    pairs = wanted(args)
    trials, complaints = [], []
    for name in dict.fromkeys(name for _, name, _ in pairs):
        options = ["--dataset", name, "--threads", str(threads), *rest]
        try:
            data = single.load_data(single.parser().parse_args(options))
        except UserError as error:
            complaints.append(str(error))
            continue
        for seed in seeds:
            for method, _, extra in (pair for pair in pairs if pair[1] == name):
                words = ["--method", method, *options, "--seed", str(seed), *extra]
                trials.append(_trial(words, data))
    return trials, complaints


def _trial(words, data):
    """Return the trial of main.py's words on loaded data."""
    args = single.parser().parse_args(words)
    single.check(args)
    config = single.resolve(args, data)
    single.check_shapes(config, data)
    folder = single.folder_of(args, data, config)
    shared = digest([config.pretrain_dict(), data.name, args.seed])
    return Trial(
        name=f"{args.method} {data.name} seed {args.seed}",
        words=[*words, "--save-dir", folder, "--quiet"],
        folder=folder,
        pretraining=shared,
        record=identity(args.method, data, args.seed, config, args.pretrained_weights),
        minutes=sum(single.estimate(config, data, args.threads)),
    )


def show(trials):
    """Print the plan: what is done, what is left, and the longest it can take."""
    todo = []
    for trial in trials:
        done = finished(trial.folder) is not None
        print(f"{'done' if done else 'to do':6} {trial.name:36} {trial.folder}")
        todo += [] if done else [trial]
    hours = sum(trial.minutes for trial in todo) / 60
    print(f"{len(trials)} trials, {len(todo)} to do: at most {hours:.1f} hours of this machine if "
          f"no pretraining were shared; about {30 * len(todo)} MB of disk")  # fmt: skip


def start(trial, cpus):
    """Start a trial's process, pinned to its cores; its messages go to a file in its folder."""
    os.makedirs(trial.folder, exist_ok=True)
    with open(os.path.join(trial.folder, "stderr.txt"), "w") as errors:
        return subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "main.py"), *trial.words],
            stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )  # fmt: skip


def reason(trial, code, late):
    """Return one line on why a trial failed."""
    if late:
        return f"stopped after {late:g} minutes"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    with open(os.path.join(trial.folder, "stderr.txt"), encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1][:200] if lines else f"exit status {code}"


def fail(trial, why):
    """Leave a result that says why a trial failed; a later sweep tries it again."""
    command = "python main.py " + shlex.join(trial.words)
    failure = {"status": "failed", "reason": why, "command": command, "finished": now()}
    with contextlib.suppress(OSError):
        save_json(os.path.join(trial.folder, "result.json"), about(trial.record) | failure)


def sweep(trials, args):
    """Run the trials that are not done; return the names of those that failed."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // args.jobs)
    slots = [set(cores[(i * share) % len(cores) :][:share]) for i in range(args.jobs)]
    pending = [t for t in trials if finished(t.folder) is None]
    total, failed, running = len(pending), [], {}
    print(f"{len(trials) - total} trials are done, {total} to do", flush=True)

    def settle(slot):
        trial, process, begin = running[slot]
        late = args.timeout and (time.monotonic() - begin) / 60 > args.timeout
        if process.poll() is None and not late:
            return
        if late:
            process.kill()
        code = process.wait()
        del running[slot]
        if code == FolderInUse.status:  # another sweep is at it
            trial.after = time.monotonic() + 10
            pending.append(trial)
        elif code == 0 and (result := finished(trial.folder)) is not None:
            scores = f"acc {result['acc']:.4f} nmi {result['nmi']:.4f}" if "acc" in result else ""
            print(f"done   {trial.name:36} {scores} {result['seconds_total']:.0f} s", flush=True)
        else:
            why = reason(trial, code, late and args.timeout)
            print(f"failed {trial.name:36} {why}", flush=True)
            trial.tries += 1
            if trial.tries <= args.retries:
                pending.append(trial)
            else:
                failed.append(trial.name)
                fail(trial, why)
        if code != FolderInUse.status:
            ledger.update(os.path.join(RESULTS, "results.csv"), os.path.join(RESULTS, "runs"))

    try:
        while pending or running:
            for slot in list(running):
                settle(slot)
            for slot in set(range(args.jobs)) - set(running):
                ready = [t for t in pending if t.after <= time.monotonic()]
                busy = {trial.pretraining for trial, _, _ in running.values()}
                ready.sort(key=lambda t: t.pretraining in busy)  # stable: else in order
                while ready and finished(ready[0].folder) is not None:  # by another sweep
                    pending.remove(ready.pop(0))
                if ready:
                    pending.remove(ready[0])
                    running[slot] = (ready[0], start(ready[0], slots[slot]), time.monotonic())
            time.sleep(0.2)
    finally:
        for _, process, _ in running.values():
            process.terminate()
    return failed


def publish():
    """Rebuild results.csv, the tables and README's from the rows; print warnings."""
    rows, warnings = ledger.update(
        os.path.join(RESULTS, "results.csv"), os.path.join(RESULTS, "runs")
    )
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    ledger.write_tables(RESULTS)
    ledger.update_readme(os.path.join(ROOT, "README.md"), rows, ledger.read_paper())
    print(f"{len(rows)} rows in results/results.csv; results/tables.md and README.md rewritten")


def write_report():
    """Rebuild results.csv and write the report; print warnings."""
    import html_report

    ledger.update(os.path.join(RESULTS, "results.csv"), os.path.join(RESULTS, "runs"))
    path, warnings = html_report.write(RESULTS)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{os.path.relpath(path)}: {os.path.getsize(path) / 1e6:.1f} MB")


def run(argv):
    """Do what the command line asks for; return the exit status."""
    args, rest = parser().parse_known_args(argv)
    if args.tables or args.report:
        if rest:
            flag = "--tables" if args.tables else "--report"
            raise UserError(f"{rest[0]!r}: {flag} takes no further options")
        os.makedirs(os.path.join(RESULTS, "runs"), exist_ok=True)
        if args.tables:
            publish()
        if args.report:
            write_report()
        return 0
    for word in ("--seed", "--save-dir", "--dataset", "--method", "--data", "-t", "--test"):
        if any(given.partition("=")[0] == word for given in rest):
            raise UserError(f"{word} is for main.py; expected --seeds, --datasets or --methods")
    trials, complaints = plan(args, rest)
    for complaint in complaints:
        print(f"run_exp.py: {complaint}", file=sys.stderr)
    if args.dry_run:
        show(trials)
        return 2 if complaints else 0
    failed = sweep(trials, args)
    if trials:
        publish()
    if failed:
        print(f"{len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return 2 if complaints else 1 if failed else 0


def main():
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        return run(sys.argv[1:])
    except UserError as error:
        print(f"run_exp.py: error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("run_exp.py: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
