"""What a run computes on: CPU or GPU, threads, oneDNN, and what a row says.

TensorFlow and Keras are imported only by `set_up`. What has to stand in the environment before
TensorFlow is imported is put there by `prepare`.
"""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from common import early
from common.errors import UserError

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Kinds of CPU: what a row says of it, and its flag in /proc/cpuinfo.
KINDS = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_bf16": "amx_bf16",
}
BFLOAT16 = ("avx512_bf16", "amx_bf16")  # flags of units that multiply numbers in bfloat16


def _cpuinfo(field):
    """Return the first value of a field of /proc/cpuinfo, "" if there is none."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value
    return ""


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    return " ".join(_cpuinfo("model name").split()) or "CPU"


def cpu_flags() -> set[str]:
    """Return the processor's instruction sets as Linux names them; none where it does not say."""
    return set(_cpuinfo("flags").split())


def cpu_kind() -> str:
    """Return what the processor has of KINDS, e.g. "avx2 avx512 avx512_vnni".

    Without any of them the name of its architecture, e.g. "aarch64".
    """
    flags = cpu_flags()
    return " ".join(kind for kind, flag in KINDS.items() if flag in flags) or platform.machine()


def prepare() -> None:
    """Put into the environment what TensorFlow reads when it is imported.

    oneDNN is on where it is faster: on x86-64 with AVX2 under Linux (benchmarks/README.md). A value
    of TF_ENABLE_ONEDNN_OPTS or TF_CPP_MIN_LOG_LEVEL that is already there holds. Does nothing once
    TensorFlow is imported.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.platform == "linux" and "avx2" in cpu_flags():
        os.environ.setdefault(ONEDNN, "1")


def onednn_in_force() -> bool | None:
    """Return whether the imported TensorFlow uses oneDNN; None if it does not say."""
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None


def limited(threads: int | str) -> dict[str, str]:
    """Return the environment of a process whose libraries take `threads` threads."""
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def limit_threads(threads: int) -> None:
    """Hold NumPy, SciPy and scikit-learn to a number of threads, those loaded later too.

    A value of OMP_NUM_THREADS that is already there holds instead. (Where the order of sums
    would change with threads, models take one thread whatever this number is.)
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what native libraries write to stderr off the screen; show it if the block fails."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(before, 2)
            file.seek(0)
            sys.stderr.write(file.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def set_up(threads: int, device: str | None, parallel: bool = False) -> dict:
    """Prepare TensorFlow: oneDNN, threads, device, repeatable operations.

    `device` is "cpu", "gpu" (UserError if there is none), or None for a GPU if TensorFlow sees one.
    If `parallel`, the threads work side by side on graphs of their own, not together on one.
    Returns columns of a row, as in force: device, threads, cpu and onednn.
    """
    prepare()
    limit_threads(threads)
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
    return {"device": name, "threads": threads, "cpu": cpu_kind(), "onednn": onednn_in_force()}


def environment_of(config: Any, args: argparse.Namespace) -> dict:
    """Prepare what the method of these Settings runs on, and return what `set_up` does.

    A baseline needs no TensorFlow, and one thread, with which its sums are always the same.
    """
    if config.deep:
        return set_up(args.threads, args.device, config.parallel)
    if args.device == "gpu":
        raise UserError(f"device 'gpu': {args.method} runs on the CPU; expected cpu")
    return {"device": cpu_name(), "threads": 1, "cpu": cpu_kind()}


def slow_precision(config: object, environment: dict) -> str | None:
    """Return a line that warns of Settings with bfloat16 where nothing computes in it, or None.

    `environment` is what `environment_of` returned.
    """
    if getattr(config, "precision", "float32") != "bfloat16":
        return None
    if environment["device"] != cpu_name() or cpu_flags() & set(BFLOAT16):
        return None
    return (
        f"precision bfloat16: this CPU has no units for it ({' or '.join(BFLOAT16)}), so that the "
        "run takes several times as long as with float32"
    )
