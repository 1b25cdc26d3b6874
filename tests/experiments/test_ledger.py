"""The ledger: no row lost, none twice, no file half written; and the published numbers."""

import csv
import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from common import files
from common.errors import UserError
from datasets import DATASETS, PROBLEMS
from experiments import ledger, published, rendering, results_page
from experiments.ledger import COLUMNS, merge, read_rows, update
from experiments.published import read_paper, tables, verdict
from models import METHODS

ROOT = Path(__file__).resolve().parents[2]


def record(method="FcDEC", dataset="usps", seed=0, **others):
    """A run's result.json, on the samples and with the number of classes that papers have."""
    k, data_hash = PROBLEMS.get(dataset, (10, "d0"))
    return {
        "method": method,
        "dataset": dataset,
        "seed": seed,
        "status": "ok",
        "acc": 0.9,
        "k": k,
        "nmi": 0.8,
        "config_hash": "c0",
        "data_hash": data_hash or "d0",
        "source": "named",
        "finished": "2025-01-01T00:00:00+00:00",
    } | others


def put(folder, name, result):
    """Write a run folder's result.json: plain data, or bytes as they are."""
    path = Path(folder) / name / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(result if isinstance(result, bytes) else json.dumps(result).encode())


@pytest.fixture(scope="module")
def paper():
    return read_paper()


# ---- Rows -------------------------------------------------------------------------------------


def test_merge_keeps_one_row_a_run():
    early = record(acc=0.1, finished="2025-01-01T10:00:00Z")
    late = record(acc=0.2, finished="2025-01-01T12:30:00+02:00")  # 10:30 in UTC
    failed = record(status="failed", reason="NaN", acc=None, finished="2026-01-01T00:00:00Z")
    for rows in ([early, late, failed], [failed, late, early], [late, early, early, failed]):
        (row,) = merge(rows)
        assert row["acc"] == "0.2"
    (row,) = merge([failed], [record(status="failed", finished="")])
    assert row["reason"] == "NaN"
    (row,) = merge([failed], [early])
    assert row["status"] == "ok"


@pytest.mark.parametrize("name", ledger.KEY)
def test_merge_keeps_what_differs_in_one_part_of_the_key(name):
    other = record(**{name: 7 if name in ("seed", "k") else "other"})
    assert len(merge([record()], [other], [record(), other])) == 2


def test_columns_of_a_users_own_stay_with_their_run():
    first, note = record(finished="2025-01-01T10:00:00Z"), {"note of mine": "good"}
    for rows in ([first | note, first], [first, first | note]):
        (row,) = merge(rows)
        assert row["note of mine"] == "good" and row["acc"] == "0.9"
    later = record(finished="2025-01-02T10:00:00Z")  # another run's
    (row,) = merge([first | note, later])
    assert row.get("note of mine", "") == ""
    failed = first | {"status": "failed", "acc": None} | note
    (row,) = merge([failed, first])
    assert row["status"] == "ok" and row.get("note of mine", "") == ""


def test_merge_order_does_not_depend_on_the_order_given():
    rows = [
        record(m, d, seed=s, overrides=o, config_hash=f"c{o}")
        for m in ("FcDEC", "ConvDEC")
        for d in ("usps", "mnist")
        for s in (10, 9, -1)
        for o in ("", "tol=0.1")
    ]
    ordered = merge(rows)
    keys = [(r["dataset"], r["method"], r["overrides"], int(r["seed"])) for r in ordered]
    assert keys == sorted(keys) and len(keys) == 24
    for _ in range(5):
        random.Random(0).shuffle(rows)
        assert merge(rows) == ordered == merge(ordered)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "done"},
        {"status": None},
        {"seed": "x"},
        {"method": ""},
        {"acc": 98.5},
        {"acc": "nan"},
        {"ari": -1.5},
        {"finished": "yesterday"},
        {"seconds_total": "a"},
        {"": 1},
    ],
)
def test_as_row_refuses(wrong):
    with pytest.raises(ValueError):
        ledger.as_row(record() | wrong)


