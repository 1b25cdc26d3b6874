"""Time a training step of Kingdra's ladder networks, on made-up samples.

    python benchmarks/kingdra.py

For each input size (2000: tf-idf words, 784: MNIST), batch 64: milliseconds a step of one member
without and with pseudo-labels on one thread, GFLOP/s (operations counted below) beside those of a
large matrix product, and what a round of the published schedule takes at that rate. Then the
ensemble: two members side by side, a thread each, against one after the other on two threads; and
the products of ten members as batched products against ten products. In their place, with --graph:
time and memory of the agreement graph of 70,000 samples and ten members; with --profile: where the
time of a step with pseudo-labels goes, kernel by kernel.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402
import pretraining  # noqa: E402
import profile_step  # noqa: E402

from common import device  # noqa: E402

BATCH = 64
SETS = {2000: ("20news", 18040, 20), 784: ("mnist", 70000, 10)}  # d -> data set, n, k


def members(d, count, supervised):
    """Return Kingdra members ready to train on made-up samples of d numbers."""
    import tensorflow as tf

    from models import build, preset
    from models.core.monitor import Monitor
    from models.kingdra.model import Member
    from models.kingdra.rounds import RoundState

    name, _, k = SETS[d]
    model = build(
        "KINGDRA-LADDER-IM", k, config=preset("KINGDRA-LADDER-IM", name), members=count, high=1
    )
    model._identity, model._monitor = "benchmark", Monitor()
    model._build((d,))
    data = tf.constant(np.random.default_rng(0).random((20 * BATCH, d), dtype=np.float32))
    found = [Member(model, m, data) for m in range(count)]
    if supervised:
        groups = np.split(np.arange(k * (20 * BATCH // k)), k)
        state = RoundState.beginning(count, k, 20 * BATCH)
        state.round, state.groups = 1, groups
        state.clusters = np.tile(np.arange(k), (count, 1))
        for member in found:
            member.prepare(state)
    return found


def train(member, steps):
    """Make some steps."""
    member.trainer.run(member.trainer.step + steps, 10**9, lambda step: False)


def step_flops(d, k, supervised, widths=(1200, 1200)):
    """Return the operations of a step: 2ab a product, forward and for both gradients.

    Clean and corrupted path and, with pseudo-labels, a third through the encoder; the corrupted
    one through the decoder. Gradients for the inputs of the first layer are not needed.
    """
    sizes = (d, *widths, k)
    up = sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
    paths = 3 if supervised else 2
    return 2 * BATCH * (paths * (3 * up - sizes[0] * sizes[1]) + 3 * up)


def steps_table(rounds, steps=20):
    """Print a row for each input size and kind of step."""
    import tensorflow as tf

    print("| d | pseudo-labels | ms a step | GFLOP/s | large product | a round, member-minutes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for d, (name, n, k) in SETS.items():
        for supervised in (False, True):
            (member,) = members(d, 1, supervised)
            train(member, 3)
            times = [pretraining.seconds(lambda m=member: train(m, steps)) for _ in range(rounds)]
            peak = statistics.median(pretraining.product_speed(tf.float32) for _ in range(rounds))
            one = statistics.median(times) / steps
            speed = step_flops(d, k, supervised) / one
            minutes = 10 * 5 * -(-n // BATCH) * one / 60
            print(
                f"| {d} | {'yes' if supervised else 'no'} | {one * 1e3:.1f} | {speed / 1e9:.0f} | "
                f"{peak / 1e9:.0f} | {minutes:.0f} ({name}, 10 members, 5 passes) |",
                flush=True,
            )


def batched(rounds):
    """Print the time of ten members' largest products apart and batched."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for rows, a, b in ((128, 2000, 1200), (128, 784, 1200), (128, 1200, 1200)):
        h = [tf.constant(rng.random((rows, a), dtype=np.float32)) for _ in range(10)]
        w = [tf.constant(rng.random((a, b), dtype=np.float32)) for _ in range(10)]
        hs, ws = tf.stack(h), tf.stack(w)

        @tf.function
        def apart(h=h, w=w):
            return [tf.matmul(x, y) for x, y in zip(h, w, strict=True)]

        @tf.function
        def together(hs=hs, ws=ws):
            return tf.matmul(hs, ws)

        apart(), together()
        pairs = [
            (
                pretraining.seconds(lambda f=apart: [f() for _ in range(5)]),
                pretraining.seconds(lambda f=together: [f() for _ in range(5)]),
            )
            for _ in range(rounds)
        ]
        ratio = statistics.median(two / one for one, two in pairs)
        print(f"ten products {rows}x{a}x{b}: batched takes {ratio:.2f} of the time apart")


