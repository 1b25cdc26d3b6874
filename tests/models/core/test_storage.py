import errno
import json
import os
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from common import files, locks
from common.errors import UserError, disk_line
from common.files import load_arrays, remove_leftovers, replacing, save_arrays, save_json
from common.locks import is_locked, locked, try_lock

ARRAYS = {
    "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
    "group/one": np.array([1, 2], np.int64),
    "group/sub/two": np.float64(0.1),
    "flag": np.bool_(True),
    "empty": np.zeros((0, 4), np.float32),
}
ABOUT = {"kind": "test", "list": [1, 2.5, None], "text": "größer", "nested": {"a": True}}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "arrays.h5"
    save_arrays(path, ARRAYS, ABOUT)
    return path


def test_round_trip(file):
    arrays, about = load_arrays(file)
    assert about == ABOUT
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        got = np.asarray(arrays[name])
        assert got.dtype == array.dtype and got.shape == array.shape, name
        assert (got == array).all(), name


def test_second_save_replaces_the_first(file):
    save_arrays(file, {"other": np.ones(3)}, {"kind": "new"})
    arrays, about = load_arrays(str(file))
    assert list(arrays) == ["other"] and about == {"kind": "new"}
    assert os.listdir(file.parent) == [file.name]


class Stop(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("error", [ValueError, OSError, Stop])
def test_interrupted_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        with open(temporary, "w") as f:
            f.write("half of the n")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_failed_save_leaves_the_old_arrays(file):
    with pytest.raises(TypeError):
        save_arrays(file, {"bad": np.array([object()])}, {})
    with pytest.raises(TypeError):
        save_arrays(file, {}, {"bad": object()})
    assert load_arrays(file)[1] == ABOUT
    assert os.listdir(file.parent) == [file.name]


def test_json_round_trip_and_failure(tmp_path):
    path = tmp_path / "a.json"
    save_json(path, ABOUT)
    assert json.loads(path.read_text(encoding="utf-8")) == ABOUT
    with pytest.raises(TypeError):
        save_json(path, {"bad": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == ABOUT
    assert os.listdir(tmp_path) == ["a.json"]


def refused(path):
    """Load a bad file; return the message, which must be one line that names the file."""
    with pytest.raises(UserError) as caught:
        load_arrays(path)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


def test_missing_file_and_folder(tmp_path):
    assert "no weights file" in refused(tmp_path / "absent.h5")
    refused(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.99])
def test_truncated(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert "cannot read" in refused(file)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00" * 4000, b"PK\x03\x04" + b"x" * 99])
def test_garbage(tmp_path, content):
    path = tmp_path / "garbage.h5"
    path.write_bytes(content)
    assert "cannot read" in refused(path)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"format": "deep-clustering-0"},
        {"format": np.arange(3)},
        {"format": 1},
        {"format": "deep-clustering-1"},
        {"format": "deep-clustering-1", "about": "{not json"},
    ],
    ids=str,
)
def test_foreign_hdf5(tmp_path, attributes):
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as f:
        f["kernel"] = np.ones(3)
        f.attrs.update(attributes)
    refused(path)


def test_one_flipped_byte_is_never_a_traceback(file):
    """A damaged file is refused or, where nothing of use changed, read as it was."""
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for place in rng.integers(0, len(data), size=150):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            arrays, about = load_arrays(file)
            outcomes.add("read")
        except UserError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
        else:
            assert about == ABOUT and set(arrays) == set(ARRAYS)
            assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert "refused" in outcomes


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    keep = ["a.json", ".hidden", ".b.tmp.json", ".a.json.lock"]
    for name in [*keep, ".a.json.x1.tmp", ".b.json.x2.tmp"]:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, "a.json")
    assert sorted(os.listdir(tmp_path)) == sorted([*keep, ".b.json.x2.tmp"])
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "c.json") as temporary:
        shutil.copy(temporary, f"{temporary[:-4]}left.tmp")  # as a kill leaves it
        raise ZeroDivisionError
    assert len(os.listdir(tmp_path)) == len(keep) + 2
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(keep)


