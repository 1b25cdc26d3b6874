"""Show where the time of a pretraining step goes, kernel by kernel, on made-up images.

    python benchmarks/profile_step.py --threads 1

A table a network: milliseconds a step and share of each kind of kernel, as TensorFlow's own
profiler recorded them in --steps steps; what no kernel accounts for is the executor and Python. The
augmentation, one kernel compiled by XLA which the profiler does not name, is timed alone.
Beside the matrix products and convolutions stands how long they would take at the speed of a large
float32 matrix product timed in the same run: no rearrangement of float32 work gets below it.
"""

import argparse
import collections
import glob
import os
import re
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import pretraining  # noqa: E402

from common import device  # noqa: E402
from models.core.cost import step_flops  # noqa: E402

# The first pattern that a kernel's "name:type" matches gives its kind.
KINDS = {
    "optimizer": r":ResourceApply",
    "matrix products": r":\w*MatMul",
    "gather rows": r":\w*Gather",
    "noise": r":StatelessRandom",
    "bias, activation, loss": r":(BiasAdd|BiasAddGrad|Relu|ReluGrad|AddV2|Sub|Mul|Mean|Square|"
    r"SquaredDifference|Sum|AddN|DivNoNan|RealDiv|Neg|_Fused|_MklRelu|_MklReluGrad|Tile|Fill)",
    "layout": r":(Transpose|Pad|DepthToSpace|SpaceToDepth|Reshape|Slice|StridedSlice|Reverse|"
    r"ReverseV2|Concat|Cast|_MklToTf|_MklPad|_MklNativePad)",
}


def kind(event):
    """Return the kind of a kernel event, "node name:operation"."""
    if "Conv2D" in event.rpartition(":")[2]:
        return "convolutions" if "gradient_tape" not in event else "convolutions, gradients"
    for name, pattern in KINDS.items():
        if re.search(pattern, event):
            return name
    return "other kernels"


def record(trainer, steps):
    """Return (wall seconds, {kernel: seconds}) of some training steps."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        tf.profiler.experimental.start(folder, options)
        begin = time.perf_counter()
        trainer.run(trainer.step + steps, steps, lambda step: False)
        wall = time.perf_counter() - begin
        tf.profiler.experimental.stop()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    kernels = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if re.search(r"[^:]:_?[A-Z]\w+$", name):  # "node:Operation"
                    kernels[name] += event.duration_ps / 1e12
    return wall, kernels


def kinds(kernels):
    """Return {kind: seconds}, from {kernel: seconds}."""
    table = collections.Counter()
    for name, seconds in kernels.items():
        table[kind(name)] += seconds
    return table


def show(table, wall, steps):
    """Print {kind: seconds} of some steps that took `wall` seconds; the rest is the executor."""
    rest = {"executor, Python": wall - sum(table.values())}
    print("| kind | ms a step | share |\n| --- | --- | --- |")
    for name, seconds in collections.Counter(table | rest).most_common():
        print(f"| {name} | {seconds / steps * 1e3:.2f} | {seconds / wall:.1%} |")


def profile(network, side, steps, precision, details):
    """Print the table of a network on images of side * side pixels."""
    import tensorflow as tf

    batch = 256
    trainer = pretraining.trainer(network, pretraining.images(10 * batch, side), precision)
    trainer.run(10, 10, lambda step: False)
    speed = pretraining.product_speed(tf.float32)
    wall, kernels = record(trainer, steps)
    speed = (speed + pretraining.product_speed(tf.float32)) / 2
    table = kinds(kernels)
    batch_of_images = trainer.x[:batch]
    transform = pretraining.single_augmentation()
    transform(batch_of_images, tf.constant([0, 0]))
    table["augmentation"] = pretraining.seconds(
        lambda: [transform(batch_of_images, tf.constant([0, i])) for i in range(steps)]
    )
    floor = step_flops(network, (side, side, 1), batch) / speed
    print(f"\n{network} {side}x{side}, {precision}: {wall / steps * 1e3:.1f} ms a step\n")
    show(table, wall, steps)
    print(f"\nproducts and convolutions at {speed / 1e9:.0f} GFLOP/s: {floor * 1e3:.1f} ms")
    for name, seconds in kernels.most_common(details):
        print(f"  {seconds / steps * 1e3:8.2f} ms {kind(name):24} {name}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--networks", nargs="+", choices=pretraining.METHODS, default=["fc", "conv"])
    p.add_argument("--side", type=int, default=28)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    p.add_argument("--details", type=int, default=0, metavar="N", help="the N longest kernels")
    args = p.parse_args()
    found = device.set_up(args.threads, "cpu")
    print(f"{found['device']}, {args.threads} threads, batch 256, {args.steps} steps")
    for network in args.networks:
        profile(network, args.side, args.steps, args.precision, args.details)


if __name__ == "__main__":
    main()