def test_update_and_read_back(tmp_path):
    path, runs = tmp_path / "results.csv", tmp_path / "runs"
    acc = 0.1 + 0.2  # 0.30000000000000004: not a digit may change
    reason = 'a "quoted", two\nlines\ttab \u2028 é'
    put(runs, "a", record(acc=acc, aug_cluster=True, threads=2, nmi=float("nan")))
    put(runs, "b/c", record(seed=1, status="failed", reason=reason, zeta=[1, 2], alpha={"b": 1}))
    rows, warnings = update(path, runs)
    assert warnings == [] and len(rows) == 2 and rows == read_rows(path) == merge(rows)

    table = pd.read_csv(path)
    assert list(table.columns) == [*COLUMNS, "alpha", "zeta"]
    assert table.acc[0] == acc and bool(table.aug_cluster[0]) is True and pd.isna(table.nmi[0])
    assert table.reason[1] == 'a "quoted", two lines tab é' and table.zeta[1] == "[1, 2]"
    assert table.seed.dtype.kind == "i" and table.seconds_total.isna().all()

    before = path.stat()
    update(path, runs)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_update_keeps_rows_and_columns_made_elsewhere(tmp_path):
    path, runs = tmp_path / "results.csv", tmp_path / "runs"
    path.write_text(
        "seed,method,dataset,status,gpu_name,acc\r\n3,FcDEC,usps,ok,H100,0.5\r\n\r\n",
        encoding="utf-8-sig",
    )
    put(runs, "a", record())
    rows, _ = update(path, runs)
    assert [(r["seed"], r["acc"], r.get("gpu_name", "")) for r in rows] == [
        ("0", "0.9", ""),
        ("3", "0.5", "H100"),
    ]
    assert [r.get("gpu_name") for r in read_rows(path)] == [None, "H100"]
    rows, warnings = update(path, tmp_path / "absent")
    assert len(rows) == 2 and "absent" in warnings[0]


def test_first_update_without_runs_writes_a_header(tmp_path):
    update(tmp_path / "new" / "results.csv", tmp_path)
    table = pd.read_csv(tmp_path / "new" / "results.csv")
    assert list(table.columns) == COLUMNS and table.empty
    assert read_rows(tmp_path / "new" / "results.csv") == [] == read_rows(tmp_path / "none.csv")


def test_damaged_results_are_left_out_with_a_warning(tmp_path):
    whole = json.dumps(record()).encode()
    damaged = {
        "cut": whole[:-9],
        "empty": b"",
        "list": b"[1]",
        "bytes": b"\xff\xfe\x00",
        "deep": b"[" * 10**5,
        "percent": json.dumps(record(acc=98.5)).encode(),
        "no-seed": b'{"method": "FcDEC"}',
    }
    for name, content in damaged.items():
        put(tmp_path, name, content)
    (tmp_path / "folder" / "result.json").mkdir(parents=True)
    put(tmp_path, "good", whole)
    rows, warnings = ledger.folders(tmp_path)
    assert [row["seed"] for row in rows.values()] == ["0"]
    assert len(warnings) == 8
    assert all(any(name in warning for warning in warnings) for name in [*damaged, "folder"])


def test_damaged_csv_is_named_and_left_alone(tmp_path):
    path, runs = tmp_path / "results.csv", tmp_path / "runs"
    for seed in range(3):
        put(runs, f"r{seed}", record(seed=seed, command='main.py --a "b, c"', reason='"'))
    update(path, runs)
    put(runs, "r3", record(seed=3))
    whole = path.read_bytes()
    lines = whole.split(b"\n")
    header = lines[0] + b"\n"
    damaged = {
        "line 4": [whole[:cut] for cut in range(len(b"\n".join(lines[:3])) + 2, len(whole))],
        "line 3": [
            b"\n".join([*lines[:2], lines[2][:60], *lines[3:]]),  # cut, others whole
            whole.replace(lines[2], lines[2].replace(b"0.9", b"90 %")),
            whole.replace(lines[2], b"<<<<<<< HEAD"),
            whole.replace(lines[2], b"\xff" + lines[2]),
            whole.replace(lines[2], b"\x00" * 200),
        ],
        "line 1": [
            b"",
            b"\n",
            header[:-1],
            b"method,acc\n",
            header.replace(b"acc", b"seed", 1),
            b"," + header,
            b"\x89PNG\n\n",
        ],
    }
    for line, contents in damaged.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(UserError, match=r"results\.csv, line \d") as error:
                update(path, runs)
            if content != b"\n":
                assert line in str(error.value)
            assert path.read_bytes() == content and "\n" not in str(error.value)
    path.write_bytes(whole)
    assert len(update(path, runs)[0]) == 4


