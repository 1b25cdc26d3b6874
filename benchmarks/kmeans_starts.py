"""Show what single starts of k-means make of an auto-encoder's codes: inertia, ACC, NMI.

    python benchmarks/kmeans_starts.py --method FcDEC-DA --dataset usps --starts 24 \
        --pretrained-weights results/runs/RUN/ae_weights.h5

Sorted by inertia, which is what k-means with several restarts chooses by; ACC and NMI are only
shown.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import main as single  # noqa: E402
import metrics  # noqa: E402
from errors import UserError  # noqa: E402


def main():
    p = single.parser()
    p.set_defaults(method=single.METHOD)
    p.add_argument("--starts", type=int, default=24, metavar="N")
    args = p.parse_args()
    if args.pretrained_weights is None:
        raise UserError("expected --pretrained-weights FILE (an ae_weights.h5)")
    data = single.load_data(args)
    single.set_up(args.threads, "cpu")
    from sklearn.cluster import KMeans

    from models import build

    # No clustering step, one start: only the codes of the pretrained network are wanted.
    z = build(
        args.method, data.n_clusters, config=single.resolve(args, data), maxiter=0, n_init=1,
        pretrained_weights=args.pretrained_weights,
    ).fit(data.x).transform(data.x)  # fmt: skip
    found = []
    for seed in range(args.starts):
        kmeans = KMeans(data.n_clusters, n_init=1, random_state=seed).fit(z)
        found.append((kmeans.inertia_, kmeans.labels_))
    for inertia, labels in sorted(found, key=lambda pair: pair[0]):
        acc, nmi = metrics.acc(data.y, labels), metrics.nmi(data.y, labels)
        print(f"inertia {inertia:.0f}  acc {acc:.4f}  nmi {nmi:.4f}")


if __name__ == "__main__":
    main()
