"""The command line of a run: its options, and the settings and data that they stand for.

A command line is parsed in two steps: --method first, then the options that this method has.
"""

import argparse
import functools
import os
import sys
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

import datasets
from common import paths
from common.errors import UserError, unknown
from experiments import method_list
from experiments.spec import RunSpec, flag
from models import METHODS, preset
from models.settings.base import Settings, digest
from models.settings.fields import STAGES, Setting
from models.settings.presets import method_of, refuse_without_effect

METHOD = "SpectralSAT-DA"  # without --method
VECTOR_METHOD = "GMM-stable"  # the same for vectors
MOST = 10000  # seeds of one sweep
AUTO = (2, 20)  # the range of --n-clusters auto
# Options that decide a run, besides its method's settings: of no effect on a model that is there.
OF_RUNS = ("n_clusters", "seed", "save_dir", "pretrained_weights", "strict")
COUNT = {"type": int, "metavar": "N"}  # an option that is a number of things


def k_range(text: str) -> int | tuple[int, int]:
    """Return the value of --n-clusters: K, or (lowest, highest) of "2-15" or "auto"."""
    if text == "auto":
        return AUTO
    low, dash, high = text.partition("-")
    try:
        return (int(low), int(high)) if dash and low else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a whole number, a range such as 2-15, or auto"
        ) from None


def k_text(k: int | tuple[int, int] | None) -> str:
    """Return a value of --n-clusters as it is written: "3", or "2-15" of a range."""
    return "-".join(map(str, k)) if isinstance(k, tuple) else str(k)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, **others: Any):
        form = functools.partial(Formatter, max_help_position=28)
        super().__init__(allow_abbrev=False, formatter_class=form, **others)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with a line an option: --[no-]x for switches; description and epilog as they are."""

    def _format_action_invocation(self, action):
        if isinstance(action, argparse.BooleanOptionalAction):
            return f"--[no-]{action.option_strings[0][2:]}"
        return super()._format_action_invocation(action)


def parser(method: str | None = None, dataset: str | None = None) -> Parser:
    """Return main.py's parser for a method: the general options and the method's own.

    Without a method only the general options. `dataset` decides the defaults that are shown.
    """
    prog = os.path.basename(sys.argv[0])
    if method is None:
        chosen = "[--method NAME]"
        about = f"Cluster a data set with one method. Without arguments: {METHOD} on the digits\n"
        about += "that come with scikit-learn."
        more = method_list.by_paper(prog)
    else:
        chosen = f"--method {method}"
        about = f"The settings of {method}; `{prog} -h` shows the options of every method."
        more = method_list.differences(method)
    p = Parser(usage=f"{prog} {chosen} [options]", description=about, epilog=more)
    _add_general(p)
    if method is not None:
        for action in p._actions:
            action.help = argparse.SUPPRESS
        add_settings(p, preset(method, dataset).options().values())
    return p


def _add_general(p):
    add = p.add_argument
    add("--method", metavar="NAME", help=f"(default {METHOD}; of vectors {VECTOR_METHOD})")
    add("--dataset", metavar="NAME", help=f"{', '.join(datasets.DATASETS)} (default digits)")
    add("--data", metavar="FILE", help="your own table, arrays or folder of images")
    add(
        "--n-clusters",
        type=k_range,
        metavar="K",
        help="default: number of distinct labels; 2-15, auto: K is chosen",
    )
    add("--data-dir", metavar="DIR", help="where data files lie; see data/README.md")
    _add_reading(add)
    add("--seed", type=int, default=0, metavar="S", help="decides every random number (default 0)")
    add("--trials", **COUNT, help="train N seeds; choose one without labels, find their consensus")
    add("--jobs", **COUNT, help="trials side by side (default 1)")
    add("--save-dir", metavar="DIR", help="the run's folder (default results/runs/...)")
    add(
        "--cache-dir",
        metavar="DIR",
        default=os.path.join(paths.RESULTS, "pretrained"),
        help="pretrained auto-encoders (default results/pretrained)",
    )
    add("--pretrained-weights", metavar="FILE", help="start from this ae_weights.h5")
    add("-t", "--test", action="store_true", help="do not train: score the model of --weights")
    add("--predict", metavar="FILE", help="do not train: label these samples by --weights")
    add("--weights", metavar="FILE", help="a model_final.h5 or a run folder, for -t and --predict")
    add("--out", metavar="FILE", help="labels of --predict (default labels.csv; - prints them)")
    add("--overwrite", action="store_true", help="start over in a folder that holds a run")
    add("--dry-run", action="store_true", help="print the settings and a time estimate, and stop")
    cores = len(os.sched_getaffinity(0))
    add("--threads", **COUNT, default=cores, help="CPU threads (default: all)")
    add("--device", choices=("cpu", "gpu"), help="default: a GPU if TensorFlow sees one")
    add("--checkpoint-seconds", type=float, default=60.0, metavar="S", help="(default 60)")
    steps = "training steps in one call of TensorFlow (default 1); same result"
    add("--steps-per-execution", **COUNT, default=1, help=steps)
    add("--quiet", action="store_true", help="no progress")
    strict = "exit status 4 if a cluster is empty or the result has collapsed"
    add("--strict", action="store_true", help=strict)


def _add_reading(add):
    add("--label-column", metavar="NAME", help="column or array of --data with labels, or none")
    add("--ignore-columns", nargs="+", default=(), metavar="NAME", help="columns to leave out")
    add("--array", metavar="NAME", help="the array of --data that holds the samples")
    add(
        "--image-shape",
        nargs=3,
        type=int,
        metavar=("H", "W", "C"),
        help="rows of numbers are images of this shape",
    )
    add("--channels-first", action="store_true", help="colours before rows and columns")
    add("--image-size", nargs=2, type=int, metavar=("H", "W"), help="resize a folder's images")
    add("--standardize", action="store_true", help="columns of --data to mean 0 and variance 1")
    add(
        "--missing",
        choices=("error", "mean", "drop"),
        default="error",
        metavar="HOW",
        help="missing values: error (default), mean or drop",
    )


def add_settings(p: Parser, options: Iterable[Setting]) -> None:
    """Add the options of a method, in a group a stage; unless given they are not in the result."""
    options = list(options)
    for stage, title in STAGES.items():
        some = [o for o in options if o.stage == stage]
        one = {o.stage for o in options} == {stage}
        group = p.add_argument_group("settings" if one else f"settings of {title}")
        for o in some:
            form = {"type": _converter(o), "metavar": o.kind.__name__.upper()}
            if o.kind is bool:
                form = {"action": argparse.BooleanOptionalAction}
            elif o.several:
                form["nargs"] = "+"
            group.add_argument(
                o.flag,
                dest=o.name,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS if o.hidden else o.described.replace("%", "%%"),
                **form,
            )


def _converter(option):
    """Return the type of an option's value for argparse."""
    if option.word is None:
        return option.kind

    def convert(text):
        try:
            return text if text == option.word else option.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected an integer or {option.word}"
            ) from None

    return convert


