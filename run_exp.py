"""Run many trials (methods x data sets x seeds), one process each, and keep the ledger.

Without arguments: DEC-DA's five augmented methods on its four data sets, five seeds. Settings of
main.py given here (--maxiter 150, --pretrain-epochs 1, ...) hold for every trial. A trial that is
done is not run again; one that was killed goes on where it stopped. JSON files may come first:
`python run_exp.py configs/kingdra_ladder_im_mnist.json`.
"""

import early  # isort: split

import itertools
import math
import os
import shutil
import sys

import campaign
import datasets
import distributed
import ledger
import main as single
from checkout import commit_at_start
from errors import DISK_STATUS, UserError, disk_line, unknown
from models import METHODS
from models.config import pretrain_key
from models.cost import ladder_weight_count, weight_count
from models.samples import hash_array
from runs import finished, identity
from shapes import image_shape
from sweep import Cores, Sweep, Trial
from sweepfiles import KEYS, is_authors, read_authors, read_sweep
from trials import conclude_groups

ROOT = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(ROOT, "results")
OWN = os.path.join("own", "results.csv")  # in RESULTS: the rows of users' own files
DEFAULT_METHODS = ("FcDEC-DA", "FcIDEC-DA", "FcDCN-DA", "ConvDEC-DA", "ConvIDEC-DA")
DEFAULT_DATASETS = ("mnist", "mnist-test", "usps", "fmnist")
FOR_MAIN = ("--seed", "--save-dir", "--dataset", "--method", "--data", "-t", "--test", "--weights",
            "--overwrite")  # fmt: skip


def parser():
    """Return the command line's parser."""
    p = single.Parser(
        description=__doc__, epilog="Other options: see python main.py -h.", allow_abbrev=False
    )
    add = p.add_argument
    add("--methods", nargs="+", metavar="NAME", help="default: the five -DA methods")
    add("--datasets", nargs="+", metavar="NAME",
        help="names or files of your own; default: mnist mnist-test usps fmnist")  # fmt: skip
    seeds = p.add_mutually_exclusive_group()
    seeds.add_argument("--trials", type=int, metavar="N", help="seeds 0 to N-1 (default 5)")
    seeds.add_argument("--seeds", type=int, nargs="+", metavar="S")
    add("--table", metavar="ID", help="the runs that a published table needs, e.g. decda-3")
    add("--file", nargs="+", metavar="FILE", help="sweeps in JSON files, see docs/running.md")
    add("--jobs", type=int, metavar="N", help="trials side by side, each on its share of the cores "
        "(default 1; with --ray as many as the cluster holds)")  # fmt: skip
    add("--threads", type=int, metavar="N",
        help="threads a trial (default: cores / jobs; with --ray 1)")  # fmt: skip
    add("--timeout", type=float, metavar="MINUTES", help="stop a trial that takes longer")
    add("--retries", type=int, default=0, metavar="N", help="times to retry a failed trial")
    add(
        "--ray", metavar="ADDRESS", help="run on this Ray cluster: auto, HOST:PORT, ray://HOST:PORT"
    )
    add("--gpus", type=float, metavar="X", help="GPUs a trial, with --ray (default: 1 if the "
        "cluster has any; 0.5 puts two trials on one)")  # fmt: skip
    add("--results", metavar="FILE", help="keep the rows of this sweep in this CSV file (default: "
        "results/results.csv, for files of your own results/own/results.csv)")  # fmt: skip
    add("--campaign", action="store_true", help="go on with configs/campaign; see --campaign -h")
    add("--dry-run", action="store_true", help="print the plan and stop")
    add("--tables", action="store_true",
        help="run nothing: rebuild results.csv, the papers' tables and docs/results.md from all "
        "runs on the data sets with names")  # fmt: skip
    add("--report", action="store_true",
        help="run nothing: write results/report.html, all results on one page")  # fmt: skip
    add("--maps", metavar="NAME", help="run nothing: write results/maps-NAME.png, t-SNE of a data "
        "set's saved embeddings, as in DSCDAN's figure")  # fmt: skip
    return p


