"""The plan of a sweep: which trials a command line or its files ask for, and how long they take."""

import argparse
import itertools
import math
import os
import shutil
from dataclasses import replace

import datasets
from common import paths
from common.errors import UserError, unknown
from common.logs import logger
from common.shapes import image_shape
from experiments import inputs, options, ours, published
from experiments.estimate import estimate
from experiments.run_files import finished, score_anew
from experiments.runs import identity
from experiments.spec import RunSpec
from experiments.sweep import Trial
from experiments.sweepfiles import KEYS, is_authors, read_authors, read_sweep
from models import METHODS
from models.core.cost import ladder_weight_count, weight_count
from models.core.samples import hash_array
from models.settings.base import pretrain_key

DEFAULT_METHODS = ("FcDEC-DA", "FcIDEC-DA", "FcDCN-DA", "ConvDEC-DA", "ConvIDEC-DA")
DEFAULT_DATASETS = ("mnist", "mnist-test", "usps", "fmnist")
FOR_MAIN = (
    *("--seed", "--save-dir", "--dataset", "--method", "--data"),
    *("-t", "--test", "--weights", "--overwrite", "--predict", "--out"),
)


def parser() -> options.Parser:
    """Return the command line's parser."""
    p = options.Parser(
        description=__doc__,
        epilog="Options of main.py and settings of the methods hold for every trial that has them: "
        "see\npython main.py -h and python main.py --method NAME -h.",
    )
    add, count = p.add_argument, options.COUNT
    add("--methods", nargs="+", metavar="NAME", help="default: the five -DA methods")
    sets = "names or files of your own; default: mnist mnist-test usps fmnist"
    add("--datasets", nargs="+", metavar="NAME", help=sets)
    seeds = p.add_mutually_exclusive_group()
    seeds.add_argument(
        "--trials",
        **count,
        help="seeds 0 to N-1 (default 5; "
        "with --table as many as its paper averages, ten in DSCDAN's)",
    )
    seeds.add_argument("--seeds", type=int, nargs="+", metavar="S")
    add(
        "--table",
        metavar="ID",
        help="the runs that a published table needs, e.g. "
        "decda-3, or the table of the project's own method, ours",
    )
    add(
        "--figure",
        metavar="ID",
        help="draw a published figure from the rows that there are, e.g. "
        "decda-3; with --dry-run print the runs that it needs",
    )
    add("--file", nargs="+", metavar="FILE", help="sweeps in JSON files, see docs/running.md")
    add(
        "--jobs",
        **count,
        help="trials side by side, each on its share of the cores "
        "(default 1; with --ray as many as the cluster holds)",
    )
    add("--threads", **count, help="threads a trial (default: cores / jobs; with --ray 1)")
    add("--timeout", type=float, metavar="MINUTES", help="stop a trial that takes longer")
    add("--retries", **count, default=0, help="times to retry a failed trial")
    where = "run on this Ray cluster: auto, HOST:PORT, ray://HOST:PORT"
    add("--ray", metavar="ADDRESS", help=where)
    add(
        "--gpus",
        type=float,
        metavar="X",
        help="GPUs a trial, with --ray (default: 1 if the "
        "cluster has any; 0.5 puts two trials on one)",
    )
    add(
        "--results",
        metavar="FILE",
        help="keep the rows of this sweep in this CSV file (default: "
        "results/results.csv, for files of your own results/own/results.csv)",
    )
    add("--campaign", action="store_true", help="go on with configs/campaign; see --campaign -h")
    add("--dry-run", action="store_true", help="print the plan and stop")
    add(
        "--tables",
        action="store_true",
        help="run nothing: rebuild results.csv, the papers' tables and docs/results.md from all "
        "runs on the data sets with names",
    )
    page = "run nothing: write results/report.html, all results on one page"
    add("--report", action="store_true", help=page)
    add(
        "--maps",
        metavar="NAME",
        help="run nothing: write results/maps-NAME.png, t-SNE of a data "
        "set's saved embeddings, as in DSCDAN's figure",
    )
    return p


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return (args, words for main.py) of a command line, on which JSON files may come first."""
    files = list(itertools.takewhile(lambda word: word.endswith(".json"), argv))
    args, rest = parser().parse_known_args(argv[len(files) :])
    if files:
        args.file = files + (args.file or [])
    return args, rest


def described(args: argparse.Namespace) -> list[tuple[argparse.Namespace, dict]]:
    """Return [(args, overrides)] of the sweeps that the command line or its files ask for."""
    if args.file is None:
        return [(args, {})]
    sweeps = []
    for path in args.file:
        authors = is_authors(path)
        for name in KEYS[:-1]:
            given = getattr(args, name) is not None
            if given and not (authors and name in ("trials", "seeds")):
                raise UserError(f"--file and --{name}: expected only one")
        sweeps += [read_authors(path, args)] if authors else read_sweep(path, args)
    return sweeps


def wanted(args: argparse.Namespace) -> list[tuple[str, str, dict]]:
    """Return the (method, data set, overrides) that the command line asks for."""
    for name in args.methods or ():
        if name not in METHODS:
            raise UserError(unknown("method", name, METHODS))
    for name in args.datasets or ():
        if name not in datasets.DATASETS and not os.path.exists(name):
            raise UserError(unknown("dataset", name, datasets.DATASETS))
    if args.table is None:
        methods, names = args.methods or DEFAULT_METHODS, args.datasets or DEFAULT_DATASETS
        return [(m, d, {}) for d in names for m in methods]

    def chosen(method, dataset):
        return dataset in (args.datasets or [dataset]) and method in (args.methods or [method])

    if args.table == ours.TABLE:
        return [(m, d, {}) for m, d in ours.PAIRS if chosen(m, d)]
    paper = published.read_paper()
    cells = paper[paper.table == args.table]
    if cells.empty:
        raise UserError(unknown("table", args.table, [*paper.table.unique(), ours.TABLE]))
    pairs = [
        (method, cell.dataset, published.settings_of(cell))
        for cell in cells.itertuples()
        if (method := published.runs_for(cell)) and cell.dataset in datasets.DATASETS
    ]
    if not pairs:
        raise UserError(f"table {args.table!r}: no data set of it is here that a method is for")
    return [p for i, p in enumerate(pairs) if chosen(*p[:2]) and p not in pairs[:i]]


def plan(args: argparse.Namespace, rest: list[str]) -> tuple[list[Trial], list[str]]:
    """Return (trials, complaints about data sets that cannot be had).

    Every trial's settings are checked here, before the first one starts; none is there twice. A
    setting holds for the methods that have it; one that no method of its sweep has is refused.
    """
    _check(args, rest)
    threads = args.threads
    if threads is None:
        threads = 1 if args.ray else max(1, len(os.sched_getaffinity(0)) // (args.jobs or 1))
    trials, complaints = {}, {}
    for one, overrides in described(args):
        if one.seeds is None and one.trials is not None and one.trials < 1:
            raise UserError(f"trials={one.trials}: expected an integer >= 1")
        seeds = one.seeds or range(_trials(one))
        if len(seeds) > options.MOST:
            raise UserError(f"trials={len(seeds)}: expected at most {options.MOST}")
        pairs = wanted(one)
        shared = shared_spec(rest, list(dict.fromkeys(m for m, _, _ in pairs)), overrides, threads)
        if isinstance(shared.n_clusters, tuple):
            k = options.k_text(shared.n_clusters)
            raise UserError(f"n_clusters={k}: a sweep needs one K; main.py chooses one")
        for name in dict.fromkeys(name for _, name, _ in pairs):
            kind = "dataset" if name in datasets.DATASETS else "data"
            here = replace(shared, **{kind: name})
            try:
                data = inputs.load_data(here)
            except UserError as error:
                complaints[str(error)] = None
                continue
            if data.note:
                logger.info(f"{data.name}: {data.note}")
            hashes = {}
            for seed in seeds:
                for method, _, extra in (pair for pair in pairs if pair[1] == name):
                    known = METHODS[method].settings.options()
                    own = {n: v for n, v in here.overrides.items() if n in known} | extra
                    spec = replace(here, method=method, seed=seed, overrides=own)
                    trial = trial_of(spec, data, hashes)
                    if not args.dry_run:
                        score_anew(trial.folder, data)
                    trials.setdefault(trial.folder, trial)
    if not trials and not complaints:
        raise UserError("no trials: the table has none of these methods on these data sets")
    return list(trials.values()), list(complaints)


def _trials(args):
    """Return how many seeds: as given, or as many as the table's paper averages, or 5."""
    if args.trials is not None:
        return args.trials
    return published.trials_of(args.table, published.read_paper()) if args.table else 5