def _full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


class _FullFile:
    """A file on a disk that fills up after 100 bytes."""

    def __init__(self, path, mode):
        self.file = open(path, mode)  # noqa: SIM115

    def write(self, data):
        self.file.write(data[:100])
        self.file.flush()
        _full()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize("where", ["replace", "fsync", "write", "mkstemp"])
def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch, where):
    path, runs = tmp_path / "results.csv", tmp_path / "runs"
    put(runs, "a", record())
    update(path, runs)
    whole = path.read_bytes()
    put(runs, "b", record(seed=1))
    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(files, "open", _FullFile, raising=False)
        elif where == "mkstemp":
            patch.setattr("tempfile.mkstemp", _full)
        else:
            patch.setattr(os, where, _full)
        with pytest.raises(UserError, match="No space left"):
            update(path, runs)
    assert path.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == [".results.csv.lock", "results.csv", "runs"]
    assert len(update(path, runs)[0]) == 2


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot update"):
        update(tmp_path / "file" / "results.csv", tmp_path)
    with pytest.raises(UserError, match="cannot read"):
        read_rows(tmp_path)


def test_two_processes_at_once_lose_nothing(tmp_path):
    """Each adds one row per call and then forgets its folder: a row lost once is lost for good."""
    script = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from experiments.ledger import update
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
base, other, csv = sys.argv[2:]
open(os.path.join(base, "ready"), "w").close()
while not os.path.exists(os.path.join(other, "ready")):
    time.sleep(0.001)
for number in range(15):
    update(csv, os.path.join(base, str(number)))
