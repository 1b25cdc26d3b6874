"""Time pretraining against plain `keras.Model.fit`, in turn, on made-up images.

    python benchmarks/pretraining.py --threads 2

For each network: milliseconds a step of (a) `keras.Model.fit` without augmentation, (b) this
project's pretraining with augmentation, (c) the augmentation alone; the ratio b / a and the share
c / b, each the median over rounds; and the speed in GFLOP/s (operations counted in
models/cost.py) beside that of a large matrix product, timed in the same round. With --memory: the
peak memory of one epoch, k-means on 10,000 codes and one refresh on 70,000 28x28 images.
"""

import argparse
import os
import resource
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

import main as single  # noqa: E402
from models.cost import step_flops  # noqa: E402
from models.presets import preset  # noqa: E402

METHODS = {"fc": "FcDEC-DA", "conv": "ConvDEC-DA"}


def images(n, side):
    """Return n smooth random images (n, side, side, 1) in [0, 1]."""
    rng = np.random.default_rng(0)
    coarse = rng.random((n, side // 4, side // 4, 1), dtype=np.float32)
    return np.ascontiguousarray(coarse.repeat(4, axis=1).repeat(4, axis=2))


def seconds(work):
    """Return how long `work()` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(network, n, side, rounds):
    """Print a line of figures for a network on n images of side * side pixels."""
    import keras
    import tensorflow as tf

    from models import build
    from models.training import Trainer

    config = preset(METHODS[network], n=n)
    x = images(n, side)

    def autoencoder():
        model = build(METHODS[network], 10, n=n)
        model._build(x.shape[1:])
        return model

    plain = autoencoder()
    stock = keras.Sequential([plain.encoder, plain.decoder])
    stock.compile(config.pretrain_optimizer.make(), "mse")
    ours = autoencoder()
    trainer = Trainer(
        tf.constant(x), ours.pretrain_loss, {"reconstruction": 1.0},
        ours.encoder.trainable_variables + ours.decoder.trainable_variables,
        config.pretrain_optimizer.make(), batch_size=config.batch_size, seed=0, shuffle=True,
        augment=ours._augment(True),
    )  # fmt: skip
    steps = trainer.steps_per_pass
    batch, augment = tf.constant(x[: config.batch_size]), tf.function(ours._augment(True))
    a = tf.random.stateless_normal((1024, 1024), (0, 0))
    product = tf.function(lambda: tf.matmul(a, a))

    def fit():
        stock.fit(x, x, batch_size=config.batch_size, epochs=1, verbose=0)

    def train():
        trainer.run(trainer.step + steps, steps, lambda step: False)

    def augmentation():
        for i in range(steps):
            augment(batch, tf.constant([0, i]))

    def multiply():
        for _ in range(20):
            product()

    works = (fit, train, augmentation, multiply)
    for work in works:
        work()  # compile
    table = np.array([[seconds(work) for work in works] for _ in range(rounds)])
    ms = table[:, :3] / steps * 1e3
    ratio, share = (statistics.median(v) for v in (ms[:, 1] / ms[:, 0], ms[:, 2] / ms[:, 1]))
    flops = step_flops(network, x.shape[1:], n / steps)
    peak = statistics.median(20 * 2 * 1024**3 / table[:, 3]) / 1e9
    median = np.median(ms, axis=0)
    print(
        f"{network:4} {side}x{side} n={n}: keras fit {median[0]:.1f} ms, ours with augmentation "
        f"{median[1]:.1f} ms, ratio {ratio:.2f}; augmentation {median[2]:.2f} ms, share "
        f"{share:.1%}; {flops / median[1] / 1e6:.0f} of {peak:.0f} GFLOP/s",
        flush=True,
    )


def memory(network):
    """Print the peak memory of a short run on 70,000 images."""
    from models import build

    x = images(70000, 28)
    model = build(
        METHODS[network], 10, n=len(x), pretrain_epochs=1, maxiter=2, update_interval=1, n_init=1,
        tol=0.0,
    )  # fmt: skip
    model.fit(x)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{network:4} 70,000 28x28 images, whole fit: peak {peak:.2f} GB", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--networks", nargs="+", choices=METHODS, default=list(METHODS))
    p.add_argument("--sides", nargs="+", type=int, default=[28, 16])
    p.add_argument("--n", type=int, default=10000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--memory", action="store_true", help="the peak memory instead of the time")
    args = p.parse_args()
    found = single.set_up(args.threads, "cpu")
    import keras

    keras.utils.set_random_seed(0)
    print(f"{found['device']}, {args.threads} threads, float32, batch 256")
    for network in args.networks:
        if args.memory:
            memory(network)
            continue
        for side in args.sides:
            compare(network, args.n, side, args.rounds)


if __name__ == "__main__":
    main()
