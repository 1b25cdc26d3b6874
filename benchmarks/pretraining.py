"""Time pretraining against plain `keras.Model.fit`, in turn, on made-up images.

    python benchmarks/pretraining.py --threads 2

For each network and size: milliseconds a step of (a) `keras.Model.fit` in float32 without
augmentation, (b) this project's pretraining with augmentation in float32, (c) the same in bfloat16,
(d) the augmentation alone; the ratios b / a and c / a and the share d / b; and the speed of b in
GFLOP/s (operations counted in models/core/cost.py) beside that of a large matrix product in float32
and in bfloat16. Works are timed in turn, round by round; each figure is the median over rounds.
With --memory: the peak memory of a short whole fit on 70,000 images.
With --onednn: the step (b) with TF_ENABLE_ONEDNN_OPTS=0 and with 1, in two processes that are timed
in turn.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from common import device  # noqa: E402
from models.core.cost import step_flops  # noqa: E402
from models.settings.presets import preset  # noqa: E402

METHODS = {"fc": "FcDEC-DA", "conv": "ConvDEC-DA"}
BATCH = 256
HEAD = """
| network | images | keras fit, ms | ours, ms | ratio | ours bf16, ms | ratio | augmentation | \
GFLOP/s | float32 peak | bfloat16 peak |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


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


def product_speed(dtype, repeats=20):
    """Return the operations a second of a product of two 1024 x 1024 matrices."""
    import tensorflow as tf

    a = tf.cast(tf.random.stateless_normal((1024, 1024), (0, 0)), dtype)
    product = tf.function(lambda: tf.matmul(a, a))
    product()
    return repeats * 2 * 1024**3 / seconds(lambda: [product() for _ in range(repeats)])


def trainer(network, x, precision="float32"):
    """Return a Trainer of the augmented pretraining of a network on images x."""
    import tensorflow as tf

    from models import build
    from models.core.optimizers import make
    from models.core.training import Trainer

    model = build(METHODS[network], 10, n=len(x), precision=precision)
    model._build(x.shape[1:])
    return Trainer(
        tf.constant(x),
        model.pretrain_loss,
        {"reconstruction": 1.0},
        model.encoder.trainable_variables + model.decoder.trainable_variables,
        make(model.config.pretrain_optimizer),
        batch_size=BATCH,
        seed=0,
        shuffle=True,
        augment=model._augmentation(True),
    )


def stock(network, x):
    """Return the same auto-encoder of Keras's own layers and optimizer, compiled."""
    import keras

    from models.core.networks import AUTOENCODERS
    from models.settings.base import SGD

    encoder, decoder = AUTOENCODERS[network](x.shape[1:])
    last = decoder.layers[-1]
    if network == "conv":  # Keras's own transposed convolution in place of the project's
        plain = keras.layers.Conv2DTranspose(x.shape[-1], 5, 2, "same")
        decoder = keras.Model(decoder.inputs, plain(last.input))
    record = preset(METHODS[network]).pretrain_optimizer
    optimizer = (
        keras.optimizers.SGD(record.lr, momentum=record.momentum)
        if isinstance(record, SGD)
        else keras.optimizers.Adam(record.lr)
    )
    model = keras.Sequential([encoder, decoder])
    model.compile(optimizer, "mse")
    return model


