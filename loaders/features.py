"""ResNet-50 features of colour images: extracted once into an .npz file, then only read.

The network has its ImageNet weights and no top: an image is resized to 224x224, preprocessed as
those weights expect, and the last feature map is averaged over its positions. TensorFlow and Keras
are imported only where features are extracted.

Letters: n samples, h rows, w columns.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import device
from common import paths as checkout
from common.errors import UserError
from loaders.arrays import open_numpy
from loaders.readers import as_labels, check_rows, check_values

CHILD = ("-m", "loaders.features")  # Python's arguments that run this module by itself
SIDE = 224
WIDTH = 2048
WEIGHTS = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{WEIGHTS}"
WEIGHTS_CHECKSUM = "md5:4d473c1dd8becc155b73f8504c6f6626"


def made_from(images: str) -> str:
    """Return the line that a file of features carries, given the checksum of its images' file."""
    return f"images {images}, {WEIGHTS_CHECKSUM} weights, {SIDE}x{SIDE} bilinear, average pool"


def extract(images: np.ndarray, weights: str | Path, batch: int = 64) -> np.ndarray:
    """Return the features (n, 2048), float32, of images uint8 (n, h, w, 3).

    `weights` is a Keras file of the network without top.
    """
    import keras
    from keras.applications.resnet50 import ResNet50, preprocess_input
    from tqdm import tqdm

    network = ResNet50(False, str(weights), input_shape=(SIDE, SIDE, 3), pooling="avg")
    x = np.empty((len(images), WIDTH), np.float32)
    with tqdm(total=len(images), unit=" images", desc="ResNet-50 features") as bar:
        for i in range(0, len(images), batch):
            part = images[i : i + batch].astype(np.float32)  # (b, h, w, 3)
            part = keras.ops.image.resize(part, (SIDE, SIDE), interpolation="bilinear")
            x[i : i + batch] = network.predict_on_batch(preprocess_input(part))
            bar.update(len(part))
    return x


def make(
    read_images: Callable[[Path], tuple[np.ndarray, np.ndarray]],
    name: str,
    images: str,
    paths: list[Path],
    folder: Path,
) -> None:
    """Extract the features of a data set into folder/name/features.npz; UserError if that fails.

    `read_images` returns (images uint8 (n, h, w, 3), labels (n,)) of a file with the checksum
    `images`; `paths` are that file and the one of the weights.
    """
    pixels, y = read_images(paths[0])
    np.save(folder / "pixels.npy", pixels)
    # In a process of its own: once TensorFlow has computed here, main.py could not set it up.
    child = os.environ | {"PYTHONPATH": checkout.ROOT}
    files = [folder / "pixels.npy", paths[1], folder / "x.npy"]
    command = [sys.executable, *CHILD, *files]
    done = subprocess.run(command, env=child, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{paths[0]}: no ResNet-50 features made of it: {_reason(done)}")
    (folder / name).mkdir()
    x = np.load(folder / "x.npy")
    np.savez(folder / name / "features.npz", x=x, y=y, made_from=made_from(images))


def _reason(done):
    """Return in one line why the process that extracts features failed."""
    if done.returncode == -signal.SIGKILL:
        return "its process was killed by SIGKILL, as a machine short of memory does"
    if done.returncode < 0:
        return f"its process was killed by {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.returncode}"


def read(n: int, classes: int, images: str, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) of a file of features: x (n, 2048) as it comes, y in 0 .. classes - 1.

    A file that says what it was made from must say what `make` would; others are taken as they
    are.
    """
    path = paths[0]
    with open_numpy(path) as stored:
        names = getattr(stored, "files", ())
        if not {"x", "y"} <= set(names):
            raise UserError(f"{path}: holds the arrays {sorted(names)}, expected x and y")
        x, y = stored["x"], stored["y"]
        origin = str(stored["made_from"]) if "made_from" in names else made_from(images)
    if origin != made_from(images):
        raise UserError(f"{path}: made from {origin!r}, expected {made_from(images)!r}")
    check_values(path, x)
    check_rows(path, len(x), n)
    if x.shape != (n, WIDTH):
        raise UserError(f"{path}: x has shape {x.shape}, expected {(n, WIDTH)}")
    y = as_labels(path, y, n)
    if y.max() != classes - 1:
        raise UserError(f"{path}: {y.max() + 1} classes, expected {classes}")
    return x.astype(np.float32, copy=False), y


def _main(pixels, weights, x):
    """Write the features of the images in one .npy file to another; return the exit status.

    What went wrong is the last line on stdout, for `make`.
    """
    try:
        np.save(x, extract(np.load(pixels), weights))
    except (OSError, ValueError, MemoryError, ImportError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1
    return 0


if __name__ == "__main__":
    device.prepare()
    sys.exit(_main(*sys.argv[1:]))