"""
    folders, path = [tmp_path / "p0", tmp_path / "p1"], tmp_path / "results.csv"
    for mine, folder in enumerate(folders):
        for number in range(15):
            put(folder, f"{number}/run", record(seed=100 * mine + number))
    commands = [
        [sys.executable, "-c", script, ROOT, *order, path] for order in (folders, folders[::-1])
    ]
    processes = [subprocess.Popen(list(map(str, c)), stderr=subprocess.PIPE) for c in commands]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    seeds = [int(row["seed"]) for row in read_rows(path)]
    assert seeds == [*range(15), *range(100, 115)]
    assert not list(tmp_path.glob(".*.tmp"))


def test_committed_results():
    path = ROOT / "results" / "results.csv"
    if not path.exists():
        pytest.skip("no results yet")
    assert set(COLUMNS) <= set(pd.read_csv(path).columns)
    assert path.read_text(encoding="utf-8") == ledger.csv_text(merge(read_rows(path)))


# ---- The published numbers --------------------------------------------------------------------


def test_paper_columns_and_ranges():
    printed = pd.read_csv(ROOT / "results" / "paper.csv")
    names = "paper table row method variant dataset metric value spread settings also note"
    assert list(printed.columns) == names.split()
    assert printed.value.dtype == printed.spread.dtype == float
    for name in ("paper", "table", "row", "dataset", "metric"):
        assert printed[name].str.fullmatch(r"\S(.*\S)?").all()  # NaN is not
    sets = "mnist mnist-train mnist-test usps fmnist ytf stl10 cifar10 reuters10k reuters 20news"
    assert set(printed.dataset) == set(sets.split())
    assert set(printed.metric) == set(published.SOURCE)
    score = printed.metric.str.endswith(("acc", "nmi"))
    assert printed[score].value.between(0.01, 0.99).all()
    assert printed[score].spread.dropna().between(0, 0.08).all()
    assert printed[~score].value.between(1, 20000).all()
    assert set(printed.variant.dropna()) == {"n/y", "y/n", "y/y"}
    assert set(printed.also.dropna()) <= set(METHODS)
    assert set(printed.method.dropna()) <= set(METHODS)
    key = ["table", "row", "variant", "dataset", "metric"]
    assert not printed.duplicated(key).any()
    with open(ROOT / "results" / "paper.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):  # as printed: no binary noise
            assert len(row["value"]) <= 6 and len(row["spread"]) <= 6


def test_paper_cells_a_table():
    """Rows x data sets x metrics of the layout, minus what is left blank there."""
    counted = pd.read_csv(ROOT / "results" / "paper.csv").table.value_counts().to_dict()
    assert counted == {
        "decda-2": 20 * 8,
        "decda-3": 17 * 8 + 1 + 4 + 2 + 2,  # RCC, CSC, DBC, DAC
        "decda-4": 10 + 5,
        "decda-5": 3 * 8,
        "decda-6": 2 * 2 * 2,
        "aspc-3": 14 * 8 + 4 + 4 + 4 + 4 + 2 + 2,  # RCC, DKM, CSC, ClusterGAN, DBC, DAC
        "aspc-4": 8 * 4,
        "aspc-5": 8 * 8,
        "aspc-6": 3 * 8 + 4 + 4,  # RCC: only NMI; its numbers of clusters
        "aspc-text": 2 + 2 + 2,
        "kingdra-main": 14 * 5,
        "dscdan-3": 15 * 10 - 2 - 6 - 4 - 2 - 4 - 6 - 6,
        "dscdan-4": 5 * 10,
        "dec-2": 6 * 4 - 2,
        "idec-2": 3 * 3 * 2,
        "dcec-1": 3 * 3 * 2,
        "dec-keras-readme": 2 * 5 * 2,
        "gdl-readme": 2 * 4 * 2,
        "hcis-4": 2 + 2 + 2 + 2 + 2 + 2,
    }


SPOTS = """
decda-2          | FcDCN (one stage)   | FcDCN       | n/y | mnist-test | acc     | 0.489  |
decda-2          | FcDCN (one stage)   | FcDCN       | y/n | mnist-test | acc     | 0.921  |
decda-2          | ConvDEC (one stage) | ConvDEC     | y/n | usps       | nmi     | 0.919  |
decda-2          | ConvIDEC            | ConvIDEC    |     | fmnist     | acc     | 0.570  |
decda-3          | ConvDEC-DA          | ConvDEC-DA  |     | usps       | acc     | 0.987  |
decda-3          | ConvDEC-DA          | ConvDEC-DA  |     | usps       | nmi     | 0.962  |
decda-3          | k-means             | k-means     |     | mnist      | acc     | 0.532  |
decda-3          | SC-LS               | SC-LS       |     | usps       | acc     | 0.746  |
decda-3          | IDEC                | IDEC        |     | fmnist     | acc     | 0.529  |
decda-4          | FcDEC-DA            | FcDEC-DA    |     | mnist      | seconds | 1100   |
decda-5          | augmented           | AE+k-means-DA |   | usps       | acc     | 0.936  |
decda-5          | augmented           | AE+k-means-DA |   | mnist-test | acc     | 0.904  |
decda-6          | FcIDEC-DA           | FcIDEC-DA   |     | mnist-train | test_nmi | 0.966  |
aspc-3           | ASPC-DA             | ASPC-DA     |     | fmnist     | acc     | 0.591  | 0.022
aspc-4           | SR-k-means          |             |     | fmnist     | seconds | 4500   |
aspc-5           | DA-S2+ASP           | ASPC        | n/y | usps       | acc     | 0.552  |
aspc-5           | DA-S1+DA-S2         | BasicDC     | y/y | mnist      | nmi     | 0.963  |
aspc-6           | ASPC-DA-GMM         | ASPC-DA-GMM |     | fmnist     | nmi     | 0.675  | 0.014
aspc-6           | ASPC-DA-RCC         | ASPC-DA-RCC |     | mnist      | clusters | 19.6  | 3.9
kingdra-main     | KINGDRA-LADDER-IM   | KINGDRA-LADDER-IM  | | mnist  | acc     | 0.985  | 0.004
kingdra-main     | KINGDRA-LADDER-DOT  | KINGDRA-LADDER-DOT | | mnist  | acc     | 0.980  | 0.0001
kingdra-main     | IMSAT (RPT)         | IMSAT-RPT   |     | reuters10k | acc     | 0.719  | 0.065
kingdra-main     | DEC                 | DEC         |     | mnist      | acc     | 0.843  |
dscdan-3         | DSCDAN              | DSCDAN      |     | usps       | acc     | 0.869  |
dscdan-3         | DSCDAN              | DSCDAN      |     | usps       | nmi     | 0.857  |
dscdan-3         | SpectralNet         | SpectralNet |     | ytf        | acc     | 0.685  |
dscdan-4         | ConvAE+MI+RS        | ConvAE+MI+RS |    | usps       | acc     | 0.831  |
dscdan-4         | ConvAE+MI+RS+SN     | DSCDAN      |     | mnist-test | acc     | 0.980  |
dec-2            | DEC                 |             |     | stl10      | acc     | 0.3590 |
idec-2           | IDEC                | IDEC        |     | reuters10k | nmi     | 0.4981 |
dcec-1           | DEC-conv            |             |     | usps       | acc     | 0.7790 |
dec-keras-readme | AE+k-means          |             |     | stl10      | nmi     | 0.72   |
gdl-readme       | GDL                 | AC-GDL      |     | usps       | acc     | 0.922  |
hcis-4           | SpectralNet         | SpectralNet |     | mnist      | acc     | 0.971  |
"""


@pytest.mark.parametrize("line", SPOTS.strip().splitlines(), ids=lambda line: line[:60])
def test_paper_spot_values(paper, line):
    table, row, method, variant, dataset, metric, value, spread = map(str.strip, line.split("|"))
    p = paper[(paper.table == table) & (paper.row == row) & (paper.variant == variant)]
    (cell,) = p[(p.dataset == dataset) & (p.metric == metric)].itertuples()
    assert cell.value == float(value) and cell.method == method
    assert cell.spread == float(spread) if spread else pd.isna(cell.spread)


def test_paper_notes(paper):
    quoted = paper[paper.note.str.contains("quoted") & (paper.table == "decda-3")]
    assert quoted.groupby("row").size().to_dict() == {
        "RCC": 1,
        "DCN": 2,
        "IDEC": 4,
        "CSC": 4,
        "JULE": 4,
        "DEPICT": 4,
        "DBC": 2,
        "DAC": 2,
    }
    assert (paper[paper.table == "kingdra-main"].note == "image read by eye").all()
    assert paper.note.str.contains('printed "529"').sum() == 1


# ---- Tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "std", "count", "value", "spread", "trials", "expected"),
    [
        (0.980, 0.001, 5, 0.980, None, 5, "met"),
        (0.990, 0.001, 5, 0.980, None, 5, "met"),  # by 0.01, the room that is always given
        (0.9901, 0.001, 5, 0.980, None, 5, "above"),
        (0.9699, 0.001, 5, 0.980, None, 5, "short"),
        (0.970, None, 1, 0.980, None, 5, "met"),  # one seed has no more
        (0.9699, None, 1, 0.980, None, 5, "short"),
        (0.958, None, 1, 0.980, 0.02, 5, "short"),  # sqrt(.02^2 + .02^2 / 5) = .02191
        (0.9581, None, 1, 0.980, 0.02, 5, "met"),
        (0.969, 0.02, 5, 0.980, 0.015, 5, "met"),  # sqrt(.02^2 / 5 + .015^2 / 5) = .01118
        (0.9688, 0.02, 5, 0.980, 0.015, 5, "short"),
        (0.9659, 0.02, 2, 0.980, None, 5, "met"),  # .02 / sqrt(2) = .01414
        (0.9658, 0.02, 2, 0.980, None, 5, "short"),
        (0.9658, 0.09, 2, 0.980, None, 5, "short"),  # a wide spread of ours is no excuse
        (0.9174, 0.0862, 2, 0.980, None, 5, "short"),  # FcDEC-DA's two seeds on USPS
        (0.93, 0.001, 5, 0.98, 0.1, 5, "short"),  # the paper's: .1 / sqrt(5) = .0447
        (0.94, 0.001, 5, 0.98, 0.1, 5, "met"),
        (0.94, 0.001, 5, 0.98, 0.1, 10, "short"),
    ],
)
def test_verdict(mean, std, count, value, spread, trials, expected):
    nan = float("nan")
    std, spread = (nan if number is None else number for number in (std, spread))
    assert verdict(mean, std, count, value, spread, trials) == expected


def test_table_of_made_up_runs(paper):
    rows = [
        *(record("ConvDEC-DA", seed=s, acc=a, nmi=0.97) for s, a in enumerate([0.98, 0.98, 0.986])),
        record(
            "ConvDEC-DA", seed=0, acc=0.999, config_hash="older", finished="2024-01-01T00:00:00Z"
        ),
        record("ConvDEC-DA", seed=3, acc=0.2, overrides="tol=0.01"),
        record("ConvDEC-DA", seed=4, status="failed", acc=None, nmi=None),
        record("FcDEC-DA", seed=5, acc=0.97, nmi=None, device="cpu"),
        record("NotInThePaper", seed=6),
    ]
    table = tables(rows, paper, "decda-3")
    assert table.shape == (21, 4 * 2 * 4)
    assert list(table.index[:3]) == ["k-means", "SC-Ncut", "SC-LS"]
    assert list(table.columns[:5]) == [
        *(("mnist", "acc", field) for field in ("ours", "paper", "difference", "verdict")),
        ("mnist", "nmi", "ours"),
    ]
    ours = table.loc["ConvDEC-DA"]["usps"]
    assert list(ours["acc"]) == ["0.9820 ± 0.0035 (3)", "0.987", "-0.0050", "met"]
    assert list(ours["nmi"]) == ["0.9700 ± 0.0000 (3)", "0.962", "+0.0080", "met"]
    assert list(table.loc["FcDEC-DA"]["usps"]["acc"]) == ["0.9700 (1)", "0.980", "-0.0100", "met"]
    assert list(table.loc["FcDEC-DA"]["usps"]["nmi"]) == ["", "0.945", "", ""]
    assert list(table.loc["RCC"]["usps"]["nmi"]) == [""] * 4  # no such cell
    # k-means, SC-Ncut, SC-LS, AC-GDL, DCN, DEC, IDEC, VaDE and the five methods
    assert table.attrs == {
        "table": "decda-3",
        "covered": 3,
        "implemented": 13 * 8 + 1,
        "seeds": [0, 1, 2, 5],
        "devices": ["cpu"],
        "only": ["AC-Zell", "CSC", "JULE", "DEPICT", "DBC", "DAC"],
    }
    with pytest.raises(UserError, match="did you mean 'decda-3'"):
        tables(rows, paper, "decda3")


def test_an_identity_says_which_stages_are_augmented():
    assert published.identity("FcDEC-DA") == published.identity("FcDEC", "y/y")
    assert published.identity("FcDEC", "n/y") == ("FcDEC", False, True)
    assert published.identity("ASPC-DA-GMM") == ("ASPC-DA-GMM", True, True)
    assert published.identity("AE+k-means-DA") == ("AE+k-means", True, True)  # it has one stage
    assert published.identity("NotInThePaper") == ("NotInThePaper", False, False)
    for name in METHODS:
        assert published.label(*published.identity(name)) == name
    assert published.label("FcDEC", False, True) == "FcDEC (n/y)"


def test_one_stage_variants(paper):
    def run(method, pretrain, cluster, acc, **others):
        flags = {"aug_pretrain": pretrain, "aug_cluster": cluster}
        return record(method, acc=acc, config_hash=f"{pretrain}{cluster}", **flags, **others)

    rows = [
        run("FcDEC", False, False, 0.1),
        run("FcDEC-DA", True, True, 0.4),
        run("FcDEC", False, True, 0.2, overrides="aug_cluster=True"),
        run("FcDEC-DA", True, False, 0.3, overrides="aug_cluster=False"),
        run("FcIDEC", True, True, 0.5, overrides="aug_pretrain=True aug_cluster=True"),
        run("FcDCN", True, False, 0.6, overrides="aug_pretrain=True tol=0.1"),
        run("ASPC", "y", "n", 0.7),
        run("ASPC-DA-SC", True, True, 0.8),
    ]
    ours = tables(rows, paper, "decda-2")[("usps", "acc", "ours")]
    assert {k: v for k, v in ours.items() if v} == {
        "FcDEC": "0.1000 (1)",
        "FcDEC (one stage), n/y": "0.2000 (1)",
        "FcDEC (one stage), y/n": "0.3000 (1)",
        "FcDEC-DA": "0.4000 (1)",
        "FcIDEC-DA": "0.5000 (1)",
    }
    ours = tables(rows, paper, "aspc-5")[("usps", "acc", "ours")]
    assert {k: v for k, v in ours.items() if v} == {"DA-S1+ASP": "0.7000 (1)"}
    assert tables(rows, paper, "aspc-6").loc["ASPC-DA-SC", ("usps", "acc", "ours")] == "0.8000 (1)"


def test_kmeans_on_the_shared_autoencoder(paper):
    """Runs that share a pretraining count once a seed; a run of its own goes before them."""
    rows = [
        record("FcDEC-DA", kmeans_acc=0.93, kmeans_nmi=0.86, seconds_total=60),
        record("FcIDEC-DA", kmeans_acc=0.93, kmeans_nmi=0.86),
        record("FcDCN", kmeans_acc=0.70, kmeans_nmi=0.60, seed=1),
        record("AE+k-means", acc=0.71, nmi=0.61, seed=1, aug_pretrain=False),
        record("ConvDEC-DA", kmeans_acc=0.99, kmeans_nmi=0.99, seed=2),
    ]
    assert "AE+k-means-DA | usps | 0.9300 |" in rendering.readme_block(rows, paper)
    table = tables(rows, paper, "decda-5")["usps"]["acc"]
    assert list(table.ours) == ["0.7100 (1)", "", "0.9300 (1)"]
    assert list(table.verdict) == ["met", "", "met"]


def test_baselines_beside_the_papers(paper):
    """A stage that a method does not have is not asked about; NMF is a kin of NMF-LP."""
    rows = [
        record("k-means", acc=0.67),
        record("SC-Ncut", acc=0.65),
        record("NMF", acc=0.65),
        record("AE+k-means-DA", acc=0.93, aug_pretrain=True),
        record("AE+k-means", acc=0.92, aug_pretrain=True, overrides="aug_pretrain=True", seed=1),
        record("DAE+k-means", acc=0.68, aug_pretrain=False),
    ]
    ours = tables(rows, paper, "decda-3")[("usps", "acc", "ours")]
    assert {k: v for k, v in ours.items() if v} == {
        "k-means": "0.6700 (1)",
        "SC-Ncut": "0.6500 (1)",
        "NMF-LP, as NMF": "0.6500 (1)",
    }
    table = tables(rows, paper, "aspc-3")
    ours = table[("usps", "acc", "ours")]
    assert {k: v for k, v in ours.items() if v} == {
        "k-means": "0.6700 (1)",
        "SC": "0.6500 (1)",
        "NMF-LP, as NMF": "0.6500 (1)",
    }
    assert list(table["usps"].loc["NMF-LP, as NMF", "acc"]) == [
        "0.6500 (1)",
        "0.652",
        "-0.0020",
        "",
    ]
    ours = tables(rows, paper, "decda-5")[("usps", "acc", "ours")]
    assert dict(ours) == {
        "vanilla": "",
        "denoising": "0.6800 (1)",
        "augmented": "0.9250 ± 0.0071 (2)",
    }


def test_seconds_have_no_verdict(paper):
    rows = [record("FcDEC", "mnist", seconds_total=900.04), record("FcDEC", "usps")]
    table = tables(rows, paper, "decda-4")
    assert list(table.loc["FcDEC"]) == ["900.0 (1)", "600", "+300.0", ""]
    assert table.attrs["covered"] == 1 and table.attrs["implemented"] == 13


def test_scores_on_other_inputs_are_not_the_papers(paper):
    rows = [record("k-means", "20news-l2", acc=0.35), record("k-means", "mnist", acc=0.1)]
    table = tables(rows, paper, "kingdra-main")
    verdicts = [table.loc["K-means", (name, "acc", "verdict")] for name in ("20news", "mnist")]
    assert verdicts == ["", "short"]


def test_rows_of_20news_by_its_first_inputs_have_their_name():
    rows = [
        row for row in read_rows(ROOT / "results" / "results.csv") if "20news" in row["command"]
    ]
    old = [row for row in rows if row["data_hash"] == "4adce847b0603a1e"]
    assert len(old) >= 10 and {row["dataset"] for row in old} == {"20news-l2"}
    assert {row["dataset"] for row in rows if row not in old} <= {"20news"}


def test_renderers(paper):
    rows = [record("KINGDRA-LADDER-IM", "mnist", seed=s, acc=a) for s, a in [(0, 0.9), (7, 0.8)]]
    table = tables(rows, paper, "kingdra-main")
    text = rendering.to_markdown(table)
    lines = text.splitlines()
    assert lines[0] == (
        "| method |  | mnist acc | stl10 acc | cifar10 acc | reuters10k acc | 20news acc |"
    )
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "| KINGDRA-LADDER-IM | ours | 0.8500 ± 0.0707 (2) | – | – | – | – |" in lines
    assert "|  | paper | 0.985 ± 0.004 | 0.951 ± 0.001 |" in text
    assert "|  | difference | -0.1350 short | – | – | – | – |" in lines
    assert "| k" not in text and "| K-means | paper | 0.533 ± 0.001 |" in text
    ours = (paper.table == "kingdra-main") & paper.method.isin(list(METHODS))
    assert paper.dataset[ours].isin(list(DATASETS)).all()  # the names are those of the data sets
    assert lines[-1].startswith(
        f"1 of {ours.sum()} cells of kingdra-main that this repo implements."
    )
    assert "seeds 0, 7" in text and "`python run_exp.py --table kingdra-main`" in text

    tex = rendering.to_latex(table)
    assert r"0.8500 $\pm$ 0.0707 (2) & -- & -- & -- & -- \\" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {6} and r"\begin{tabular}{llrrrrr}" in tex

    flat = pd.read_csv(pd.io.common.StringIO(rendering.to_csv(table)), index_col="method")
    assert flat.loc["KINGDRA-LADDER-IM", "mnist acc verdict"] == "short"
    assert flat.loc["KINGDRA-LADDER-IM", "mnist acc difference"] == -0.135


def test_write_tables(tmp_path, paper):
    runs, path = tmp_path / "runs", tmp_path / "results.csv"
    put(runs, "a", record("ConvDEC-DA"))
    update(path, runs)
    stale = tmp_path / "tables" / "aspc-3.tex"
    stale.parent.mkdir()
    stale.write_text("old")
    assert rendering.write_tables(tmp_path) == ["decda-2", "decda-3"]
    names = {f"decda-{number}{suffix}" for number in (2, 3) for suffix in (".csv", ".tex")}
    assert set(os.listdir(stale.parent)) == names
    files = [tmp_path / "tables.md", *(stale.parent / name for name in sorted(names))]
    first = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert b"## decda-3\n\n| method" in first[0][0]
    assert rendering.write_tables(tmp_path, paper) == ["decda-2", "decda-3"]
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == first


def test_readme_block(tmp_path, paper):
    rows = [
        record("ConvDEC-DA", seed=0, acc=0.98, seconds_total=600),
        record("ConvDEC-DA", seed=1, acc=0.99, seconds_total=1200),
        record("FcDEC", aug_pretrain=False, aug_cluster=True, nmi=None),
        record("k-means", "digits", acc=None, nmi=None, seconds_total=3),
        record("FcDEC-DA", "mnist", overrides="maxiter=10"),
    ]
    block = rendering.readme_block(rows, paper)
    lines = [line for line in block.splitlines() if line.startswith("|")][2:]
    assert lines == [
        "| FcDEC (n/y) | usps | 0.9000 | 0.830 | – | 0.885 | 1 | – |",
        "| ConvDEC-DA | usps | 0.9850 ± 0.0071 | 0.987 | 0.8000 ± 0.0000 | 0.962 | 2 | 15.0 |",
        "| k-means | digits | – | – | – | – | 1 | 0.1 |",
    ]
    assert "decda-2 3/160, decda-3 2/105." in block
    assert block == rendering.readme_block(rows[::-1], paper)
    assert rendering.readme_block([], paper).startswith("No runs yet")

    page = results_page.results_page(rows, paper)
    assert page.endswith(block)
    path = tmp_path / "README.md"
    path.write_bytes(b"# A\r\n<!-- results:begin -->\nold\n<!-- results:end -->\nrest\n")
    assert results_page.update_page(path, rows, paper) is True
    text = path.read_bytes().decode()
    assert text == f"# A\r\n<!-- results:begin -->\n{page}<!-- results:end -->\nrest\n"
    assert results_page.update_page(path, rows, paper) is False


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- results:begin -->",
        "<!-- results:end --><!-- results:begin -->",
        "<!-- results:begin --><!-- results:end --><!-- results:end -->",
    ],
)
def test_readme_without_markers_is_left_alone(tmp_path, paper, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UserError, match="README.md: expected one line"):
        results_page.update_page(path, [], paper)
    assert path.read_text() == text