def child(kind, steps=40):
    """Train two members on two threads; print the seconds."""
    import threading

    from models.kingdra.ensemble import side_by_side

    device.set_up(2, "cpu", parallel=kind == "side")
    two = members(2000, 2, False)
    for member in two:
        train(member, 3)
    jobs = [lambda m=member: train(m, steps) for member in two]
    workers = 2 if kind == "side" else 1
    print(pretraining.seconds(lambda: side_by_side(jobs, workers, threading.Event())))


def ensemble(rounds):
    """Print the throughput of two members side by side."""
    if len(os.sched_getaffinity(0)) < 2:
        print("side by side: needs two cores")
        return

    def ask(kind):
        words = [sys.executable, os.path.abspath(__file__), "--child", kind]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:  # it has said why
            raise SystemExit(f"the process that trains two members ended with {done.returncode}")
        return float(done.stdout.split()[-1])

    pairs = [(ask("side"), ask("turn")) for _ in range(rounds)]
    gain = statistics.median(turn / side for side, turn in pairs)
    print(
        f"two members side by side, a thread each: {gain:.2f} times the throughput of one after "
        "the other on two threads"
    )


def graph(n=70000, m=10, k=10):
    """Print time and memory of the groups where a share of the members' labels is random."""
    from models.kingdra.agreement import find_groups

    print("| random labels | high / low | signatures | seconds | peak so far, MB |")
    print("| --- | --- | --- | --- | --- |")
    for high, low in ((9, 1), (8, 2)):
        for share in (0.05, 0.3, 1.0):
            rng = np.random.default_rng(0)
            clusters, others = rng.integers(k, size=n), rng.integers(k, size=(m, n))
            labels = np.where(rng.random((m, n)) < share, others, clusters)
            seconds = pretraining.seconds(
                lambda a=labels, h=high, b=low: find_groups(a, np.ones(n, bool), h, b, k)
            )
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"| {share:.0%} | {high} / {low} | {len(np.unique(labels.T, axis=0))} | "
                f"{seconds:.1f} | {peak:.0f} |",
                flush=True,
            )


def profile(d=784, steps=20):
    """Print how a step's time divides into kinds of kernels."""
    import tensorflow as tf

    (member,) = members(d, 1, True)
    train(member, 3)
    wall, kernels = profile_step.record(member.trainer, steps)
    speed = pretraining.product_speed(tf.float32)
    floor = step_flops(d, SETS[d][2], True) / speed
    print(f"d {d}, pseudo-labels, one thread: {wall / steps * 1e3:.1f} ms a step\n")
    profile_step.show(profile_step.kinds(kernels), wall, steps)
    print(f"\nproducts at {speed / 1e9:.0f} GFLOP/s: {floor * 1e3:.1f} ms")


def main():
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
        return
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--graph", action="store_true", help="time the agreement graph instead")
    p.add_argument("--profile", action="store_true", help="divide a step's time by kernel instead")
    args = p.parse_args()
    if args.graph:
        graph()
        return
    found = device.set_up(1, "cpu")
    print(f"{found['device']}, batch {BATCH}, float32\n")
    if args.profile:
        profile()
        return
    steps_table(args.rounds)
    print()
    batched(args.rounds)
    ensemble(args.rounds)


if __name__ == "__main__":
    main()
