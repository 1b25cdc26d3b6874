"""Cluster a data set with one method: `python main.py --method ConvDEC-DA --dataset usps`."""

from common import early  # isort: split

import argparse
import dataclasses
import json
import shlex
import sys

from common import device, logs
from common.checkout import commit_at_start
from common.errors import BAD_RESULT_STATUS, UserError, status_of
from common.logs import logger
from experiments.estimate import estimate
from experiments.inputs import check_shapes, default_method, load_data
from experiments.options import check, check_trials, folder_of, k_text, parse, resolve
from models import preset


def test(args: argparse.Namespace, path: str, like: dict) -> None:
    """Score a saved model on a data set, and print the scores."""
    import numpy as np

    import metrics
    from experiments.predict import new_samples
    from models import load

    data = new_samples(args, like)
    model = load(path)
    labels = model.predict(data.x)
    print(f"{args.method} on {data.name}: n={data.n}, {model.n_clusters} clusters")
    if data.y is not None:
        print_scores(metrics.scores(data.y, labels))
    sizes = map(str, np.bincount(labels, minlength=model.n_clusters))
    print("samples a cluster: " + " ".join(sizes))


def use(args: argparse.Namespace) -> int:
    """Score a saved model, or label new samples by it."""
    from experiments import predict

    if args.dry_run:
        raise UserError("--dry-run tells the plan of a run: expected it without -t and --predict")
    if args.predict is not None:
        predict.name_samples(args)
    model = predict.open_model(args)
    device.environment_of(preset(args.method), args)
    test(args, *model) if args.test else predict.predict(args, *model)
    return 0


def print_scores(row: dict, prefix: str = "", label: str = "scores") -> None:
    """Print the scores in a result on one line."""
    names = ("acc", "nmi", "nmi_geometric", "ari")
    parts = [f"{name} {row[prefix + name]:.4f}" for name in names if prefix + name in row]
    if parts:
        print(f"{label}: " + "  ".join(parts))


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    logs.to_stderr(args.quiet)
    check(args)
    check_trials(args)
    if args.test or args.predict is not None:
        return use(args)
    data = load_data(args)
    if data.note:
        print(f"{data.name}: {data.note}", file=sys.stderr)
    args.method = args.method or default_method(data)
    config = resolve(args, data)
    check_shapes(args.method, config, data)
    if args.pretrained_weights is not None and not config.pretrains:
        raise UserError(f"--pretrained-weights: {args.method} has no auto-encoder to start from")
    choice = None
    if isinstance(args.n_clusters, tuple) and not args.dry_run:
        from experiments import n_clusters, runs

        runs.make_folder(args.cache_dir)
        device.environment_of(config, args)
        choice = n_clusters.settle(args, data, config)
        args.n_clusters = choice.k
        data = dataclasses.replace(data, n_clusters=choice.k)
    if config.finds_k and args.n_clusters is not None:
        found = "finds the number of clusters"
        k = k_text(args.n_clusters)
        logger.warning(f"--n-clusters {k} has no effect: {args.method} {found}")
    folder = folder_of(args, data, config)
    if args.dry_run:
        pretrain, cluster = estimate(config, data, args.threads)
        plan = {"method": args.method, "dataset": data.name, "n": data.n}
        plan |= {"shape": list(data.x.shape[1:]), "n_clusters": int(data.n_clusters)}
        plan |= {"seed": args.seed, "save_dir": folder, "config": config.to_dict()}
        if isinstance(args.n_clusters, tuple):  # one of them is to be chosen, and the folder by it
            plan |= {"n_clusters": k_text(args.n_clusters), "save_dir": args.save_dir}
        print(json.dumps(plan, indent=1))
        print(f"about {pretrain:.1f} min of pretraining, at most {cluster:.1f} min of clustering")
        return 0
    from experiments import health, run_files, runs

    if args.trials is not None and args.trials > 1:
        from experiments import trials

        return alarm(args, trials.run(args, data, choice))
    runs.make_folder(folder)
    runs.make_folder(args.cache_dir)
    environment = device.environment_of(config, args)
    if (line := device.slow_precision(config, environment)) is not None:
        logger.warning(line)
    k = "found" if config.finds_k else data.n_clusters
    what = f"{args.method} on {data.name} (n={data.n}, K={k}, seed {args.seed})"
    where = f"{environment['device']}, {environment['threads']} threads"
    logger.info(f"{what}, {where} -> {folder}")
    more = {name: getattr(args, name) for name in runs.SHARED} | {"environment": environment}
    job = runs.Run(args.method, data, args.seed, config, folder, **more)
    words = sys.argv[1:]
    if not any(word.split("=")[0] == "--method" for word in words):
        words = ["--method", args.method, *words]  # the default may be another one day
    command = "python main.py " + shlex.join(words)
    before = None if args.overwrite else run_files.finished(folder)
    result = runs.execute(job, not args.quiet, args.overwrite, command)
    run_files.check_result(folder, result)
    if before is not None:
        print(f"already done on {before.get('finished', 'a day unknown')}; --overwrite starts over")
    if choice is not None:
        n_clusters.keep(choice, folder)
    print_scores(result, "kmeans_", f"{getattr(config, 'init', '')} on the auto-encoder")
    print_scores(result)
    for line in health.lines(result):
        print(line)
    steps = "clustering steps" if config.pretrains else "iterations"
    print(
        f"{result['iterations']} {steps}, {result['seconds_total']:.0f} s in all; "
        f"labels, weights, log and figure (clusters.png) in {folder}"
    )
    return alarm(args, result)


def alarm(args: argparse.Namespace, result: dict) -> int:
    """Warn of an empty cluster or a collapse, also if --quiet; return the exit status."""
    from experiments import health

    if not health.alarming(result):
        return 0
    logger.warning(f"{result['verdict']} result: {result['reasons']}")
    return BAD_RESULT_STATUS if args.strict else 0


def main() -> int:
    """Run the command line; a user's mistake is one line and exit status 2."""
    early.over()
    commit_at_start()
    return status_of("main.py", lambda: run(parse(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