def parse(argv):
    """Return (args, words for main.py) of a command line, on which JSON files may come first."""
    files = list(itertools.takewhile(lambda word: word.endswith(".json"), argv))
    args, rest = parser().parse_known_args(argv[len(files) :])
    if files:
        args.file = files + (args.file or [])
    return args, rest


def described(args, rest):
    """Return [(args, further words)] of the sweeps that the command line or its files ask for."""
    if args.file is None:
        return [(args, rest)]
    sweeps = []
    for path in args.file:
        authors = is_authors(path)
        for name in KEYS[:-1]:
            told = getattr(args, name) is not None
            if told and not (authors and name in ("trials", "seeds")):
                raise UserError(f"--file and --{name}: expected only one")
        sweeps += [read_authors(path, args, rest)] if authors else read_sweep(path, args, rest)
    return sweeps


def wanted(args):
    """Return the (method, data set, further words) that the command line asks for."""
    for name in args.methods or ():
        if name not in METHODS:
            raise UserError(unknown("method", name, METHODS))
    for name in args.datasets or ():
        if name not in datasets.DATASETS and not os.path.exists(name):
            raise UserError(unknown("dataset", name, datasets.DATASETS))
    if args.table is None:
        methods, names = args.methods or DEFAULT_METHODS, args.datasets or DEFAULT_DATASETS
        return [(m, d, []) for d in names for m in methods]
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

    Every trial's settings are checked here, before the first one starts; none is there twice.
    """
    _check(args, rest)
    if args.threads is not None:
        threads = args.threads
    else:
        threads = 1 if args.ray else max(1, len(os.sched_getaffinity(0)) // (args.jobs or 1))
    trials, complaints = {}, {}
    for one, words in described(args, rest):
        if one.seeds is None and one.trials is not None and one.trials < 1:
            raise UserError(f"trials={one.trials}: expected an integer >= 1")
        seeds = one.seeds or range(5 if one.trials is None else one.trials)
        pairs = wanted(one)
        for name in dict.fromkeys(name for _, name, _ in pairs):
            kind = "--dataset" if name in datasets.DATASETS else "--data"
            options = [kind, name, "--threads", str(threads), *words]
            try:
                data = single.load_data(single.parser().parse_args(options))
            except UserError as error:
                complaints[str(error)] = None
                continue
            hashes = {}
            for seed in seeds:
                for method, _, extra in (pair for pair in pairs if pair[1] == name):
                    more = ["--method", method, *options, "--seed", str(seed), *extra]
                    trial = trial_of(more, data, hashes)
                    trials.setdefault(trial.folder, trial)
    return list(trials.values()), list(complaints)


def _check(args, rest):
    """Refuse options that no sweep can have."""
    for word in rest:
        if word.partition("=")[0] in FOR_MAIN:
            word = word.partition("=")[0]
            raise UserError(f"{word} is for main.py; expected --seeds, --datasets or --methods")
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"jobs={args.jobs}: expected an integer >= 1")
    if args.retries < 0:
        raise UserError(f"retries={args.retries}: expected an integer >= 0")
    if args.timeout is not None and not args.timeout > 0:
        raise UserError(f"timeout={args.timeout}: expected minutes > 0")
    if args.gpus is not None and args.ray is None:
        raise UserError(f"gpus={args.gpus:g}: expected it with --ray")
    if args.gpus is not None and not 0 <= args.gpus < math.inf:
        raise UserError(f"gpus={args.gpus}: expected a number >= 0")


def trial_of(words, data, hashes):
    """Return the trial of main.py's words on loaded data; `hashes` keeps those of its samples."""
    args = single.parser().parse_args(words)
    single.check(args)
    config = single.resolve(args, data)
    single.check_shapes(config, data)
    weights, size, width = None, 0.0, data.n_clusters
    if config.pretrains:
        shape, width = data.x.shape[1:], config.latent_dim
        shape = image_shape(shape) if config.network != "fc" else shape
        size = 4e-6 * weight_count(config.network, shape, width)
        if args.pretrained_weights is None:
            if shape not in hashes:
                hashes[shape] = hash_array(data.x.reshape(-1, *shape))
            key, _ = pretrain_key(config, shape, hashes[shape], args.seed, data.n_clusters)
            weights = os.path.join(args.cache_dir, key, "ae_weights.h5")
    elif config.deep:
        count = ladder_weight_count(config, math.prod(data.x.shape[1:]), data.n_clusters)
        size = 2e-6 * count  # of the two files that `megabytes` takes a run to keep, there is one
    arrays = 1e-6 * data.n * (8 + 4 * width)  # labels and embedding
    return Trial(
        name=f"{args.method} {data.name} seed {args.seed}",
        words=words,
        folder=single.folder_of(args, data, config),
        cache_dir=args.cache_dir,
        weights=weights,
        record=identity(args.method, data, args.seed, config, args.pretrained_weights),
        minutes=tuple(single.estimate(config, data, args.threads)),
        megabytes=(2 * size + arrays, size),
    )


