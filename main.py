"""Cluster a data set with one method: `python main.py --method ConvDEC-DA --dataset usps`."""

import early  # isort: split

import argparse
import contextlib
import dataclasses
import functools
import json
import math
import os
import shlex
import sys
import tempfile
import time

import datasets
from errors import DISK_STATUS, TrainingFailed, UserError, disk_line, unknown
from models import METHODS, preset
from models.config import OPTIMIZERS, Adam, digest
from models.cost import method_flops
from models.presets import CONFIGS
from shapes import image_shape

ROOT = os.path.dirname(os.path.abspath(__file__))
METHOD = "ASPC-DA"  # without --method


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


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
    add("--save-dir", metavar="DIR", help="the run's folder (default results/runs/...)")
    add("--cache-dir", metavar="DIR", default=os.path.join(ROOT, "results", "pretrained"),
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
    add("--n-init", type=int, metavar="N", help="restarts of k-means (or of GMM)")
    add("--alpha", type=float, help="weight of the reconstruction loss in clustering")
    add("--beta", type=float, help="weight of the clustering loss")
    for stage in ("pretrain", "cluster"):
        add(f"--aug-{stage}", action=argparse.BooleanOptionalAction, default=None,
            help=f"augment in the {stage} stage")  # fmt: skip
    add("--epochs", type=int, metavar="N", help="clustering passes over the data at most (ASPC)")
    add("--self-paced", action=argparse.BooleanOptionalAction, default=None,
        help="select samples by self-paced learning (ASPC)")  # fmt: skip
    add("--selection", help="losses that select samples: clean or augmented (ASPC)")
    add("--init", help="k-means, spectral, agglomerative or gmm (ASPC)")
    add("--shift", type=float, help="largest shift, fraction of the side")
    add("--shift-pixels", type=float, help="largest shift, pixels, in place of --shift")
    add("--rotation", type=float, help="largest rotation, degrees")
    add("--center", help="centre of rotation: original (as released) or true")
    add("--precision", help="of the layers: float32 (default) or bfloat16")
    add("--noise", type=float, help="share of the inputs set to 0 in pretraining (AE+k-means)")
    b = p.add_argument_group("settings of the baselines (default: see models/config.py)")
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
    config = preset(args.method, data.name, data.n)
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
    return dataclasses.replace(config, **changes)


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


@functools.cache
def product_speed():
    """Return the operations a second of a matrix product on this machine's CPU."""
    import numpy as np

    a = np.ones((768, 768), np.float32)
    a @ a
    begin = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * 768**3 / (time.perf_counter() - begin)


def estimate(config, data, threads):
    """Return the minutes of (pretraining, the longest possible clustering) on this machine's CPU.

    Counts of operations over the speed of a matrix product timed here and now; networks reach
    about 0.7 (fc), 0.55 (conv) and 0.5 (the others) of it, baselines 0.3.
    """
    share = min(1.0, (threads if config.deep else 1) / os.cpu_count())
    network = getattr(config, "network", None)
    speed = (
        product_speed()
        * share
        * {"fc": 0.7, "conv": 0.55}.get(network, 0.5 if config.deep else 0.3)
    )
    shape = data.x.shape[1:]
    shape = image_shape(shape) if network == "conv" else shape
    flops = method_flops(config, data.n, math.prod(shape), data.n_clusters, shape)
    return [one / speed / 60 for one in flops]


@contextlib.contextmanager
def quiet_stderr():
    """Keep what native libraries write to stderr off the screen; show it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            file.seek(0)
            sys.stderr.write(file.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def set_up(threads, device, parallel=False):
    """Prepare TensorFlow: threads, device, repeatable operations. Return what was found.

    parallel: the threads work side by side on graphs of their own, not together on one.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with early.importing(), quiet_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(1 if parallel else threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads if parallel else 1)
        tf.config.experimental.enable_op_determinism()
        tf.zeros(())  # starts the device: its messages come here
    if device == "gpu" and not gpus:
        raise UserError("device 'gpu': TensorFlow sees none on this machine; expected cpu")
    if gpus and device != "cpu":
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    else:
        name = cpu_name()
    return {"device": name, "threads": threads}


def environment_of(config, args):
    """Prepare what the method runs on, and return the device's name and the number of threads.

    A baseline needs no TensorFlow, and one thread, with which its sums are always the same.
    """
    if config.deep:
        return set_up(args.threads, args.device, config.parallel)
    if args.device == "gpu":
        raise UserError(f"device 'gpu': {args.method} runs on the CPU; expected cpu")
    return {"device": cpu_name(), "threads": 1}


def cpu_name():
    """Return the processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return "CPU"


def ask_model(args):
    """Take the method from the file of the model that is to be scored; it has its own K as well."""
    from models.storage import load_arrays

    if args.weights is None:
        raise UserError("-t without --weights: expected --weights FILE (a model_final.h5)")
    _, about = load_arrays(args.weights)
    method = about.get("method") if about.get("kind") == "model" else None
    if method is not None and args.method not in (None, method):
        raise UserError(f"{args.weights!r} holds a {method} model: expected {args.method}")
    args.method = args.method or method
    if args.n_clusters is None:
        args.n_clusters = 2  # of the data set, that it can be read without labels; of no other use


def test(args, data):
    """Score a saved model on a data set, and print the scores."""
    import numpy as np

    import metrics
    from models import load

    model = load(args.weights)
    labels = model.predict(data.x)
    print(f"{args.method} on {data.name}: n={data.n}, {model.n_clusters} clusters")
    if data.y is not None:
        print_scores(metrics.scores(data.y, labels))
    sizes = map(str, np.bincount(labels, minlength=model.n_clusters))
    print("samples a cluster: " + " ".join(sizes))


def print_scores(row, prefix="", label="scores"):
    """Print the scores in a result on one line."""
    names = ("acc", "nmi", "nmi_geometric", "ari")
    parts = [f"{name} {row[prefix + name]:.4f}" for name in names if prefix + name in row]
    if parts:
        print(f"{label}: " + "  ".join(parts))


def folder_of(args, data, config):
    """Return the run's folder: --save-dir, or one named after what the run is."""
    if args.save_dir is not None:
        return args.save_dir
    key = digest(
        [config.to_dict(), data.sha256, int(data.n_clusters), args.pretrained_weights], length=8
    )
    name = f"{args.method}-{data.name}-s{args.seed}-{key}"
    return os.path.join(ROOT, "results", "runs", name)


def check(args):
    """Refuse values that no run can have."""
    if args.method not in (None, *METHODS):
        raise UserError(unknown("method", args.method, METHODS))
    if not 0 <= args.seed < 2**31:
        raise UserError(f"seed={args.seed}: expected an integer from 0 to 2147483647")
    if args.threads < 1:
        raise UserError(f"threads={args.threads}: expected an integer >= 1")
    if not args.checkpoint_seconds >= 0:
        raise UserError(f"checkpoint_seconds={args.checkpoint_seconds}: expected a number >= 0")


def run(args):
    """Do what the command line asks for."""
    check(args)
    if args.test:
        ask_model(args)
    args.method = args.method or METHOD
    data = load_data(args)
    config = resolve(args, data)
    check_shapes(config, data)
    if args.pretrained_weights is not None and not config.pretrains:
        raise UserError(f"--pretrained-weights: {args.method} has no auto-encoder to start from")
    folder = folder_of(args, data, config)
    if args.dry_run:
        pretrain, cluster = estimate(config, data, args.threads)
        told = {"method": args.method, "dataset": data.name, "n": data.n,
                "shape": list(data.x.shape[1:]), "n_clusters": int(data.n_clusters),
                "seed": args.seed, "save_dir": folder, "config": config.to_dict()}  # fmt: skip
        print(json.dumps(told, indent=1))
        print(f"about {pretrain:.1f} min of pretraining, at most {cluster:.1f} min of clustering")
        return
    if args.test:
        environment_of(config, args)
        test(args, data)
        return
    import runs

    runs.make_folder(folder)
    runs.make_folder(args.cache_dir)
    environment = environment_of(config, args)
    if data.note:
        print(f"{data.name}: {data.note}", file=sys.stderr)
    if not args.quiet:
        what = f"{args.method} on {data.name} (n={data.n}, K={data.n_clusters}, seed {args.seed})"
        where = f"{environment['device']}, {environment['threads']} threads"
        print(f"{what}, {where} -> {folder}", file=sys.stderr)
    job = runs.Run(
        args.method, data, args.seed, config, folder, args.cache_dir, args.pretrained_weights,
        args.checkpoint_seconds, environment,
    )  # fmt: skip
    command = "python main.py " + shlex.join(sys.argv[1:])
    before = None if args.overwrite else runs.finished(folder)
    result = runs.execute(job, not args.quiet, args.overwrite, command)
    if before is not None:
        print(f"already done on {result.get('finished', 'a day unknown')}; --overwrite starts over")
    print_scores(result, "kmeans_", "k-means on the auto-encoder")
    print_scores(result)
    steps = "clustering steps" if config.pretrains else "iterations"
    print(f"{result['iterations']} {steps}, {result['seconds_total']:.0f} s in all; "
          f"labels, weights, log and figure (clusters.png) in {folder}")  # fmt: skip


def main():
    """Run the command line; a user's mistake is one line and exit status 2."""
    early.over()
    args = parser().parse_args()
    try:
        run(args)
    except UserError as error:
        print(f"main.py: error: {error}", file=sys.stderr)
        return error.status
    except TrainingFailed as error:
        print(f"main.py: training failed: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        if (line := disk_line(error)) is None:
            raise
        print(f"main.py: error: {line}", file=sys.stderr)
        return DISK_STATUS
    except KeyboardInterrupt:
        print("main.py: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