def parse(argv: list[str]) -> argparse.Namespace:
    """Return main.py's arguments, the settings among them in `overrides`, a dict.

    `method` stays None unless it is given. UserError if there is no such method, or it has no such
    setting. Other mistakes, and -h, end the program.
    """
    first = Parser(add_help=False)
    for option in ("--method", "--dataset", "--data"):
        first.add_argument(option)
    first.add_argument("-h", "--help", action="store_true")
    given, _ = first.parse_known_args(argv)
    if given.help and given.method is None:
        parser().print_help()
        sys.exit(0)
    if given.method is None and given.data is not None:  # the file decides
        return parse_shared(argv, [METHOD, VECTOR_METHOD])
    method = given.method or METHOD
    method_of(method)  # or refuse
    p = parser(method, given.dataset)
    return _with_overrides(p, argv, [method])


def parse_shared(argv: list[str], methods: Collection[str]) -> argparse.Namespace:
    """Return main.py's arguments for runs of several methods, as `parse`.

    An option is accepted if one of the methods has it. UserError if none has.
    """
    options = {}
    for method in methods:
        for name, option in METHODS[method].settings.options().items():
            if name not in options or option.word is not None:
                options[name] = option
    p = parser()
    add_settings(p, options.values())
    return _with_overrides(p, argv, methods)


def _with_overrides(p, argv, methods):
    args, rest = p.parse_known_args(argv)
    names = [word.partition("=")[0].removeprefix("--") for word in rest if word.startswith("--")]
    refuse_others([n.removeprefix("no-").replace("-", "_") for n in names], methods)
    if rest:
        p.error(f"unrecognized arguments: {' '.join(rest)}")
    known = [name for name in option_names(methods) if name in args]
    args.overrides = {name: vars(args).pop(name) for name in known}
    return args