def shared_spec(rest: list[str], methods: list[str], overrides: dict, threads: int) -> RunSpec:
    """Return what all trials of some methods share: words for main.py over a file's overrides."""
    overrides = dict(overrides)
    k = overrides.pop("n_clusters", None)
    options.refuse_others(overrides, methods)
    args = options.parse_shared(rest, methods)
    return RunSpec.of(
        args,
        threads=threads,
        overrides=overrides | args.overrides,
        n_clusters=k if args.n_clusters is None else args.n_clusters,
    )


def _check(args, rest):
    """Refuse options that no sweep can have."""
    for word in (word.partition("=")[0] for word in rest):
        if word in FOR_MAIN:
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


def trial_of(spec: RunSpec, data: datasets.Dataset, hashes: dict[tuple, str]) -> Trial:
    """Return the trial of a RunSpec on loaded data; `hashes` keeps those of its samples."""
    options.check(spec)
    config = options.resolve(spec, data)
    inputs.check_shapes(spec.method, config, data)
    weights, size, width = None, 0.0, data.n_clusters
    if config.pretrains:
        shape, width = data.x.shape[1:], config.latent_dim
        shape = image_shape(shape) if config.network != "fc" else shape
        size = 4e-6 * weight_count(config.network, shape, width)
        if spec.pretrained_weights is None:
            if shape not in hashes:
                hashes[shape] = hash_array(data.x.reshape(-1, *shape))
            key, _ = pretrain_key(config, shape, hashes[shape], spec.seed, data.n_clusters)
            weights = os.path.join(spec.cache_dir, key, "ae_weights.h5")
    elif config.deep:
        count = ladder_weight_count(config, math.prod(data.x.shape[1:]), data.n_clusters)
        size = 2e-6 * count  # of the two files that `megabytes` takes a run to keep, there is one
    arrays = 1e-6 * data.n * (8 + 4 * width)  # labels and embedding
    return Trial(
        name=f"{spec.method} {data.name} seed {spec.seed}",
        spec=spec,
        folder=options.folder_of(spec, data, config),
        weights=weights,
        record=identity(spec.method, data, spec.seed, config, spec.pretrained_weights),
        minutes=tuple(estimate(config, data, spec.threads)),
        megabytes=(2 * size + arrays, size),
    )


