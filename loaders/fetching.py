"""The files of data sets by name: where they are looked for, and how they are downloaded."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pooch
import requests
from urllib3.exceptions import MaxRetryError

from common import paths
from common.errors import UserError
from loaders.readers import one_line
from loaders.sources import SOURCES

ENVIRONMENT = "DEEP_CLUSTERING_DATA"
REPOSITORY = Path(paths.ROOT, "data")
_TIMEOUT = 20  # seconds without an answer
_RETRIES = 2  # of one file, as long as the download begins; after 1 and 2 seconds


def _cache():
    return Path(pooch.os_cache("deep-clustering"))


def existing_folder(value: str | os.PathLike, origin: str) -> Path:
    folder = Path(value).expanduser()
    if not os.path.isdir(folder):
        raise UserError(f"{origin} {str(value)!r}: no such folder, expected one with data files")
    return folder


def _places(data_dir):
    """Yield the folders to look in with their origins, in order; the first two must exist."""
    if data_dir is not None:
        yield existing_folder(data_dir, "data folder"), "given"
    if os.environ.get(ENVIRONMENT):
        yield existing_folder(os.environ[ENVIRONMENT], ENVIRONMENT), ENVIRONMENT
    yield REPOSITORY, "the repository's"
    yield _cache(), "the user's cache"


class _Downloader(pooch.HTTPDownloader):
    """pooch's, which tries again after any failure, but for those that another try cannot mend.

    Another try is made of a download that began and broke off; of one whose checksum is wrong pooch
    makes one itself.
    """

    def __call__(self, url, output_file, owner, check_only=False):
        try:
            return super().__call__(url, output_file, owner, check_only)
        except requests.RequestException as error:
            never_connected = error.args and isinstance(error.args[0], MaxRetryError)
            broke_off = requests.exceptions.ChunkedEncodingError, requests.ReadTimeout
            if isinstance(error, (requests.ConnectionError, *broke_off)) and not never_connected:
                raise
            raise OSError(str(error)) from error


def _fetch(name: str, address: str, checksum: str) -> Path:
    """Return the path of a file in the user's cache, downloaded unless it lies there intact.

    It has a temporary name until its checksum is right, so a partial file is never taken for it.
    """
    pooch.get_logger().setLevel("WARNING")  # the progress bar says enough
    cache = pooch.create(
        _cache(), "", registry={name: checksum}, urls={name: address}, retry_if_failed=_RETRIES
    )
    downloader = _Downloader(progressbar=True, chunk_size=2**16, timeout=_TIMEOUT)
    return Path(cache.fetch(name, downloader=downloader))


def _had(name, checksum, data_dir):
    """Return the path of an intact file in one of the folders, by its name or the last part of it.

    None if there is none outside the user's cache, which `_fetch` knows.
    """
    for folder, _ in _places(data_dir):
        for path in (folder / name, folder / Path(name).name):
            if folder == _cache() or not os.path.isfile(path):
                continue
            algorithm, expected = checksum.split(":")
            found = pooch.file_hash(path, algorithm)
            if found != expected:
                raise UserError(
                    f"{path}: {algorithm} {found[:12]}... found, {expected[:12]}... expected "
                    "(truncated?)"
                )
            return path
    return None


def _made(source, data_dir):
    """Return the paths of what a source makes of its downloads, in the user's cache."""
    downloads = [
        _had(file, checksum, data_dir) or _fetch(file, address, checksum)
        for file, (address, checksum) in source.downloads.items()
    ]
    _cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_cache()) as folder:  # so that no partial file is kept
        source.make(downloads, Path(folder))
        for name in source.own:
            (_cache() / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(folder, name), _cache() / name)
    return [_cache() / name for name in source.own]


def _absent(name, looked, faults, reason):
    """Return the error for data found nowhere; the only message of several lines."""
    source = SOURCES[name]
    return UserError(
        f"dataset {name!r} not found and {reason}; looked in\n"
        + "".join(f"  {folder} ({origin})\n" for folder, origin in looked)
        + "".join(f"not usable: {fault}\n" for fault in faults)
        + "expected, in one of these folders or in the one given by --data-dir, any one of\n"
        + "".join(f"  {' + '.join(names)}\n" for names in source.layouts)
        + (f"  {' + '.join(source.downloads)}, to make it of\n" if source.make else "")
        + "public source\n"
        + "".join(f"  {address}\n" for address, _ in source.downloads.values())
        + (f"  {source.origin}\n" if source.origin else "")
        + f"licence: {source.licence}"
    )


def load_files(
    name: str, data_dir: str | os.PathLike | None, download: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) from the first folder that has the files, else download them."""
    source, looked, faults = SOURCES[name], [], []
    for folder, origin in _places(data_dir):
        looked.append((folder, origin))
        for names in source.layouts:
            found = [file for file in names if os.path.isfile(folder / file)]
            if len(found) < len(names):
                lacking = ", ".join(file for file in names if file not in found)
                faults += [f"{folder} has {', '.join(found)}, not {lacking}"] if found else []
                continue
            try:
                return source.read([folder / file for file in names])
            except UserError as error:
                if not (download and folder == _cache() and names == source.own):
                    raise
                faults.append(str(error))  # our own download, gone bad: fetch it again
    if not download:
        raise _absent(name, looked, faults, "downloading is off")
    if not source.downloads:
        raise _absent(name, looked, faults, "it cannot be downloaded")
    try:
        if source.make:
            paths = _made(source, data_dir)
        else:
            paths = [_fetch(file, *where) for file, where in source.downloads.items()]
    except UserError:  # is a ValueError too
        raise
    except (OSError, ValueError) as error:
        root = error
        while root.__context__:  # "name resolution" says more than "max retries"
            root = root.__context__
        raise _absent(name, looked, faults, f"downloading failed ({one_line(root)})") from error
    return source.read(paths)
