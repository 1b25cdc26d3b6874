"""The command line of a run: its options, and the settings and data that they stand for."""

import argparse
import dataclasses
import os

import datasets
from common import paths
from common.errors import UserError, unknown
from common.shapes import image_shape
from models import METHODS, preset
from models.settings.base import OPTIMIZERS, Adam, digest
from models.settings.presets import CONFIGS, refuse_without_effect

METHOD = "ASPC-DA"  # without --method


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


def restarts(text):
    """Return the value of --n-init: a number or "auto"."""
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an integer or auto") from None


def parser():
    """Return the command line's parser."""
    p = Parser(
        description=__doc__,
        allow_abbrev=False,
        epilog="Without arguments: ASPC-DA on the digits that come with scikit-learn.",
    )
    add = p.add_argument
    add("--method", metavar="NAME",
        help=f"one of {', '.join(METHODS)} (default {METHOD}; with -t, the model's)")  # fmt: skip
    add("--dataset", default=None, metavar="NAME",
        help=f"one of {', '.join(datasets.DATASETS)} (default digits)")  # fmt: skip
    add("--data", metavar="FILE", help="your own .npz, .npy, .csv, .h5 or folder of images")
    add("--n-clusters", type=int, metavar="K", help="default: the number of distinct labels")
    add("--data-dir", metavar="DIR", help="where data files lie; see data/README.md")
    add("--seed", type=int, default=0, help="decides every random number (default 0)")
    add("--trials", type=int, metavar="N",
        help="train N seeds; choose one without labels, find their consensus")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="trials side by side (default 1)")
    add("--save-dir", metavar="DIR", help="the run's folder (default results/runs/...)")
    add("--cache-dir", metavar="DIR", default=os.path.join(paths.RESULTS, "pretrained"),
        help="where pretrained auto-encoders are shared (default results/pretrained)")  # fmt: skip
    add("--pretrained-weights", metavar="FILE", help="start from this ae_weights.h5")
    add("-t", "--test", action="store_true", help="do not train: score the model of --weights")
    add("--weights", metavar="FILE", help="a model_final.h5, for -t")
    add("--overwrite", action="store_true", help="start over in a folder that holds a run")
    add("--dry-run", action="store_true", help="print the settings and a time estimate, and stop")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N",
        help="CPU threads (default: all)")  # fmt: skip
    add("--device", choices=("cpu", "gpu"), help="default: a GPU if TensorFlow sees one")
    add("--checkpoint-seconds", type=float, default=60.0, metavar="S", help="(default 60)")
    add("--quiet", action="store_true", help="no progress")
    add("--strict", action="store_true",
        help="exit status 4 if a cluster is empty or the result has collapsed")  # fmt: skip
    s = p.add_argument_group("settings (default: the paper's, for the method and data set)")
    add = s.add_argument
    add("--optimizer", metavar="NAME", help="sgd or adam, in clustering")
    add("--lr", type=float, help="learning rate in clustering")
    add("--momentum", type=float, help="momentum in clustering (sgd)")
    add("--pretrain-optimizer", metavar="NAME", help="sgd or adam, in pretraining")
    add("--pretrain-lr", type=float, help="learning rate in pretraining")
    add("--pretrain-momentum", type=float, help="momentum in pretraining (sgd)")
    add("--pretrain-epochs", type=int, metavar="N", help="passes over the data")
    add("--maxiter", type=int, metavar="N", help="clustering steps at most")
    add("--update-interval", type=int, metavar="N", help="steps between target refreshes")
    add("--tol", type=float, help="stop below this share of changed labels (0.001 = 0.1 %%)")
    add("--batch-size", type=int, metavar="N")
    add("--latent-dim", type=int, metavar="N")
    add("--n-init", type=restarts, metavar="N", help="restarts of k-means (or of GMM); auto: until "
        "the lowest inertia has come up several times")  # fmt: skip
    add("--alpha", type=float, help="weight of the reconstruction loss in clustering")
    add("--beta", type=float, help="weight of the clustering loss")
    for stage in ("pretrain", "cluster"):
        add(f"--aug-{stage}", action=argparse.BooleanOptionalAction, default=None,
            help=f"augment in the {stage} stage")  # fmt: skip
    add("--epochs", type=int, metavar="N", help="clustering passes over the data at most (ASPC)")
    add("--self-paced", action=argparse.BooleanOptionalAction, default=None,
        help="select samples by self-paced learning (ASPC)")  # fmt: skip
    add("--selection", help="losses that select samples: clean or augmented (ASPC)")
    add("--init", help="start of clustering: k-means, gmm, spectral, agglomerative or umap")
    add("--shift", type=float, help="largest shift, fraction of the side")
    add("--shift-pixels", type=float, help="largest shift, pixels, in place of --shift")
    add("--rotation", type=float, help="largest rotation, degrees")
    add("--center", help="centre of rotation: original (as released) or true")
    add("--precision", help="of the layers: float32 (default) or bfloat16")
    add("--noise", type=float, help="share of the inputs set to 0 in pretraining (AE+k-means)")
    b = p.add_argument_group("settings of the baselines (default: see models/settings/base.py)")
    add = b.add_argument
    add("--n-neighbors", type=int, metavar="N", help="neighbours (SC-Ncut, AC-GDL, UMAP+HDBSCAN), "
        "nearest landmarks (SC-LS)")  # fmt: skip
    add("--landmarks", type=int, metavar="N", help="landmarks (SC-LS)")
    add("--sigma", type=float, help="width of the kernel (SC-LS)")
    add("--scale", type=float, help="width of the kernel, a of the paper (AC-GDL)")
    add("--covariance", help="full or diag (GMM)")
    add("--reg-covar", type=float, help="added to the variances (GMM)")
    add("--components", type=int, metavar="N", help="dimensions of the map (UMAP+HDBSCAN)")
    add("--min-dist", type=float, help="smallest distance in the map (UMAP+HDBSCAN)")
    add("--min-samples", type=int, metavar="N", help="neighbours of a dense point (UMAP+HDBSCAN)")
    add("--min-share", type=float, help="smallest cluster, share of the samples (UMAP+HDBSCAN)")
    for title, fields in OWN.items():
        group = p.add_argument_group(f"settings of {title}")
        for f in fields:
            flag = "--" + f.name.replace("_", "-")
            form = {"type": f.metadata["kind"], "metavar": f.metadata["kind"].__name__.upper()}
            if isinstance(f.default, bool):
                form = {"action": argparse.BooleanOptionalAction, "default": None}
            elif isinstance(f.default, tuple):
                form["nargs"] = "+"
            group.add_argument(flag, help=f.metadata["help"], **form)
    return p


