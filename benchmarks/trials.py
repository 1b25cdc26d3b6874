"""Time what surrounds the training steps, on made-up images.

    python benchmarks/trials.py

Three things, each as a ratio or a time of one run of this script:
jobs     throughput of two trials side by side, one thread and one core each, over that of the
         same two one after the other with two threads;
growth   cost a sample of a pretraining pass and a refresh at 70,000 samples over that at 10,000;
startup  seconds from the start of `main.py` to the end of its first training step.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402
import pretraining  # noqa: E402

import main as single  # noqa: E402
from common import device  # noqa: E402
from experiments import runs  # noqa: E402

HERE = os.path.abspath(__file__)


def child(network, threads, core, steps):
    """Start a process that answers each line on stdin with the seconds of `steps` steps."""
    words = [sys.executable, HERE, "--child", network, str(threads), str(steps)]
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, preexec_fn=pin
    )
    if process.stdout.readline() != "ready\n":  # it has said why
        raise SystemExit(f"the process that trains {network} ended with {process.wait()}")
    return process


def serve(network, threads, steps):
    """Be such a process."""
    device.set_up(threads, "cpu")
    trainer = pretraining.trainer(network, pretraining.images(2560, 28))

    def train():
        trainer.run(trainer.step + steps, steps, lambda step: False)

    train()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(pretraining.seconds(train), flush=True)


def ask(processes):
    """Let processes train at the same time; return the seconds of the slowest."""
    for process in processes:
        process.stdin.write("go\n")
    return max(float(process.stdout.readline()) for process in processes)


def jobs(networks, rounds, steps=30):
    """Print the throughput of two jobs side by side."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        print("jobs: needs two cores")
        return
    for network in networks:
        pair = [child(network, 1, core, steps) for core in cores]
        alone = child(network, 2, None, steps)
        times = [(ask(pair), ask([alone])) for _ in range(rounds)]
        for process in (*pair, alone):
            process.stdin.close()
            process.wait()
        gain = statistics.median(2 * two / one for one, two in times)
        one, two = (statistics.median(column) / steps * 1e3 for column in zip(*times, strict=True))
        print(
            f"jobs {network}: {one:.1f} ms a step side by side on one thread each, {two:.1f} ms "
            f"alone on two: {gain:.2f} times the throughput",
            flush=True,
        )


def growth(networks, rounds):
    """Print the cost a sample at 70,000 samples over that at 10,000."""
    import tensorflow as tf

    from models import build

    for network in networks:
        works, sizes = [], (10000, 70000)
        for n in sizes:
            x = pretraining.images(n, 28)
            trainer = pretraining.trainer(network, x)
            model = build(pretraining.METHODS[network], 10, n=n)
            model._build(x.shape[1:])
            works.append((trainer, model, tf.constant(x)))

        def once(trainer, model, x):
            trainer.run(trainer.step + trainer.steps_per_pass, 10**9, lambda step: False)
            model.refresh(model._encode(x), 0)

        for trainer, model, x in works:  # compile
            trainer.run(2, 10**9, lambda step: False)
            model.refresh(model._encode(x), 0)
        table = [
            [
                pretraining.seconds(lambda w=work: once(*w)) / n
                for work, n in zip(works, sizes, strict=True)
            ]
            for _ in range(rounds)
        ]
        small, large = np.median(table, axis=0) * 1e6
        ratio = statistics.median(b / a for a, b in table)
        print(
            f"growth {network}: {small:.0f} us a sample at 10,000, {large:.0f} at 70,000: "
            f"ratio {ratio:.2f}",
            flush=True,
        )


def startup(networks, rounds):
    """Print the time from the start of main.py to the end of the first step."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data.npz")
        np.savez(data, x=pretraining.images(256, 28))
        for network in networks:
            times = []
            for i in range(rounds):
                run = os.path.join(folder, f"{network}{i}")
                log = os.path.join(run, "log.csv")
                words = [
                    "--method",
                    pretraining.METHODS[network],
                    "--data",
                    data,
                    "--n-clusters",
                    "2",
                    "--pretrain-epochs",
                    "1",
                    "--save-dir",
                    run,
                    "--cache-dir",
                    run,
                    "--quiet",
                ]
                begin = time.monotonic()
                process = subprocess.Popen([sys.executable, single.__file__, *words])
                while not any(row["phase"] == "pretrain" for row in runs.read_log(log)):
                    if process.poll() is not None:
                        raise SystemExit(f"main.py ended early with status {process.returncode}")
                    time.sleep(0.02)
                times.append(time.monotonic() - begin)
                process.kill()
                process.wait()
            print(f"startup {network}: {statistics.median(times):.1f} s", flush=True)


def main():
    if sys.argv[1:2] == ["--child"]:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument(
        "--what",
        nargs="+",
        choices=("jobs", "growth", "startup"),
        default=["jobs", "growth", "startup"],
    )
    p.add_argument("--networks", nargs="+", choices=pretraining.METHODS, default=["fc", "conv"])
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    print(f"{device.cpu_name()}, {len(os.sched_getaffinity(0))} cores, float32, 28x28")
    if "jobs" in args.what:
        jobs(args.networks, args.rounds)
    if "startup" in args.what:
        startup(args.networks, args.rounds)
    if "growth" in args.what:
        device.set_up(1, "cpu")
        growth(args.networks, args.rounds)


if __name__ == "__main__":
    main()