def data_of(trial):
    """Return the data set of a trial."""
    return single.load_data(single.parser().parse_args(trial.words))


def show(trials, jobs):
    """Print the plan: what is done, what is left, and how long and how large that is at most."""
    todo, minutes, megabytes, trained = [], 0.0, 0.0, {None}
    for trial in trials:
        done = finished(trial.folder) is not None
        print(f"{'done' if done else 'to do':6} {trial.name:36} {trial.folder}")
        if done:
            continue
        todo.append(trial)
        minutes += trial.minutes[1]
        megabytes += trial.megabytes[0]
        if trial.weights is None or trial.weights in trained:
            continue
        trained.add(trial.weights)
        if trial.waits_for_weights():
            minutes += trial.minutes[0]
            megabytes += trial.megabytes[1]
    kept = RESULTS if os.path.exists(RESULTS) else ROOT
    free = shutil.disk_usage(kept).free / 1e6
    hours = minutes / jobs / 60
    print(f"{len(trials)} trials, {len(todo)} to do: at most {hours:.1f} hours of this machine, "
          f"{jobs} at a time; about {megabytes:.0f} MB of disk, {free:.0f} are free")  # fmt: skip


def place_of(args, rest):
    """Return where trials are to run: on this machine's cores or on a cluster."""
    if args.ray is None:
        return Cores(args.jobs or 1, args.timeout)
    gpus = args.gpus
    if gpus is None and single.parser().parse_known_args(rest)[0].device == "cpu":
        gpus = 0
    return distributed.Cluster(
        args.ray, RESULTS, cpus=args.threads or 1, gpus=gpus, jobs=args.jobs, timeout=args.timeout
    )


class Ledgers:
    """The files that take a sweep's rows.

    Those of users' own files never come into the tracked results.csv. None of a sweep's rows does
    where the user names another file.

    Parameters
    ----------
    trials : list of Trial
    path : path, optional
        The user's file.
    """

    def __init__(self, trials, path=None):
        self.trials, self.path = trials, path
        self.sources = {trial.source for trial in trials}

    def update(self):
        """Bring the files up to date and return {file: number of its rows}, and warnings.

        UserError if a file is damaged or cannot be written.
        """
        if self.path is not None:
            rows, warnings = [], []
            for trial in self.trials:
                if os.path.exists(os.path.join(trial.folder, "result.json")):
                    found, more = ledger.collect(trial.folder)
                    rows, warnings = rows + found, warnings + more
            return {self.path: len(ledger.add(self.path, rows))}, warnings
        counts, warnings = {}, []
        for source in sorted(self.sources):
            rows, warnings = update(source)
            counts[file_of(source)] = len(rows)
        return counts, warnings

    def settled(self):
        """Bring the files up to date; a sweep goes on where that is impossible, and tells why."""
        try:
            self.update()
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)

    def close(self):
        """Bring the files, and what is made of results.csv, up to date; say where the rows are."""
        counts, warnings = self.update()
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        told = "; ".join(f"{n} rows in {os.path.relpath(path)}" for path, n in counts.items())
        if self.path is None and "named" in self.sources:
            ledger.write_tables(RESULTS)
            told += f"; {os.path.relpath(os.path.join(RESULTS, 'tables.md'))} rewritten"
        for source in sorted(self.sources):
            some = [trial for trial in self.trials if trial.source == source]
            for line in conclude_groups(some, data_of, choices_of(self.path or file_of(source))):
                print(line)
        print(told)


