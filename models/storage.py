"""Arrays with a description, in HDF5 files that are either whole or not there; and a file lock."""

import contextlib
import fcntl
import json
import os
import tempfile

import h5py
import numpy as np

from errors import UserError

FORMAT = "deep-clustering-1"


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary name beside `path`; move it over `path` if the block ends well.

    Whoever reads `path` sees the old content or the new, also after a power cut.
    """
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def save_arrays(path, arrays, about):
    """Write {name: array} and the plain data `about`; names may hold "/"."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["about"] = json.dumps(about, sort_keys=True)
        for name, array in arrays.items():
            file[name] = np.asarray(array)


def load_arrays(path):
    """Read what `save_arrays` wrote.

    Returns
    -------
    (arrays, about) : dict of name -> array, plain data

    Raises
    ------
    UserError
        If the file is missing, damaged, or not one of ours.
    """
    if not os.path.isfile(path):
        raise UserError(f"no weights file at {str(path)!r}")
    arrays = {}
    try:
        with h5py.File(path, "r") as file:
            if not np.array_equal(file.attrs.get("format"), FORMAT):
                raise UserError(
                    f"{str(path)!r} is not a weights file of this project: expected one that "
                    "main.py wrote (ae_weights.h5, model_final.h5)"
                )
            about = json.loads(file.attrs["about"])
            if not isinstance(about, dict):
                raise KeyError("about")

            def read(name, item):
                if isinstance(item, h5py.Dataset):
                    arrays[name] = item[()]

            file.visititems(read)
    except (OSError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        raise UserError(
            f"cannot read {str(path)!r} as an HDF5 weights file: damaged, truncated or another "
            f"format ({str(error).splitlines()[0]})"
        ) from error
    return arrays, about


def save_json(path, data):
    """Write plain data as indented JSON, atomically."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.write("\n")


@contextlib.contextmanager
def locked(path, waiting=None):
    """Hold an exclusive lock on the file `path`; the kernel frees it when its holder dies.

    `waiting` is called once, without arguments, if another process holds the lock.
    """
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
