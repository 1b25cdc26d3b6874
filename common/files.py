"""Files that are either whole or not there: arrays with a description (HDF5), and JSON."""

import contextlib
import glob
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator

import h5py
import numpy as np

from common.errors import UserError

FORMAT = "deep-clustering-1"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Yield a temporary name beside `path`; move it over `path` if the block ends well.

    A reader of `path` sees the old content or the new, also after a power cut. An OSError, of a
    full disk for example, names `path`.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{str(path)!r} is no regular file: expected the name of one")
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".tmp")
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
    except OSError as error:
        error.filename = str(path)
        raise


def remove(folder: str | os.PathLike, patterns: Iterable[str]) -> None:
    """Remove a folder's files of these names, which may have wildcards."""
    for pattern in patterns:
        for path in glob.glob(os.path.join(glob.escape(str(folder)), pattern)):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def remove_leftovers(folder: str | os.PathLike, name: str = "*") -> None:
    """Remove the temporary files that killed writers of a folder's file `name` left behind.

    Only for the holder of the lock under which that file is written.
    """
    remove(folder, [f".{name}*.tmp"])


def write_bytes(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write a file, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


def save_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> None:
    """Write {name: array} and the plain data `about`; names may hold "/".

    HDF5 writes to memory: of a full disk it makes errors at odd moments, of which some end the
    process.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["about"] = json.dumps(about, sort_keys=True)
        for name, array in arrays.items():
            file[name] = np.asarray(array)
        file.attrs["sha256"] = _checksum(arrays, about)
    write_bytes(path, image.getbuffer())


def _checksum(arrays, about):
    """Return the SHA-256 of arrays and their description: HDF5 itself misses changed bits."""
    h = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays, key=str):
        array = np.asarray(arrays[name])
        h.update(f"{name} {array.dtype.str} {array.shape}".encode())
        h.update(array.tobytes())
    return h.hexdigest()


def load_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """Return ({name: array}, about) as `save_arrays` wrote them.

    UserError if the file is missing, damaged, or not one of ours.
    """
    if not os.path.isfile(path):
        raise UserError(f"no weights file at {str(path)!r}")
    try:
        with h5py.File(path, "r") as file:
            if not np.array_equal(file.attrs.get("format"), FORMAT):
                raise UserError(
                    f"{str(path)!r} is not a weights file of this project: expected one that "
                    "main.py wrote (ae_weights.h5, model_final.h5)"
                )
            checksum = file.attrs.get("sha256")
            about = json.loads(file.attrs["about"])
            if not isinstance(about, dict):
                raise KeyError("about")
            items = {}
            file.visititems(items.__setitem__)
            arrays = {n: item[()] for n, item in items.items() if isinstance(item, h5py.Dataset)}
        if checksum is not None and checksum != _checksum(arrays, about):
            raise KeyError("wrong checksum")
    except UserError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot read {str(path)!r} as an HDF5 weights file: damaged, truncated or another "
            f"format ({reason})"
        ) from error
    return arrays, about


def save_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write one array as an .npy file, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)


def save_json(path: str | os.PathLike, data: object) -> None:
    """Write plain data as indented JSON, atomically."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.write("\n")
