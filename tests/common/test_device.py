"""What a run computes on: oneDNN, threads, kind of CPU, and the warning about bfloat16."""

import dataclasses
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from common import device
from models import preset

AVX2 = {"sse4_2", "avx2", "fma"}
VNNI = AVX2 | {"avx512f", "avx512_vnni"}
BF16 = VNNI | {"avx512_bf16"}
AMX = VNNI | {"amx_bf16", "amx_tile"}


@pytest.fixture
def flags(monkeypatch):
    """Set the CPU's flags."""
    return lambda found: monkeypatch.setattr(device, "cpu_flags", lambda: found)


@pytest.fixture
def before_tensorflow(monkeypatch):
    """As if TensorFlow were not imported, and nothing in the environment for it."""
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    for name in (device.ONEDNN, "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("found", "value"), [(AVX2, "1"), (VNNI, "1"), ({"sse2"}, None)])
def test_onednn_is_on_where_it_is_faster(flags, before_tensorflow, found, value):
    flags(found)
    device.prepare()
    assert os.environ.get(device.ONEDNN) == value
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_the_users_choice_holds(flags, before_tensorflow, monkeypatch):
    flags(VNNI)
    monkeypatch.setenv(device.ONEDNN, "0")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    device.prepare()
    assert os.environ[device.ONEDNN] == "0"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"


def test_too_late_once_tensorflow_is_imported(flags, before_tensorflow, monkeypatch):
    flags(VNNI)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    device.prepare()
    assert device.ONEDNN not in os.environ


def python(code, cwd, **others):
    """Return the words that some code prints in a new interpreter."""
    taken = (device.ONEDNN, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if name not in taken}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=env | others,
    )
    return done.stdout.split()


# Two children, for what they import besides TensorFlow takes as long as that.
IMPORT = """
import os, sys
import matplotlib.pyplot, scipy.stats, sklearn.cluster, sklearn.mixture
from common import device
import models
device.cpu_flags = lambda: {"avx2"}
assert not {"tensorflow", "keras"} & set(sys.modules) and device.ONEDNN not in os.environ
for users in ({}, {device.ONEDNN: "0"}):
    child = os.fork()
    if not child:
        os.environ |= users
        models.class_of("FcDEC")
        print(os.environ[device.ONEDNN], device.onednn_in_force(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_model_from_the_library_sets_it_before_the_import(root):
    """With a CPU that TensorFlow would leave oneDNN off for, and with the user's 0."""
    assert python(IMPORT, root) == ["1", "True", "0", "False"]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (AVX2, "avx2"),
        (BF16, "avx2 avx512 avx512_vnni avx512_bf16"),
        (AMX, "avx2 avx512 avx512_vnni amx_bf16"),
        (set(), device.platform.machine()),
    ],
)
def test_kind_of_cpu(flags, found, kind):
    flags(found)
    assert device.cpu_kind() == kind


def test_flags_of_this_cpu():
    if not os.path.exists("/proc/cpuinfo") or device.platform.machine() != "x86_64":
        pytest.skip("no x86-64 under Linux")
    assert "sse2" in device.cpu_flags()


@pytest.mark.parametrize(
    ("method", "settings", "found", "name", "warned"),
    [
        ("ConvDEC-DA", {"precision": "bfloat16"}, VNNI, None, True),
        ("ConvDEC-DA", {"precision": "bfloat16"}, set(), None, True),
        ("ConvDEC-DA", {"precision": "bfloat16"}, BF16, None, False),
        ("ConvDEC-DA", {"precision": "bfloat16"}, AMX, None, False),
        ("ConvDEC-DA", {"precision": "bfloat16"}, VNNI, "Tesla T4", False),
        ("ConvDEC-DA", {}, VNNI, None, False),
        ("k-means", {}, VNNI, None, False),
    ],
)
def test_bfloat16_is_warned_of_without_units_for_it(flags, method, settings, found, name, warned):
    flags(found)
    config = dataclasses.replace(preset(method), **settings)
    line = device.slow_precision(config, {"device": name or device.cpu_name()})
    assert (line is not None) == warned
    if warned:
        assert "\n" not in line and "bfloat16" in line and "avx512_bf16" in line


THREADS = """
import os
from common import device
import numpy
device.limit_threads(1)
import {} as later, threadpoolctl
for pool in threadpoolctl.threadpool_info(): print(pool["num_threads"])
"""


def test_threads_bound_the_libraries_loaded_before_and_after(root):
    counts = python(THREADS.format("sklearn"), root)  # which brings SciPy and OpenMP
    assert len(counts) >= 2 and set(counts) == {"1"}
    users = python(THREADS.format("scipy.linalg"), root, OMP_NUM_THREADS="2")
    assert "2" in users  # the user's holds


def test_a_baselines_row_tells_the_cpu_and_one_thread(flags):
    flags(AVX2)
    args = SimpleNamespace(method="k-means", device=None, threads=8)
    found = device.environment_of(preset("k-means"), args)
    assert found == {"device": device.cpu_name(), "threads": 1, "cpu": "avx2"}


def test_a_sweeps_processes_are_told_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert device.limited(3)["OMP_NUM_THREADS"] == "3"
