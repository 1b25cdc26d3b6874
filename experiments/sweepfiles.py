"""JSON files that describe sweeps: this project's, and those of Kingdra's authors."""

import argparse
import itertools
import json
import os

import datasets
from common.errors import UserError, unknown
from experiments import options
from models import METHODS, preset
from models.settings.kingdra import KEYS as KINGDRA_KEYS
from models.settings.kingdra import OTHER_KEYS, translate

SETTINGS = (*options.option_names(), "n_clusters")
KEYS = ("methods", "datasets", "seeds", "trials", "table", "settings")  # of a sweep's file


def read_object(path: str | os.PathLike) -> dict:
    """Return the JSON object in a file; UserError if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise UserError(f"cannot read {path!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path!r} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path!r}: expected a JSON object with {', '.join(KEYS)}")
    return found


def read_sweep(
    path: str | os.PathLike, args: argparse.Namespace
) -> list[tuple[argparse.Namespace, dict]]:
    """Return the [(args, overrides)] of the sweeps described in a JSON file.

    One for each table, where "table" is a list, and for each combination of the settings that
    are lists. A setting that is itself a list of numbers, as widths, takes a list of lists for
    several. "settings" may be a list of such objects, each a grid of its own. UserError if the
    file is no JSON object of KEYS, or a value is not of the form in docs/running.md.
    """
    sweep = read_object(path)
    names, integers, objects = map(_is_list_of, (str, int, dict))
    forms = {
        "methods": ("a list of names", names),
        "seeds": ("a list of integers", integers),
        "datasets": ("a list of names", names),
        "trials": ("an integer", lambda v: type(v) is int),
        "table": ("a table's id or a list of them", lambda v: isinstance(v, str) or names(v)),
        "settings": ("an object or a list of them", lambda v: isinstance(v, dict) or objects(v)),
    }
    for key, value in sweep.items():
        if key not in KEYS:
            raise UserError(f"{path!r}: {unknown('key', key, KEYS)}")
        form, fits = forms[key]
        if not fits(value):
            raise UserError(f"{path!r}: {key}={value!r}: expected {form}")
    if "seeds" in sweep and "trials" in sweep:
        raise UserError(f"{path!r}: seeds and trials: expected only one")
    chosen = {key: sweep.get(key) for key in KEYS[:-1]}
    tables = chosen["table"] if isinstance(chosen["table"], list) else [chosen["table"]]
    grids = sweep.get("settings", {})
    return [
        (argparse.Namespace(**vars(args) | chosen | {"table": table}), overrides)
        for table in tables
        for grid in (grids if isinstance(grids, list) else [grids])
        for overrides in _combinations(path, grid)
    ]


def _combinations(path, grid):
    """Return each combination of settings, {name: value}, of which some are lists."""
    choices = [_choices(path, name, value) for name, value in grid.items()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*choices)]


def _is_list_of(kind):
    return lambda value: isinstance(value, list) and value and all(type(v) is kind for v in value)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _choices(path, name, value):
    """Return the values that a sweep's file gives a setting, one for each sweep."""
    if isinstance(value, list) and value and not (_is_tuple(name) and _is_number(value[0])):
        return [_checked(path, name, one) for one in value]
    return [_checked(path, name, value)]


def _is_tuple(name):
    """Whether a setting is itself a list of numbers, e.g. widths."""
    every = (row.settings.options() for row in METHODS.values())
    return any(name in options and options[name].several for options in every)


def _checked(path, name, value):
    """Return the value of a setting; UserError if it is of no form that a setting has."""
    if name not in SETTINGS:
        raise UserError(f"{path!r}: {unknown('setting', name, SETTINGS)}")
    if name == "n_clusters" and type(value) is not int:
        raise UserError(f"{path!r}: {name}={value!r}: expected an integer")
    if _is_tuple(name) and isinstance(value, list) and value and all(map(_is_number, value)):
        return value
    if not isinstance(value, (int, float, str)):
        form = "numbers, or lists of them" if _is_tuple(name) else "a number, a name, true or false"
        raise UserError(f"{path!r}: {name}={value!r}: expected {form}")
    return value


PLACES = ("dataset", "training_path", "ground_truth_path")  # of the data, in the authors' files
AUTHORS_KEYS = [*PLACES, *KINGDRA_KEYS, *OTHER_KEYS]


def read_authors(
    path: str | os.PathLike, args: argparse.Namespace
) -> tuple[argparse.Namespace, dict]:
    """Return (args, overrides) of a run described by a file of Kingdra's authors.

    Its keys are the keywords of `models.kingdra.KingdraCluster`, and either training_path and
    ground_truth_path, train_X.npy and train_Y.npy of one folder, or, not in the authors' files,
    dataset, a name. The method is KINGDRA-LADDER-IM, the seed 0 unless given. UserError if a key
    is unknown or a value does not fit.
    """
    arguments = read_object(path)
    for key in arguments:
        if key not in AUTHORS_KEYS:
            raise UserError(f"{path!r}: {unknown('key', key, AUTHORS_KEYS)}")
    place = _place(path, arguments)
    arguments = {key: value for key, value in arguments.items() if key not in PLACES}
    try:
        config, k = translate(arguments)
    except UserError as error:
        raise UserError(f"{path!r}: {error}") from error
    method = "KINGDRA-LADDER-IM"
    base = preset(method, place if place in datasets.DATASETS else None).to_dict()
    overrides = {"n_clusters": k} if "n_class" in arguments else {}
    scaled = ("high", "low") if config.members != base["members"] else ()  # unless they are given
    for name, value in config.to_dict().items():
        if value == base[name] and name not in scaled:
            continue
        if name == "optimizer":
            overrides |= {"optimizer": value["name"], "lr": value["lr"]}
        elif name == "mi_weight_later" and value is None:  # as in the first round
            overrides[name] = config.mi_weight
        else:
            overrides[name] = value
    chosen = {"methods": [method], "datasets": [place], "table": None, "trials": args.trials}
    chosen["seeds"] = args.seeds or (None if args.trials else [0])
    return argparse.Namespace(**vars(args) | chosen), overrides


def _place(path, arguments):
    """Return the data set's name, or the folder that holds it."""
    files = [arguments.get(key) for key in PLACES[1:]]
    if "dataset" in arguments:
        if files != [None, None] or not isinstance(arguments["dataset"], str):
            raise UserError(f"{path!r}: dataset={arguments['dataset']!r}: expected a name, alone")
        return arguments["dataset"]
    names = [os.path.basename(str(file)) for file in files]
    folders = {os.path.dirname(str(file)) for file in files}
    if names != ["train_X.npy", "train_Y.npy"] or len(folders) > 1:
        raise UserError(
            f"{path!r}: training_path={files[0]!r}, ground_truth_path={files[1]!r}: expected "
            "train_X.npy and train_Y.npy in one folder, or dataset, a name"
        )
    folder = folders.pop() or "."
    if not os.path.isdir(folder):
        raise UserError(f"{path!r}: training_path={files[0]!r}: no such folder")
    return folder


def is_authors(path: str | os.PathLike) -> bool:
    """Whether a file is one of Kingdra's authors' rather than a sweep of this project's."""
    try:
        keys = set(read_object(path))
    except UserError:
        return False  # who reads it as a sweep says what is wrong
    return not keys.isdisjoint(AUTHORS_KEYS) and keys.isdisjoint(KEYS)
