"""Show what single starts of k-means make of an auto-encoder's codes: inertia, ACC, NMI.

    python benchmarks/kmeans_starts.py --method FcDEC-DA --dataset usps --starts 24 \
        --pretrained-weights results/runs/RUN/ae_weights.h5

Sorted by inertia, which is what k-means with several restarts chooses by; ACC and NMI are only
shown.

    python benchmarks/kmeans_starts.py --method FcDEC-DA --dataset digits --seed 0 --inits \
        --pretrained-weights results/pretrained/KEY/ae_weights.h5

With --inits: what each way to start (--init) makes of the embedding, and k-means with "auto"
restarts, for the first five seeds of the start (--starts 5): the ACC of each, mean, and seconds.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import metrics  # noqa: E402
from common import device  # noqa: E402
from common.errors import UserError  # noqa: E402
from experiments import inputs, options  # noqa: E402


def compare(z, y, k, seeds):
    """Print a table row for each way to start."""
    from threadpoolctl import threadpool_limits

    from models.core.initialization import init
    from models.settings.base import INITS

    print("| start | ACC of each seed | mean | NMI, mean | restarts | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    ways = [("k-means", n) for n in (1, 20, 200, "auto")] + [(how, 20) for how in INITS[1:]]
    for how, n_init in ways:
        found, begin = [], time.perf_counter()
        with threadpool_limits(1):
            try:
                starts = [init(z, k, how, n_init, seed) for seed in range(seeds)]
            except UserError as error:
                print(f"| {how} | {error} | | | | |")
                continue
        took = (time.perf_counter() - begin) / seeds
        found = [(metrics.acc(y, start.labels), metrics.nmi(y, start.labels)) for start in starts]
        acc, nmi = (sum(score) / seeds for score in zip(*found, strict=True))
        name = f"{how}, {n_init}" if how == "k-means" else how
        made = " ".join(str(count) for count in sorted({start.restarts for start in starts}))
        each = " ".join(f"{one:.3f}" for one, _ in found)
        print(f"| {name} | {each} | {acc:.3f} | {nmi:.3f} | {made} | {took:.1f} |", flush=True)


def main():
    p = options.parser(options.METHOD)
    p.set_defaults(method=options.METHOD, overrides={})
    p.add_argument("--starts", type=int, default=24, metavar="N")
    p.add_argument("--inits", action="store_true", help="compare the ways to start")
    args = p.parse_args()
    if args.pretrained_weights is None:
        raise UserError("expected --pretrained-weights FILE (an ae_weights.h5)")
    data = inputs.load_data(args)
    device.set_up(args.threads, "cpu")
    from sklearn.cluster import KMeans

    from models import build

    # No clustering step, one start: only the codes of the pretrained network are wanted.
    z = (
        build(
            args.method,
            data.n_clusters,
            config=options.resolve(args, data),
            maxiter=0,
            n_init=1,
            pretrained_weights=args.pretrained_weights,
        )
        .fit(data.x)
        .transform(data.x)
    )
    if args.inits:
        compare(z, data.y, data.n_clusters, args.starts)
        return
    found = []
    for seed in range(args.starts):
        kmeans = KMeans(data.n_clusters, n_init=1, random_state=seed).fit(z)
        found.append((kmeans.inertia_, kmeans.labels_))
    for inertia, labels in sorted(found, key=lambda pair: pair[0]):
        acc, nmi = metrics.acc(data.y, labels), metrics.nmi(data.y, labels)
        print(f"inertia {inertia:.0f}  acc {acc:.4f}  nmi {nmi:.4f}")


if __name__ == "__main__":
    main()