@pytest.mark.parametrize("moment", ["write", "sync", "create"])
def test_a_full_disk_leaves_the_old_file_and_names_it(file, monkeypatch, moment):
    before = os.listdir(file.parent)

    def full(*args, **others):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = {
        "write": (files, "open"),
        "sync": (os, "fsync"),
        "create": (files.tempfile, "mkstemp"),
    }[moment]
    monkeypatch.setattr(*place, full, raising=False)
    with pytest.raises(OSError) as info:
        save_arrays(file, {"other": np.ones(3)}, {})
    monkeypatch.undo()
    assert disk_line(info.value).startswith(f"cannot write {str(file)!r}: No space left on device")
    assert load_arrays(file)[1] == ABOUT and os.listdir(file.parent) == before


def test_a_file_without_permission_may_be_one_to_read(file):
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    assert disk_line(error).startswith(f"cannot read or write {str(file)!r}: Permission denied")


def test_a_file_without_a_checksum_is_read(file):
    """As earlier versions wrote it."""
    with h5py.File(file, "a") as f:
        del f.attrs["sha256"]
    assert load_arrays(file)[1] == ABOUT


HOLDER = """
import sys
sys.path.insert(0, sys.argv[2])
from common.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["release", "kill"])
def test_lock_excludes_another_process(tmp_path, root, end):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    events = []

    def waiting():
        assert is_locked(path)
        events.append(("waiting", holder.poll()))  # None: the holder still lives
        if end == "kill":
            holder.kill()
        else:
            holder.stdin.close()

    try:
        assert holder.stdout.readline() == "held\n"
        with locked(path, waiting):
            events.append("held")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stdin.close()
    assert events == [("waiting", None), "held"]


ASKER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from common.locks import is_locked
seen = 0
print("asking", flush=True)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    for _ in range(100):
        seen += is_locked(sys.argv[1])
print(seen)
"""


def ask(path, root, seconds):
    """Start a process that asks about a lock in a tight loop, and prints how often it was held."""
    process = subprocess.Popen(
        [sys.executable, "-c", ASKER, str(path), str(root), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "asking\n"
    return process


def test_who_asks_about_a_lock_never_keeps_another_from_it(tmp_path, root):
    path = tmp_path / "lock"
    path.touch()
    asker = ask(path, root, 2)
    tries = 0
    try:
        while asker.poll() is None:
            for _ in range(50):
                file = try_lock(path)
                assert file is not None, f"refused at try {tries}"
                file.close()
                tries += 1
    finally:
        asker.kill()
        asker.wait()
        asker.stdout.close()
    assert tries >= 1000


def test_who_asks_about_a_lock_does_not_take_another_that_asks_for_its_holder(tmp_path, root):
    path = tmp_path / "lock"
    path.touch()
    askers = [ask(path, root, 1) for _ in range(2)]
    assert [asker.communicate()[0] for asker in askers] == ["0\n", "0\n"]


def test_a_lock_that_is_held_is_refused_after_some_patience(tmp_path):
    with try_lock(tmp_path / "lock"):
        begin = time.monotonic()
        assert try_lock(tmp_path / "lock") is None and is_locked(tmp_path / "lock")
        assert locks.PATIENCE <= time.monotonic() - begin < 10
    assert not is_locked(tmp_path / "lock")


def test_free_lock_does_not_wait(tmp_path):
    calls = []
    assert not is_locked(tmp_path / "lock") and not (tmp_path / "lock").exists()
    for _ in range(2):
        with locked(tmp_path / "lock", lambda: calls.append("waiting")):
            pass
    assert calls == []


def test_lock_is_freed_by_an_exception(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock", lambda: pytest.fail("still held")):
        pass