def option_names(methods: Iterable[str] = METHODS) -> list[str]:
    """Return the names of all options of some methods, by default of all."""
    names = (name for method in methods for name in METHODS[method].settings.options())
    return list(dict.fromkeys(names))


def refuse_others(names: Iterable[str], methods: Collection[str]) -> None:
    """Raise UserError for the first of the names that is a setting, but of none of the methods."""
    own = option_names(methods)
    for name in names:
        if name not in own and name in option_names():
            raise UserError(
                f"{flag(name)} is not a setting of {', '.join(methods)}; "
                f"{'its' if len(methods) == 1 else 'their'} settings: {', '.join(own) or 'none'}"
            )


def resolve(spec: RunSpec | argparse.Namespace, data: datasets.Dataset) -> Settings:
    """Return the settings of a run: the published ones of (method, data set) and the overrides."""
    refuse_others(spec.overrides, [spec.method])
    config = preset(spec.method, data.preset_name, data.n, data.own_vectors).changed(spec.overrides)
    refuse_without_effect(spec.method, config, spec.overrides)
    return config


def folder_of(args: RunSpec | argparse.Namespace, data: datasets.Dataset, config: Settings) -> str:
    """Return the run's folder: --save-dir, or one named after what the run is."""
    if args.save_dir is not None:
        return args.save_dir
    problem = [data.sha256, int(data.n_clusters)]
    if data.source == "file" and data.name in datasets.DATASETS:
        problem.append(data.source)
    key = digest([config.identity_dict(), *problem, args.pretrained_weights], length=8)
    name = f"{args.method}-{data.name}-s{args.seed}-{key}"
    return os.path.join(paths.RESULTS, "runs", name)


def check(spec: RunSpec | argparse.Namespace) -> None:
    """Refuse values that no run can have."""
    for name, value in vars(spec).items():
        if value == "":
            raise UserError(f"{flag(name)} '': expected a name that is not empty")
    if spec.data is not None and spec.dataset is not None:
        raise UserError(f"--dataset {spec.dataset} and --data {spec.data}: expected only one")
    if spec.method not in (None, *METHODS):
        raise UserError(unknown("method", spec.method, METHODS))
    if not 0 <= spec.seed < 2**31:
        raise UserError(f"seed={spec.seed}: expected an integer from 0 to 2147483647")
    if spec.threads is not None and spec.threads < 1:
        raise UserError(f"threads={spec.threads}: expected an integer >= 1")
    if spec.steps_per_execution < 1:
        raise UserError(f"steps_per_execution={spec.steps_per_execution}: expected an integer >= 1")
    if not spec.checkpoint_seconds >= 0:
        raise UserError(f"checkpoint_seconds={spec.checkpoint_seconds}: expected a number >= 0")


def check_trials(args: argparse.Namespace) -> None:
    """Refuse what does not go together on main.py's command line."""
    for name in ("trials", "jobs"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= MOST:
            raise UserError(f"{name}={value}: expected an integer from 1 to {MOST}")
    if isinstance(args.n_clusters, tuple):
        low, high = args.n_clusters
        if not 2 <= low < high:
            k = k_text(args.n_clusters)
            raise UserError(f"n_clusters={k}: expected LOW-HIGH, LOW >= 2, such as 2-15")
    if args.jobs is not None and args.trials is None:
        raise UserError(f"--jobs {args.jobs} without --trials N: there is one run")
    if args.out is not None and args.predict is None:
        raise UserError(f"--out {args.out} without --predict FILE: a run writes to --save-dir")
    if args.test or args.predict is not None:
        _check_use(args)
    elif args.weights is not None:
        raise UserError(f"--weights {args.weights} without -t or --predict FILE")


def _check_use(args):
    """Refuse what does not go together with -t and --predict: the model is there already."""
    use = "-t" if args.test else "--predict"
    if args.trials is not None:
        raise UserError(f"--trials {args.trials} and {use}: expected only one")
    if args.predict is not None:
        for name, value in (("-t", args.test), ("--data", args.data), ("--dataset", args.dataset)):
            if value:
                raise UserError(f"--predict {args.predict} and {name}: expected only one")
    given = [name for name in OF_RUNS if getattr(args, name) != RunSpec.default(name)]
    for name in (*given, *args.overrides):
        raise UserError(f"{flag(name)} and {use}: expected only one, as nothing is trained")
