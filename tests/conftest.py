"""What all tests share: the import path, TensorFlow's settings, a small set of images."""

import contextlib
import gc
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from common import device  # noqa: E402

device.prepare()  # before anything imports TensorFlow


# The files that take longest, longest first.
LONGEST = (
    "test_estimators",
    "test_run_exp",
    "test_resume",
    "test_bits",
    "test_models",
    "test_kingdra",
    "test_main",
    "test_dscdan",
)


def pytest_collection_modifyitems(items):
    """Put the longest files first, so that no worker begins one when the other has ended."""
    places = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish():
    """Set TensorFlow up between its import and its first operation, if any test imports it."""
    if "tensorflow" in sys.modules:
        tf = sys.modules["tensorflow"]
        tf.get_logger().setLevel("ERROR")
        tf.config.threading.set_intra_op_parallelism_threads(1)  # pytest runs a worker a core
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
        # Graphs of a few steps are not worth optimizing: without it the tests take half the time.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    # Tracing makes many small objects: looking through all modules' own each time takes a fifth.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@contextlib.contextmanager
def uncompiled():
    """Run uncompiled what is within."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager():
    """Run uncompiled: of use where a test looks inside a step, or makes few of them."""
    with uncompiled():
        yield


@pytest.fixture(scope="session")
def root():
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def forks():
    """The context of new processes, forked off a server that has imported TensorFlow once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "main",
            "experiments.runs",
            "experiments.run_figure",
            "models.dec",
            "sklearn.manifold",
            "matplotlib.figure",
            "matplotlib.backends.backend_agg",
            "tqdm",
            "pytest",
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        folders = sorted({str(path.parent) for path in Path(__file__).parent.rglob("test_*.py")})
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *folders]))
        patch.setenv("OMP_NUM_THREADS", "1")  # k-means and t-SNE of small data wait for each other
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


def _python(code, words, errors):
    """Be `python -c CODE WORDS`, with errors to a file."""
    os.chdir("/")
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})


@pytest.fixture
def new_process(forks, tmp_path):
    """Run Python code with words in a new process, which must end well."""

    def run(code, *words):
        errors = tmp_path / "errors of the new process"
        process = forks.Process(target=_python, args=(code, list(map(str, words)), str(errors)))
        process.daemon = True
        process.start()
        process.join(900)
        assert process.exitcode == 0, errors.read_text()

    return run


@pytest.fixture(scope="session")
def digits():
    """200 handwritten digits, float32 (200, 8, 8, 1) in [0, 1]."""
    from sklearn.datasets import load_digits

    x = (load_digits().images[:200, :, :, None] / 16.0).astype(np.float32)
    x.flags.writeable = False
    return x


@contextlib.contextmanager
def user_error(*words):
    """Expect a UserError of one line that has all the words."""
    from common.errors import UserError

    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


@pytest.fixture
def nowhere(request, monkeypatch, tmp_path):
    """Hide the machine's own data and cache, and the network, from a test."""
    from loaders import fetching

    monkeypatch.delenv("DEEP_CLUSTERING_DATA", raising=False)
    monkeypatch.setattr(fetching, "REPOSITORY", tmp_path / "repository" / "data")
    monkeypatch.setattr(fetching, "_cache", lambda: tmp_path / "cache")
    if "server" not in request.fixturenames:

        def offline(*args, **kwargs):
            raise requests.ConnectionError("no network in tests")

        monkeypatch.setattr(requests, "get", offline)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; a test that needs it is skipped where there is none."""
    shared = ROOT.parent / "shared" / "data"
    folder = os.environ.get("DEEP_CLUSTERING_DATA") or (shared if shared.is_dir() else None)
    if folder is None:
        pytest.skip("real data sets not found: set DEEP_CLUSTERING_DATA")
    return folder
