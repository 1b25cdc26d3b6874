"""Run many trials (methods x data sets x seeds), one process each, and keep the ledger.

Without arguments: DEC-DA's five augmented methods on its four data sets, five seeds. Settings of
main.py given here (--maxiter 150, --pretrain-epochs 1, ...) hold for every trial. A trial that is
done is not run again; one that was killed goes on where it stopped. JSON files may come first:
`python run_exp.py configs/kingdra/ladder_im_mnist.json`.
"""

from common import early  # isort: split

import argparse
import os
import sys

from common import logs, paths
from common.checkout import commit_at_start
from common.errors import UserError, status_of
from common.logs import logger
from experiments import campaign, distributed, figures, publish
from experiments.plan import parse, plan, show
from experiments.sweep import Cores, Sweep, Trial


def executor_of(args: argparse.Namespace, trials: list[Trial]) -> Cores | distributed.Cluster:
    """Return what runs the trials: this machine's cores or a cluster."""
    if args.ray is None:
        return Cores(args.jobs or 1, args.timeout)
    gpus = args.gpus
    if gpus is None and trials[0].spec.device == "cpu":
        gpus = 0
    limits = {"gpus": gpus, "jobs": args.jobs, "timeout": args.timeout}
    return distributed.Cluster(args.ray, paths.RESULTS, cpus=args.threads or 1, **limits)


def write_report() -> None:
    """Rebuild results.csv and write the report; print warnings."""
    from reporting import page

    publish.rebuild()
    path, warnings = page.write(paths.RESULTS)
    for warning in warnings:
        logger.warning(warning)
    print(f"{os.path.relpath(path)}: {os.path.getsize(path) / 1e6:.1f} MB")


def print_coverage(table_id: str | None) -> None:
    """Print how much of a published table there is; nothing of none."""
    if table_id is not None:
        print("\n".join(publish.about_table(table_id)))


def draw(args: argparse.Namespace, rest: list[str]) -> bool:
    """Draw a figure, or with --dry-run take up the sweep file of its runs; return whether drawn."""
    for name in ("methods", "datasets", "trials", "seeds", "table", "file", "results", "maps"):
        if getattr(args, name) is not None:
            raise UserError(f"--figure and --{name}: expected only one")
    figures.figure_of(args.figure)
    args.file = [os.path.join(paths.ROOT, figures.path_of(args.figure))]
    if args.dry_run:
        return False
    if rest:
        raise UserError(f"{rest[0]!r}: --figure takes no further options")
    from reporting import paper_figures

    print("\n".join(paper_figures.write(paths.RESULTS, args.figure)))
    return True


def run(argv: list[str]) -> int:
    """Do what the command line asks for; return the exit status."""
    logs.to_stderr()
    if "--campaign" in argv:
        return campaign.run(argv, paths.RESULTS)
    args, rest = parse(argv)
    if args.results == "":
        raise UserError("--results '': expected the name of a CSV file")
    if args.figure is not None and draw(args, rest):
        return 0
    if args.maps is not None:
        from reporting import maps

        if rest:
            raise UserError(f"{rest[0]!r}: --maps takes no further options")
        print(os.path.relpath(maps.write(paths.RESULTS, args.maps)))
        return 0
    if args.tables or args.report:
        flag = "--tables" if args.tables else "--report"
        if args.results is not None:
            raise UserError(f"--results {args.results}: expected it with a sweep, not with {flag}")
        for name in ("methods", "datasets", "trials", "seeds", "table", "file", "dry_run"):
            if getattr(args, name):
                name = name.replace("_", "-")
                raise UserError(f"--{name}: expected it with a sweep, not with {flag}")
        if rest:
            raise UserError(f"{rest[0]!r}: {flag} takes no further options")
        os.makedirs(os.path.join(paths.RESULTS, "runs"), exist_ok=True)
        if args.tables:
            publish.publish()
        if args.report:
            write_report()
        return 0
    trials, complaints = plan(args, rest)
    for complaint in complaints:
        print(f"run_exp.py: {complaint}", file=sys.stderr)
    if args.dry_run:
        show(trials, args.jobs or 1)
        print_coverage(args.table)
        return 2 if complaints else 0
    if not trials:
        print("0 trials")
        return 2 if complaints else 0
    os.makedirs(os.path.join(paths.RESULTS, "runs"), exist_ok=True)
    ledgers = publish.Ledgers(trials, args.results)
    ledgers.update()  # or refuse
    failed = Sweep(trials, executor_of(args, trials), args.retries, ledgers.settled).run()
    ledgers.close()
    print_coverage(args.table)
    if failed:
        print(f"{len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return 2 if complaints else 1 if failed else 0


def main() -> int:
    """Run the command line; a user's mistake is one line and exit status 2."""
    early.over()
    commit_at_start()
    return status_of("run_exp.py", lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