def left(trials: list[Trial], trained: set) -> tuple[float, float]:
    """Return the most (minutes on one core, megabytes) of trials; shared pretraining counts once.

    trained: the pretrained weights that are counted already; those of the trials are added.
    """
    minutes, megabytes = 0.0, 0.0
    for trial in trials:
        pretrains = trial.weights not in trained and trial.waits_for_weights()
        trained.add(trial.weights)
        minutes += trial.minutes[1] + pretrains * trial.minutes[0]
        megabytes += trial.megabytes[0] + pretrains * trial.megabytes[1]
    return minutes, megabytes


def show(trials: list[Trial], jobs: int) -> None:
    """Print the plan: what is done, what is left, and how long and how large that is at most."""
    todo = []
    for trial in trials:
        done = finished(trial.folder) is not None
        print(f"{'done' if done else 'to do':6} {trial.name:36} {trial.folder}")
        if not done:
            todo.append(trial)
    minutes, megabytes = left(todo, {None})
    kept = paths.RESULTS if os.path.exists(paths.RESULTS) else paths.ROOT
    free = shutil.disk_usage(kept).free / 1e6
    hours = minutes / jobs / 60
    print(
        f"{len(trials)} trials, {len(todo)} to do: at most {hours:.1f} hours of this machine, "
        f"{jobs} at a time; about {megabytes:.0f} MB of disk, {free:.0f} are free"
    )