def compare(network, n, side, rounds):
    """Print a table row of figures for a network on n images of side * side pixels."""
    import tensorflow as tf

    x = images(n, side)
    plain = stock(network, x)
    exact, half = trainer(network, x), trainer(network, x, "bfloat16")
    steps = exact.steps_per_pass
    transform = single_augmentation()
    batch = tf.constant(x[:BATCH])

    def train(one):
        one.run(one.step + steps, steps, lambda step: False)

    works = [
        lambda: plain.fit(x, x, batch_size=BATCH, epochs=1, verbose=0),
        lambda: train(exact),
        lambda: train(half),
        lambda: [transform(batch, tf.constant([0, i])) for i in range(steps)],
    ]
    for work in works:
        work()  # compile
    table = np.array([[seconds(work) for work in works] for _ in range(rounds)])
    peaks = [[product_speed(t) / 1e9 for t in (tf.float32, tf.bfloat16)] for _ in range(rounds)]
    a, b, c, d = np.median(table, axis=0) / steps * 1e3
    ratio, low, share = (np.median(table[:, i] / table[:, j]) for i, j in ((1, 0), (2, 0), (3, 1)))
    speed = step_flops(network, x.shape[1:], n / steps) / b / 1e6
    peak, peak_low = np.median(peaks, axis=0)
    print(
        f"| {network} | {side}x{side} | {a:.1f} | {b:.1f} | {ratio:.2f} | {c:.1f} | {low:.2f} | "
        f"{share:.1%} | {speed:.0f} | {peak:.0f} | {peak_low:.0f} |",
        flush=True,
    )


def single_augmentation():
    """Return the compiled augmentation of a batch."""
    import tensorflow as tf

    from augment import RandomShiftRotate

    return tf.function(RandomShiftRotate())


def onednn(network, n, side, rounds, threads):
    """Print how long a step takes without and with oneDNN, and the ratio of the two."""
    children = []
    for value in "01":
        words = [sys.executable, os.path.abspath(__file__), "--child", network, str(n), str(side)]
        children.append(
            subprocess.Popen(
                [*words, str(threads)],
                env=os.environ | {device.ONEDNN: value},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    try:
        found = [child.stdout.readline().strip() for child in children]
        assert found == ["False", "True"], found
        table = []
        for _ in range(rounds):
            table.append([])
            for child in children:
                print(file=child.stdin, flush=True)
                table[-1].append(float(child.stdout.readline()))
    finally:
        for child in children:
            child.kill()
    off, on = np.median(table, axis=0) * 1e3
    ratios = np.divide(*np.array(table).T[::-1])
    print(
        f"| {network} | {side}x{side} | {off:.1f} | {on:.1f} | {np.median(ratios):.2f} | "
        f"{ratios.min():.2f} to {ratios.max():.2f} |",
        flush=True,
    )


def be_child(network, n, side, threads):
    """Tell whether oneDNN is on; then answer each line on stdin with the seconds a step takes."""
    found = device.set_up(int(threads), "cpu")
    one = trainer(network, images(int(n), int(side)))
    steps = one.steps_per_pass
    one.run(steps, steps, lambda step: False)  # compile
    print(found["onednn"], flush=True)
    for _ in sys.stdin:
        took = seconds(lambda: one.run(one.step + steps, steps, lambda step: False))
        print(took / steps, flush=True)


def memory(network):
    """Print the peak memory of a short run on 70,000 images."""
    from models import build

    x = images(70000, 28)
    model = build(
        METHODS[network],
        10,
        n=len(x),
        pretrain_epochs=1,
        maxiter=2,
        update_interval=1,
        n_init=1,
        tol=0.0,
    )
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
    p.add_argument("--onednn", action="store_true", help="a step without and with oneDNN")
    p.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child is not None:
        be_child(*args.child)
        return
    if args.onednn:
        print(
            f"{device.cpu_name()}, {device.cpu_kind()}, {args.threads} threads, batch {BATCH}, "
            f"{args.rounds} rounds\n"
        )
        print("| network | images | oneDNN off, ms | on, ms | ratio | range |")
        print("| --- | --- | --- | --- | --- | --- |")
        for network in args.networks:
            for side in args.sides:
                onednn(network, args.n, side, args.rounds, args.threads)
        return
    found = device.set_up(args.threads, "cpu")
    import keras

    keras.utils.set_random_seed(0)
    print(f"{found['device']}, {args.threads} threads, batch {BATCH}, {args.rounds} rounds")
    if not args.memory:
        print(HEAD)
    for network in args.networks:
        if args.memory:
            memory(network)
            continue
        for side in args.sides:
            compare(network, args.n, side, args.rounds)


if __name__ == "__main__":
    main()