def _own():
    """Return {methods: fields of their settings that declare a flag}, each flag once."""
    methods, own, seen = {}, {}, set()
    for name, config in CONFIGS.items():
        methods.setdefault(type(config), []).append(name)
    for kind, names in methods.items():
        flags = [f for f in dataclasses.fields(kind) if "help" in f.metadata]
        fields = [f for f in flags if f.name not in seen]
        if fields:
            own[", ".join(names)] = fields
            seen |= {f.name for f in fields}
    return own


OWN = _own()
PLAIN = (
    "pretrain_epochs", "maxiter", "update_interval", "tol", "batch_size", "latent_dim", "n_init",
    "alpha", "beta", "epochs", "self_paced", "selection", "init", "aug_pretrain", "aug_cluster",
    "shift", "shift_pixels", "rotation", "center", "precision", "noise", "n_neighbors", "landmarks",
    "sigma", "scale", "covariance", "reg_covar", "components", "min_dist", "min_samples",
    "min_share", *(f.name for fields in OWN.values() for f in fields),
)  # fmt: skip


def _optimizer(args, config, prefix):
    """Return the preset's optimizer with what the command line changes in it."""
    mine = getattr(config, f"{prefix}optimizer")
    name = getattr(args, f"{prefix}optimizer")
    if name is not None and name not in OPTIMIZERS:
        raise UserError(unknown(f"{prefix}optimizer", name, OPTIMIZERS))
    if name is not None and name != mine.name:
        mine = OPTIMIZERS[name]()
    changes = {"lr": getattr(args, f"{prefix}lr"), "momentum": getattr(args, f"{prefix}momentum")}
    changes = {key: value for key, value in changes.items() if value is not None}
    if "momentum" in changes and isinstance(mine, Adam):
        raise UserError(f"{prefix}momentum={changes['momentum']}: adam has none; expected sgd")
    return dataclasses.replace(mine, **changes)