def choices_of(path):
    """Return the file of the choices beside a file of rows."""
    folder, name = os.path.split(path)
    stem = "" if name == "results.csv" else f"{os.path.splitext(name)[0]}-"
    return os.path.join(folder, f"{stem}choices.csv")


def file_of(source):
    """Return the file of the rows of a kind of data, "named" or "file"."""
    return os.path.join(RESULTS, "results.csv" if source == "named" else OWN)


def update(source):
    """Add all runs on a kind of data, "named" or "file", to its file, as `ledger.update`."""
    own = source == "file"
    return ledger.update(file_of(source), os.path.join(RESULTS, "runs"), own)


def rebuild():
    """Bring both files up to date and return (rows of results.csv, of the own one, warnings).

    Rows of users' files that an earlier sweep put into results.csv move to the other one.
    """
    ledger.move_own(file_of("named"), file_of("file"))
    rows, warnings = update("named")
    own = []
    if os.path.exists(file_of("file")) or any(
        ledger.source(row) == "file" for row in ledger.collect(os.path.join(RESULTS, "runs"))[0]
    ):
        own, _ = update("file")
    return rows, own, warnings


def publish():
    """Rebuild results.csv, the tables and docs/results.md from the rows; print warnings."""
    rows, own, warnings = rebuild()
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    ledger.write_tables(RESULTS)
    ledger.update_readme(os.path.join(ROOT, "docs", "results.md"), rows, ledger.read_paper())
    if own:
        print(f"{len(own)} rows of your own files in {os.path.relpath(file_of('file'))}")
    print(f"{len(rows)} rows in results/results.csv; results/tables.md, docs/results.md rewritten")


def write_report():
    """Rebuild results.csv and write the report; print warnings."""
    from reporting import page

    rebuild()
    path, warnings = page.write(RESULTS)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{os.path.relpath(path)}: {os.path.getsize(path) / 1e6:.1f} MB")


def run(argv):
    """Do what the command line asks for; return the exit status."""
    if "--campaign" in argv:
        return campaign.run(argv, parse, plan, RESULTS)
    args, rest = parse(argv)
    if args.maps is not None:
        from reporting import maps

        if rest:
            raise UserError(f"{rest[0]!r}: --maps takes no further options")
        print(os.path.relpath(maps.write(RESULTS, args.maps)))
        return 0
    if args.tables or args.report:
        flag = "--tables" if args.tables else "--report"
        if args.results is not None:
            raise UserError(f"--results {args.results}: expected it with a sweep, not with {flag}")
        if rest:
            raise UserError(f"{rest[0]!r}: {flag} takes no further options")
        os.makedirs(os.path.join(RESULTS, "runs"), exist_ok=True)
        if args.tables:
            publish()
        if args.report:
            write_report()
        return 0
    trials, complaints = plan(args, rest)
    for complaint in complaints:
        print(f"run_exp.py: {complaint}", file=sys.stderr)
    if args.dry_run:
        show(trials, args.jobs or 1)
        return 2 if complaints else 0
    if not trials:
        print("0 trials")
        return 2 if complaints else 0
    os.makedirs(os.path.join(RESULTS, "runs"), exist_ok=True)
    ledgers = Ledgers(trials, args.results)
    ledgers.update()  # or refuse
    failed = Sweep(trials, place_of(args, rest), args.retries, ledgers.settled).run()
    ledgers.close()
    if failed:
        print(f"{len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return 2 if complaints else 1 if failed else 0


def main():
    """Run the command line; a user's mistake is one line and exit status 2."""
    early.over()
    commit_at_start()
    try:
        return run(sys.argv[1:])
    except UserError as error:
        print(f"run_exp.py: error: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        if (line := disk_line(error)) is None:
            raise
        print(f"run_exp.py: error: {line}", file=sys.stderr)
        return DISK_STATUS
    except KeyboardInterrupt:
        print("run_exp.py: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