def resolve(args, data):
    """Return the settings: the preset of (method, data set) and what the command line changes."""
    config = preset(args.method, data.preset_name, data.n)
    changes = {name: getattr(args, name) for name in PLAIN if getattr(args, name) is not None}
    known = [f.name for f in dataclasses.fields(config)]
    for prefix in ("", "pretrain_"):
        given = [f"{prefix}{n}" for n in ("optimizer", "lr", "momentum")
                 if getattr(args, f"{prefix}{n}") is not None]  # fmt: skip
        if f"{prefix}optimizer" in known:
            changes[f"{prefix}optimizer"] = _optimizer(args, config, prefix)
        else:
            changes |= dict.fromkeys(given)
    for name in changes:
        if name not in known:
            flag = "--" + name.replace("_", "-")
            raise UserError(
                f"{flag} is not a setting of {args.method}; its settings: "
                f"{', '.join(known) or 'none'}"
            )
    config = dataclasses.replace(config, **changes)
    refuse_without_effect(args.method, config, changes)
    return config


def load_data(args):
    """Return the data set that the command line names, and check K."""
    if args.data is not None:
        if args.dataset is not None:
            raise UserError(f"--dataset {args.dataset} and --data {args.data}: expected only one")
        return datasets.load_file(args.data, args.n_clusters)
    data = datasets.load(args.dataset or "digits", args.data_dir)
    if args.n_clusters is None:
        return data
    if not 2 <= args.n_clusters <= data.n:
        raise UserError(f"n_clusters={args.n_clusters}: expected 2 to n={data.n}")
    return dataclasses.replace(data, n_clusters=args.n_clusters)


def check_shapes(config, data):
    """Refuse, before anything is trained, data that the method cannot take."""
    if config.needs_images:
        image_shape(data.x.shape[1:])


def folder_of(args, data, config):
    """Return the run's folder: --save-dir, or one named after what the run is."""
    if args.save_dir is not None:
        return args.save_dir
    problem = [data.sha256, int(data.n_clusters)]
    if data.source == "file" and data.name in datasets.DATASETS:
        problem.append(data.source)
    key = digest([config.identity_dict(), *problem, args.pretrained_weights], length=8)
    name = f"{args.method}-{data.name}-s{args.seed}-{key}"
    return os.path.join(paths.RESULTS, "runs", name)


def check(args):
    """Refuse values that no run can have."""
    if args.method not in (None, *METHODS):
        raise UserError(unknown("method", args.method, METHODS))
    if not 0 <= args.seed < 2**31:
        raise UserError(f"seed={args.seed}: expected an integer from 0 to 2147483647")
    if args.threads < 1:
        raise UserError(f"threads={args.threads}: expected an integer >= 1")
    for name in ("trials", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: expected an integer >= 1")
    if args.jobs is not None and args.trials is None:
        raise UserError(f"--jobs {args.jobs} without --trials N: there is one run")
    if args.trials is not None and args.test:
        raise UserError(f"--trials {args.trials} and -t: expected only one")
    if not args.checkpoint_seconds >= 0:
        raise UserError(f"checkpoint_seconds={args.checkpoint_seconds}: expected a number >= 0")
