"""The HTML report: the package reporting.

A run's own figure, report.cluster_figure, is tested with the runs that draw it.
"""

import base64
import csv
import functools
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import datasets
import metrics
import run_exp
from common import paths
from common.files import save_arrays
from experiments import ledger, published
from experiments import run_figure as report
from experiments.ledger import as_row
from loaders import fetching
from reporting import charts, evidence, figures, maps
from reporting import page as html_page
from reporting.evidence import Absent, Damaged, confusion, history, spread
from reporting.html import PARTS

HASH = datasets.load("digits").sha256[:16]
PLANE, CURVES, TABLES = report.plane, charts.curves, published.every_table
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """A page's elements, with their attributes and text; fails on one that is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        element = types.SimpleNamespace(name=name, text="", **{"at": dict(attributes)})
        self.elements.append(element)
        if name not in VOID:
            self.open.append(element)

    def handle_startendtag(self, name, attributes):
        self.elements.append(types.SimpleNamespace(name=name, text="", at=dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop().name == name

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def all(self, *names, **attributes):
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [e for e in self.elements if e.name in names and wanted.items() <= e.at.items()]

    def text(self):
        return self.all("html")[0].text


def row(**changes):
    """A row of results.csv."""
    known = datasets.PROBLEMS.get(changes.get("dataset"), (10, HASH))[1]
    fields = {
        "method": "ConvDEC-DA",
        "dataset": "digits",
        "n": 1797,
        "k": 10,
        "seed": 0,
        "status": "ok",
        "acc": 0.75,
        "nmi": 0.5,
        "ari": 0.25,
        "seconds_pretrain": 100,
        "seconds_initialize": 1,
        "seconds_cluster": 50,
        "seconds_total": 151,
        "data_hash": known,
        "config_hash": "a",
        "finished": "2026-01-02T03:04:05+00:00",
    }
    return as_row(fields | changes)


LOG = [
    {"phase": "pretrain", "step": 8, "seconds": 1, "loss": 0.5},
    {"phase": "pretrain", "step": 16, "seconds": 2, "loss": 0.05},
    {"phase": "cluster", "step": 0, "seconds": 0, "changed": 1, "acc": 0.5, "nmi": 0.4},
    {
        "phase": "cluster",
        "step": 30,
        "seconds": 5,
        "loss": 0.2,
        "changed": 0.1,
        "acc": 0.6,
        "nmi": 0.5,
    },
    {"phase": "final", "step": 30, "seconds": 6, "acc": 0.75, "nmi": 0.5},
]


def write_log(path, rows=LOG):
    with open(path, "w", newline="") as file:
        names = ["phase", "step", "seconds", "loss", "changed", "acc", "nmi"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def digits_run():
    """Labels, codes and centres of the digits, far from perfect, by the classes themselves."""
    data = datasets.load("digits")
    labels = (data.y + 3) % 10  # cluster numbers are not class numbers
    labels[:100] = 0
    rng = np.random.default_rng(0)
    z = (np.eye(10)[labels] * 5 + rng.normal(size=(data.n, 10))).astype(np.float32)
    return labels, z, (np.eye(10) * 5).astype(np.float32)


@functools.cache
def remembered(function):
    """A function of the same results that is called once with the same arguments."""
    kept = {}

    def call(*args, **others):
        key = pickle.dumps((args, others))
        if key not in kept:
            kept[key] = function(*args, **others)
        return kept[key]

    return call


@pytest.fixture
def results(tmp_path, digits_run, monkeypatch):
    """A results folder with two seeds of a method on the digits, both with all their files.

    The map is t-SNE's, whether umap-learn is installed or not. Most tests have the same tables and
    curves, which take longest.
    """
    monkeypatch.setattr(charts, "curves", remembered(CURVES))
    monkeypatch.setattr(published, "every_table", remembered(TABLES))
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(report, "POINTS", 60)
    monkeypatch.setattr(report, "plane", lambda z, project=None: (np.arange(60), z[:60, :2]))
    labels, z, centers = digits_run
    acc = metrics.acc(datasets.load("digits").y, labels)
    rows = [row(seed=seed, acc=acc) for seed in (0, 1)]
    for told in rows:
        folder = tmp_path / "runs" / f"run-{told['seed']}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(told))
        write_log(folder / "log.csv")
        np.save(folder / "labels.npy", labels)
        np.save(folder / "embedding.npy", z)
        save_arrays(folder / "model_final.h5", {"centers": centers}, {})
    ledger.update(tmp_path / "results.csv", tmp_path / "runs")
    return tmp_path


def written(results):
    """Write a folder's report; return (page, warnings)."""
    path, warnings = html_page.write(results)
    return Page(path.read_text(encoding="utf-8")), warnings


def only_rows(results, *rows):
    """Write the report of rows without folders."""
    shutil.rmtree(results / "runs", ignore_errors=True)
    (results / "runs").mkdir()
    ledger.write_text(results / "results.csv", ledger.csv_text(ledger.merge(rows)))
    return written(results)


# ---- The page ---------------------------------------------------------------------------------


def test_a_page_with_everything(results, monkeypatch):
    monkeypatch.setattr(report, "plane", PLANE)  # t-SNE itself, in this test alone
    page, warnings = written(results)
    assert warnings == []
    assert not [e.text for e in page.all("p", class_="absent")]
    captions = [e.text for e in page.all("figcaption")]
    starts = [
        "ACC against time",
        "Scores",
        "Clustering loss",
        "Share of changed labels",
        "Pretraining loss",
        "Confusion matrix",
        "t-SNE map",
        "Members",
    ]
    assert len(captions) == len(starts)
    for caption, start in zip(captions, starts, strict=True):
        assert caption.startswith(start)
    assert "mean ± std of 2 seeds" in captions[1]
    assert len(page.all("img")) == 20
    assert "2 finished runs of 1 method on 1 data set, 0 failed" in page.text()


def test_the_same_input_gives_the_same_bytes(results, monkeypatch):
    monkeypatch.setattr(charts, "curves", CURVES)
    monkeypatch.setattr(published, "every_table", TABLES)
    first = html_page.write(results)[0].read_bytes()
    assert html_page.write(results)[0].read_bytes() == first


def test_ids_are_unique_and_links_lead_somewhere(results):
    page, _ = written(results)
    ids = [e.at["id"] for e in page.elements if "id" in e.at]
    links = [e.at["href"] for e in page.all("a")]
    assert len(ids) == len(set(ids)) and len(links) >= 4
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert all(link.startswith("#") for link in links)


def test_nothing_is_loaded_from_elsewhere(results):
    page, _ = written(results)
    html = (results / "report.html").read_text(encoding="utf-8")
    for e in page.elements:
        assert e.name not in {"script", "iframe", "object", "embed"}
        assert not {key for key in e.at if key.startswith("on")}
        for key in ("src", "href", "srcset", "action", "xlink:href"):
            assert e.at.get(key, "#").startswith(("#", "data:"))
    assert "url(" not in html and "@import" not in html and "http://" not in html
    assert "https://" not in html
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.at["content"].startswith("default-src 'none'")


def test_both_colour_schemes_and_the_phone(results):
    page, _ = written(results)
    style = page.all("style")[0].text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    used = set(re.findall(r"var\((--[a-z]+\d?)\)", style)) - {"--s", "--c"}
    used -= {"--share", "--count", "--columns"}  # of single elements
    assert used and all(f"{name}:" in light for name in used)
    assert re.findall(r"--c\d: ", light) == re.findall(r"--c\d: ", dark.split("* {")[0])
    assert {e.at.get("name") for e in page.all("meta")} >= {"viewport", "color-scheme"}


def test_figures_are_described_and_tables_have_headers(results):
    page, _ = written(results)
    pictures = page.all("svg", role="img") + page.all("img")
    assert len(pictures) == 26
    assert all(e.at.get("aria-label") or e.at.get("alt") for e in pictures)
    assert all(e.at["scope"] in ("col", "row", "colgroup") for e in page.all("th"))
    boxes = page.all("div", class_="scroll")
    assert len(boxes) == len(page.all("table"))  # every one can be scrolled, by keyboard too
    assert all(e.at["tabindex"] == "0" and e.at["aria-label"] for e in boxes)


def test_every_row_appears(results):
    rows = [
        row(seed=s, method=m, acc=a)
        for s, m, a in ((0, "FcDEC", 0.1234), (7, "FcDEC", 0.2345), (3, "ASPC-DA", 0.3456))
    ]
    failed = row(seed=9, method="ConvDEC", status="failed", acc="", reason="killed by SIGKILL")
    page, warnings = only_rows(results, *rows, failed)
    lines = [e.text for e in page.all("tr")]
    for method, seed, rest in (
        ("FcDEC", 0, "ok0.1234"),
        ("FcDEC", 7, "ok0.2345"),
        ("ASPC-DA", 3, "ok0.3456"),
        ("ConvDEC", 9, "failed: killed by SIGKILL"),
    ):
        assert sum(text.startswith(f"{method}digits{seed}{rest}") for text in lines) == 1
    assert warnings == [] and "1 failed" in page.text()
    assert page.text().count("No figures: the run folders are not on this machine.") == 2


def test_the_papers_tables(results):
    """Values worked by hand: FcDEC-DA on USPS has 0.980 in the DEC-DA paper's tables 2 and 3."""
    rows = [row(method="FcDEC-DA", dataset="usps", seed=s, acc=a) for s, a in ((0, 0.9), (1, 0.8))]
    page, _ = only_rows(results, *rows)
    cells = [e.text for e in page.all("td")]
    assert cells.count("0.8500 ± 0.0707 (2)paper 0.980−0.1300 short") == 2
    table = page.all("article", id="table-decda-2")[0].text
    shown = published.tables(rows, published.read_paper(), "decda-2")
    assert all(label in table for label in shown.index)
    every = published.every_table(rows, published.read_paper())
    coverage = [e.text for e in page.all("tr")]
    about = every["decda-2"].attrs
    assert f"decda-2{about['covered']}{about['implemented']}0, 1" in coverage
    filled = {name for name, table in every.items() if table.attrs["covered"]}
    assert {e.at["id"] for e in page.all("article")} == {f"table-{name}" for name in filled}


def test_a_page_without_rows(tmp_path):
    page, warnings = written(tmp_path)
    assert "No runs yet: python run_exp.py makes them." in page.text()
    assert [e.text for e in page.all("h2")] == ["Coverage"]
    assert len(warnings) == 1 and "no folder of runs" in warnings[0]


HOSTILE = "<script>alert('1')</script>\"&amp;$%"


def test_hostile_names_are_text(results):
    """A user's file may be called anything; so may its settings' values and reasons."""
    for folder in (results / "runs").iterdir():
        told = json.loads((folder / "result.json").read_text())
        told |= {name: HOSTILE for name in ("dataset", "overrides", "device", "commit", "method")}
        (folder / "result.json").write_text(json.dumps(told))
    (results / "results.csv").unlink()
    rows, _ = ledger.update(results / "own" / "results.csv", results / "runs", own=True)
    failed = row(status="failed", reason=HOSTILE, dataset=HOSTILE)
    ledger.write_text(results / "own" / "results.csv", ledger.csv_text([*rows, failed]))
    page, _ = written(results)
    assert not page.all("script")
    assert page.text().count(HOSTILE) > 10
    assert any(HOSTILE in e.at["aria-label"] for e in page.all("svg", role="img"))


def test_settings_beyond_the_first_are_left_out_by_name(results):
    """No score decides which: the papers' settings, then the fewest changes."""
    given = {"": 0.1, "tol=0.1 lr=1": 0.9, "tol=0.2": 0.8, "n_init=5 tol=1": 0.7}
    rows = [row(acc=a, overrides=o, config_hash=o or "a") for o, a in given.items()]
    groups, left_out = evidence.groups(rows, {})
    assert [group.overrides for group in groups] == ["", "tol=0.2"]
    assert left_out == [f"ConvDEC-DA, {o} on digits" for o in ("n_init=5 tol=1", "tol=0.1 lr=1")]
    page, _ = only_rows(results, *rows)
    assert "left out: ConvDEC-DA, n_init=5 tol=1 on digits; " in page.text()


def test_a_full_file_leaves_clusters_out(results, monkeypatch):
    monkeypatch.setattr(html_page, "LIMIT", 1000)
    page, warnings = written(results)
    said = [e.text for e in page.all("p", class_="absent")]
    assert said == [
        "No confusion matrix, no map of the embedding, no image sheet: this file has reached "
        "0.001 MB."
    ]
    assert warnings == [] and page.all("div", class_="panels")


# ---- Runs that are not as they should be ------------------------------------------------------


@pytest.mark.parametrize(
    "name, missing",
    [
        ("labels.npy", {"confusion", "map", "sheet"}),
        ("embedding.npy", {"map", "sheet"}),
        ("log.csv", set()),
        ("model_final.h5", set()),
    ],
)
@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00garbage", b"\xff\xfe,\n\x00,1"])
def test_missing_and_damaged_files(results, name, missing, content):
    path = results / "runs" / "run-0" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    page, warnings = written(results)
    shown = {
        "confusion": page.all("figure", class_="card confusion"),
        "map": page.all("svg", class_="map"),
        "sheet": page.all("img"),
    }
    assert {what for what, found in shown.items() if not found} == missing
    said = [e.text for e in page.all("p", class_="absent")]
    if name == "model_final.h5":
        assert "by soft assignment to the clusters' mean codes" in page.text()
        assert said == []
    if name == "log.csv":
        assert "Scores (one seed)" in page.text()  # the other one's
    empty_log = name == "log.csv" and content == b""
    damaged = content is not None and name != "model_final.h5" and not empty_log
    assert len(warnings) == damaged and all(str(path) in line for line in warnings)
    assert len(said) == bool(missing)
    if missing:
        reason = "a file of the run is damaged" if damaged else f"the run folder has no {name}"
        assert said[0].endswith(f": {reason}.")


@pytest.mark.parametrize(
    "name, array",
    [
        ("labels.npy", np.zeros(5, int)),
        ("labels.npy", np.zeros(1797)),
        ("labels.npy", np.array(1)),
        ("labels.npy", np.zeros(1797, int)),  # not those that the row's ACC is of
        ("embedding.npy", np.zeros((5, 10))),
        ("embedding.npy", np.full((1797, 10), np.nan)),
        ("embedding.npy", np.zeros(1797)),
    ],
)
def test_arrays_that_do_not_fit(results, name, array):
    np.save(results / "runs" / "run-0" / name, array)
    page, warnings = written(results)
    assert warnings and all("run-0" in line for line in warnings)
    assert "a file of the run is damaged" in page.text()


def test_a_damaged_result_is_skipped(results):
    (results / "runs" / "run-0" / "result.json").write_text('{"method": ')
    page, warnings = written(results)
    assert len(warnings) == 1 and "left out" in warnings[0] and "run-0" in warnings[0]
    assert page.all("figure", class_="card confusion")  # of seed 1
    assert "Clusters of seed 1" in page.text()


def test_data_that_cannot_be_had(results, monkeypatch):
    evidence._data.cache_clear()
    users = "the data is a user's own file, which the run folder does not hold"
    reasons = {"usps": "the data set usps was not found on this machine", "mine.npz": users}
    for name, why in reasons.items():
        told = [row(dataset=name, seed=seed) for seed in (0, 1)]
        for number, line in enumerate(told):
            path = results / "runs" / f"run-{number}" / "result.json"
            path.write_text(json.dumps(line))
        (results / "results.csv").unlink()
        ledger.update(results / "results.csv", results / "runs")
        ledger.update(results / "own" / "results.csv", results / "runs", own=True)
        monkeypatch.delenv(fetching.ENVIRONMENT, raising=False)
        monkeypatch.setattr(fetching, "_places", lambda data_dir: iter(()))
        page, warnings = written(results)
        said = [e.text for e in page.all("p", class_="absent")]
        assert said == [f"No confusion matrix, no image sheet: {why}."] and warnings == []
        assert page.all("svg", class_="map")


def test_a_users_file_has_a_section_and_no_published_number(results):
    """Also one of a data set's name and samples: its labels may be others."""
    rows = ledger.read_rows(results / "results.csv")
    own = [row(method="FcDEC-DA", dataset="usps", acc=0.99, source="file")]
    own.append(row(method="FcDEC-DA", dataset="mine", acc=0.5, source="file", data_hash="b"))
    ledger.add(results / "own" / "results.csv", own)
    page, _ = written(results)
    titles = [e.text for e in page.all("h2")]
    assert titles[-4:] == ["digits", "mine, your own file", "usps, your own file", "All runs"]
    assert "0.9900 (1)" in page.text()
    assert not page.all("article", id="table-decda-2")
    groups, _ = evidence.groups([*rows, *own, row(method="FcDEC-DA", dataset="usps")], {})
    assert [g.source for g in groups if g.dataset == "usps"] == ["file", "named"]
    numbers = [
        figures.published_acc(g, published.read_paper()) for g in groups if g.dataset == "usps"
    ]
    assert numbers == [None, (0.98, "0.980")]


def test_maps_show_no_users_file_and_no_other_K(results):
    for number, changes in enumerate(({"source": "file"}, {"k": 20})):
        path = results / "runs" / f"run-{number}" / "result.json"
        told = json.loads(path.read_text()) | {"method": "DSCDAN", "k": 10, "source": "named"}
        path.write_text(json.dumps(told))
        folders, _ = ledger.folders(results / "runs")
        assert "DSCDAN" in maps.panels(list(folders.values()), folders, "digits")[0]
        path.write_text(json.dumps(told | changes))
    folders, _ = ledger.folders(results / "runs")
    codes, reasons, _ = maps.panels(list(folders.values()), folders, "digits")
    assert codes == {} and reasons["DSCDAN"] == "no run"


def test_another_K_has_no_published_number(results):
    found, _ = evidence.groups([row(method="FcDEC-DA", dataset="usps", k=20)], {})
    assert figures.published_acc(found[0], published.read_paper()) is None


def test_the_newest_protocol_is_shown(results):
    rows = [row(acc=0.1), row(acc=0.2, protocol=2, config_hash="b", finished="2020-01-01")]
    (group,), _ = evidence.groups(rows, {})
    assert group.values("acc") == [0.2]


def test_other_data_of_the_same_name(results):
    for number in (0, 1):
        path = results / "runs" / f"run-{number}" / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data_hash": "0123"}))
    (results / "results.csv").unlink()
    ledger.update(results / "results.csv", results / "runs")
    page, _ = written(results)
    assert "the digits found on this machine is not the data of the run" in page.text()


# ---- The numbers ------------------------------------------------------------------------------


def test_history_of_a_log(tmp_path):
    write_log(tmp_path / "log.csv")
    found = history(tmp_path / "log.csv")
    told = {key: (steps.tolist(), values.tolist()) for key, (steps, values) in found.items()}
    assert told == {
        ("pretrain", "seconds"): ([8, 16], [1, 2]),
        ("pretrain", "loss"): ([8, 16], [0.5, 0.05]),
        ("cluster", "seconds"): ([0, 30], [0, 6]),
        ("cluster", "loss"): ([30], [0.2]),
        ("cluster", "changed"): ([30], [0.1]),  # not the 1 of the first labels
        ("cluster", "acc"): ([0, 30], [0.5, 0.75]),  # the end is the final labels'
        ("cluster", "nmi"): ([0, 30], [0.4, 0.5]),
    }
    with pytest.raises(Absent, match=r"no log\.csv"):
        history(tmp_path / "none.csv")


def test_history_of_numbers_that_are_none(tmp_path):
    write_log(tmp_path / "log.csv", [LOG[0] | {"loss": "nan"}, LOG[1] | {"loss": "inf"}])
    assert ("pretrain", "loss") not in history(tmp_path / "log.csv")
    write_log(tmp_path / "log.csv", [LOG[0] | {"loss": "much"}])
    with pytest.raises(Damaged, match=r"log\.csv is damaged"):
        history(tmp_path / "log.csv")


def test_spread_over_seeds_by_hand():
    """Seed 0 has 1, 2 and stops at step 10 with 3; seed 1 has 3, 4, then 5 and 7."""
    curves = [
        (np.array([0, 5, 10]), np.array([1.0, 2, 3])),
        (np.array([0, 5, 10, 15]), np.array([3.0, 4, 5, 7])),
    ]
    steps, mean, std = spread(curves)
    assert steps.tolist() == [0, 5, 10, 15]
    assert mean.tolist() == [2, 3, 4, 5]  # (3 + 7) / 2 at the end: the first one keeps its 3
    np.testing.assert_allclose(std, [2**0.5, 2**0.5, 2**0.5, 8**0.5])


def test_spread_of_other_steps_and_of_one():
    first, second = (np.array([0, 4]), np.array([1.0, 2])), (np.array([2, 6]), np.array([5.0, 7]))
    steps, mean, _ = spread([first, second])
    assert steps.tolist() == [2, 4, 6]  # from where all have begun
    assert mean.tolist() == [3, 3.5, 4.5]
    _, mean, std = spread([first])
    assert mean.tolist() == [1, 2] and np.isnan(std).all()


def test_acc_over_time(tmp_path):
    write_log(tmp_path / "log.csv")
    seconds, scores = evidence.acc_over_time(row(), history(tmp_path / "log.csv"))
    assert seconds.tolist() == [101, 107] and scores.tolist() == [0.5, 0.75]
    assert evidence.acc_over_time(row(seconds_pretrain=""), history(tmp_path / "log.csv")) is None
    assert evidence.acc_over_time(row(), {}) is None


def test_confusion_after_matching_by_hand():
    """Classes 0, 1, 2; clusters 5, 6, 7 mean 1, 2, 0."""
    y = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    labels = np.array([7, 7, 5, 5, 5, 5, 6, 7])
    counts, classes, clusters = confusion(y, labels)
    assert classes.tolist() == [0, 1, 2] and clusters.tolist() == [7, 5, 6]
    assert counts.tolist() == [[2, 1, 0], [0, 3, 0], [1, 0, 1]]
    assert np.trace(counts) / 8 == metrics.acc(y, labels)


def test_confusion_with_clusters_or_classes_left_over():
    y = np.array([0, 0, 0, 1, 1, 1])
    counts, classes, clusters = confusion(y, np.array([4, 4, 9, 2, 2, 2]))
    assert clusters.tolist() == [4, 2, 9] and counts.tolist() == [[2, 0, 1], [0, 3, 0]]
    y = np.array([0, 1, 1, 2, 2, 2])
    counts, classes, clusters = confusion(y, np.array([8, 8, 8, 3, 3, 3]))
    assert classes.tolist() == [1, 2, 0] and clusters.tolist() == [8, 3]
    assert counts.tolist() == [[2, 0], [0, 3], [1, 0]]


def test_the_matrix_on_the_page(results, digits_run):
    page, _ = written(results)
    labels, y = digits_run[0], datasets.load("digits").y
    on = page.all("td", class_="on")
    assert sum(int(e.text) for e in on) == round(metrics.acc(y, labels) * 1797)
    inside = [e for e in page.all("td") if "--share" in e.at.get("style", "")]
    counts = np.array([0 if e.text == "·" else int(e.text) for e in inside]).reshape(10, 10)
    matched = {j: (j - 3) % 10 for j in range(10)}
    rename = np.array([matched[j] for j in labels])
    assert counts.tolist() == [
        [np.sum((y == i) & (rename == j)) for j in range(10)] for i in range(10)
    ]


def test_groups_are_of_one_problem_and_take_a_seed_once():
    rows = [
        row(config_hash="old", acc=0.1, finished="2025-01-01T00:00:00+00:00"),
        row(acc=0.2),
        row(seed=2, acc=0.4),
        row(seed=1, status="failed"),
        row(k=12, acc=0.3),
    ]
    folders = {Path("a"): rows[1], Path("b"): rows[2] | {"acc": "0.5"}}
    groups, _ = evidence.groups(rows, folders)
    assert [(g.k, g.values("acc")) for g in groups] == [("10", [0.2, 0.4]), ("12", [0.3])]
    assert groups[0].folders == {0: Path("a")}  # b is another run than its row


@pytest.mark.parametrize("centers", [True, False])
def test_certainty(results, digits_run, centers):
    """The q of DEC's equation 1, from the trained centres or the clusters' means."""
    labels, z, trained = digits_run
    folder = results / "runs" / "run-0"
    if not centers:
        (folder / "model_final.h5").unlink()
    rows, _ = ledger.folders(results / "runs")
    run = evidence.Clusters(evidence.groups(list(rows.values()), rows)[0][0])
    found, source = run.certainty()
    means = np.stack([z[labels == j].mean(axis=0) for j in range(10)])
    q = 1 / (1 + ((z[:, None] - (trained if centers else means)) ** 2).sum(axis=2))
    np.testing.assert_allclose(found, (q / q.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-4)
    assert ("trained" in source) == centers


def test_the_sheet_shows_these_members(results, digits_run):
    labels, z, centers = digits_run
    page, _ = written(results)
    first = page.all("img")[0]
    assert first.at["alt"] == "10 most certain members of cluster 0"
    with Image.open(io.BytesIO(base64.b64decode(first.at["src"].split(",")[1]))) as image:
        pixels = np.asarray(image)
    q = 1 / (1 + ((z[:, None] - centers) ** 2).sum(axis=2))
    certainty = (q / q.sum(axis=1, keepdims=True)).max(axis=1)
    members = np.flatnonzero(labels == 0)
    best = members[np.argsort(-certainty[members])][:10]
    x = datasets.load("digits").x
    assert pixels.shape == (48, 10 * 49 - 1)
    for place, i in enumerate(best):
        shown = pixels[::6, 49 * place : 49 * place + 48 : 6]
        np.testing.assert_array_equal(shown, (x[i, :, :, 0] * 255).round())


def test_large_and_coloured_images_are_shrunk():
    x = np.zeros((2, 100, 100, 3), np.float32)
    x[..., 0] = 1
    strip = figures._strip(x, np.array([0, 1]), 'a "label"')
    image = chart(PARTS.sheet([("cluster 0", [strip, None])])).all("img")[0]
    with Image.open(io.BytesIO(base64.b64decode(image.at["src"].split(",")[1]))) as found:
        assert found.size == (33 * 2 + 1, 33) and found.mode == "RGB"
        assert found.getpixel((5, 5)) == (255, 0, 0)
    assert image.at["alt"] == 'a "label"' and figures._strip(x, np.array([], int), "") is None


def test_umap_where_it_is_installed(results, monkeypatch):
    """A stand-in for umap-learn that puts all points on a line."""

    class UMAP:
        def __init__(self, n_neighbors, random_state, n_jobs):
            assert (n_neighbors, random_state, n_jobs) == (15, 0, 1)

        def fit_transform(self, codes):
            return np.stack([np.arange(len(codes)), np.zeros(len(codes))], axis=1)

    module = types.ModuleType("umap")
    module.UMAP, module.__spec__ = UMAP, types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(report, "plane", PLANE)
    page, _ = written(results)
    assert "UMAP map of the embedding: 60 of 1,797 samples" in page.text()
    places = np.concatenate([drawn(page, f"dots {j}") for j in range(10)])
    width, height = charts.SQUARE
    assert len(places) == 60 and set(places[:, 1]) == {height / 2}
    assert np.ptp(places[:, 0]) > 0.8 * width


# ---- Charts -----------------------------------------------------------------------------------


def chart(svg):
    return Page(f"<html>{svg}</html>")


def points(path):
    """The coordinates in a path's d."""
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.at["d"]), float)


def drawn(page, name):
    """The coordinates of the first path in the group of a class."""
    names = [e.at.get("class") for e in page.elements]
    return points(next(e for e in page.elements[names.index(name) :] if e.name == "path"))


def ticks(page):
    """({text: x}, {text: y}) of the grid's lines."""
    found = {}, {}
    for line, _, text in zip(page.elements, page.elements[1:], page.elements[2:], strict=False):
        if text.name == "text" and "var(--line)" in line.at.get("style", ""):
            (x, y), (x_end, _) = points(line)
            upright = x == x_end
            found[not upright][text.text] = x if upright else y
    return found


def test_a_curve_and_its_band_by_hand():
    """A line from the axis's one end to the other; its band is 0.1 up and down."""
    steps, mean = np.array([0, 50, 100]), np.array([0.2, 0.4, 0.6])
    page = chart(charts.curves([("ACC", steps, mean, np.full(3, 0.1))], "label"))
    line, band = drawn(page, "line s0"), drawn(page, "band s0")
    left, right = charts.LEFT, charts.SMALL[0] - charts.RIGHT
    assert line[:, 0].tolist() == [left, (left + right) / 2, right]
    across, up = ticks(page)
    assert (across["0"], across["100"]) == (left, right)
    at = np.array([up["0.2"], up["0.4"], up["0.6"]])
    half = (at[0] - at[1]) / 2  # 0.1; y points down
    np.testing.assert_allclose(line[:, 1], at, atol=0.11)
    np.testing.assert_allclose(band[:3, 1], at - half, atol=0.11)
    np.testing.assert_allclose(band[3:6][::-1, 1], at + half, atol=0.11)


def test_curves_without_spread_and_logarithmic():
    steps = np.array([1, 2, 3])
    series = [
        ("a", steps, np.array([1.0, 0.1, 0.01]), np.full(3, np.nan)),
        ("b", steps, np.array([1.0, 1.0, 1.0]), np.array([0.1, 2.0, 0.1])),
    ]
    page = chart(charts.curves(series, "a<b", log=True, reference=(0.5, "paper's <b>")))
    assert len(page.all("g", class_="line s0")) == 1 and not page.all("g", class_="band s0")
    heights = drawn(page, "line s0")[:, 1]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=0.11)
    assert page.all("svg")[0].at["aria-label"] == "a<b"
    told = [e.text for e in page.all("text")]
    assert {"paper's <b>", "a", "b", "0.1", "0.2", "0.5"} <= set(told)  # with a legend
    _, up = ticks(page)
    assert drawn(page, "reference")[:, 1] == pytest.approx(up["0.5"])
    band = drawn(page, "band s1")
    assert band[:, 1].max() <= charts.SMALL[1] - charts.BOTTOM + 0.1  # stays inside


def test_long_curves_keep_their_ends():
    steps = np.arange(1000)
    page = chart(charts.curves([("ACC", steps, steps / 1000, np.zeros(1000))], "", unit=True))
    line = drawn(page, "line s0")
    assert len(line) == charts.POINTS
    assert (line[0, 0], line[-1, 0]) == (charts.LEFT, charts.SMALL[0] - charts.RIGHT)


@pytest.mark.parametrize(
    "value, log",
    [*((v, False) for v in (0.0, 1.0, 1e-9, 1e9, -5.0)), *((v, True) for v in (1.0, 1e-9, 1e9))],
)
def test_flat_curves(value, log):
    curve = ("ACC", np.array([0]), np.array([value]), np.array([np.nan]))
    line = drawn(chart(charts.curves([curve], "", log)), "line s0")
    assert len(line) == 1 and np.isfinite(line).all()
    assert charts.TOP <= line[0, 1] <= charts.SMALL[1] - charts.BOTTOM


def test_acc_against_time_by_hand():
    """Two methods; the mean of 60 and 180 s lies at 120 s, that of .8 and .9 at .85."""
    trail = (np.array([30.0, 60.0]), np.array([0.5, 0.8]))
    marks = [("a & b", [60.0, 180.0], [0.8, 0.9], [trail]), ("c", [600.0], [0.7], [])]
    page = chart(charts.against_time(marks, "label"))
    titles = [e.text for e in page.all("title")]
    assert titles == ["a & b: ACC 0.8500, 120 s", "c: ACC 0.7000, 600 s"]
    minutes, up = ticks(page)
    first = drawn(page, "runs")
    assert first[0] == pytest.approx([minutes["1"], up["0.8"]], abs=0.2)
    numbers = {e.text: e for e in page.all("text") if e.at["style"].endswith("var(--card)")}
    assert list(numbers) == ["1", "2"]
    assert float(numbers["1"].at["x"]) == pytest.approx(minutes["2"], abs=0.2)
    middle = (up["0.8"] + up["0.9"]) / 2
    assert float(numbers["1"].at["y"]) == pytest.approx(middle, abs=3.5)  # its foot
    assert float(numbers["2"].at["x"]) == pytest.approx(minutes["10"], abs=0.2)
    path = drawn(page, "trail")
    assert path[:, 0] == pytest.approx([minutes["0.5"], minutes["1"]], abs=0.2)
    assert path[0, 1] == pytest.approx(up["0.5"], abs=0.2)


def test_many_marks_at_one_place_move_apart():
    places = charts._apart([(100.0, 100.0)] * 8, high=200)
    gaps = [abs(a[1] - b[1]) for i, a in enumerate(places) for b in places[:i]]
    assert places[0] == (100.0, 100.0) and min(gaps) >= 15
    assert all(charts.BOTTOM < y < 200 for _, y in places)
    assert len(charts._apart([(100.0, 100.0)] * 80, high=200)) == 80  # no room: on top
    page = chart(charts.against_time([("a", [60.0], [0.5], []), ("b", [60.0], [0.5], [])], ""))
    heights = [float(e.at["y"]) for e in page.all("text") if e.at["style"].endswith("(--card)")]
    assert abs(heights[0] - heights[1]) >= 15


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (1, 100, ["0.1", "1"]),
        (110, 200, ["2.0", "2.5", "3.0"]),
        (60, 600, ["1", "2", "5", "10"]),
        (5, 40000, ["0.1", "1", "10", "100"]),
    ],
)
def test_ticks_of_times(low, high, expected):
    """Of seconds from low to high: near ones are even, far ones are powers of ten."""
    minutes, _ = ticks(chart(charts.against_time([("a", [low, high], [0.5, 0.6], [])], "")))
    assert [text for text in minutes if text in expected] == expected and len(minutes) <= 8


@pytest.mark.parametrize("low, high", [(0, 1), (0.97, 0.99), (-3, 1e6), (1e-9, 2e-9), (0, 7)])
def test_ticks_are_round_and_inside(low, high):
    curve = ("loss", np.array([0, 9]), np.array([low, high]), np.full(2, np.nan))
    _, up = ticks(chart(charts.curves([curve], "")))
    at = np.array(list(up.values()))
    assert 3 <= len(at) <= 7 and np.ptp(np.diff(at)) < 0.25
    assert ((at >= charts.TOP) & (at <= charts.SMALL[1] - charts.BOTTOM)).all()
    steps = np.diff([float(text.replace("−", "-")) for text in up])  # of some power of ten
    assert steps == pytest.approx(steps[0])
    assert any(f"{steps[0]:.1e}".startswith(digits) for digits in ("1.0", "2.0", "2.5", "5.0"))


def test_nothing_of_a_chart_is_named_twice():
    """Two charts on a page share no id, and no style rule of matplotlib's."""
    curve = ("ACC", np.arange(3), np.arange(3) / 3, np.full(3, 0.1))
    svg = charts.curves([curve], "") + charts.point_map(np.eye(2), np.arange(2), "")
    for word in (" id=", "<style", "<metadata", "<defs", "url(", "#fedc", "DejaVu"):
        assert word not in svg
    assert svg.count("<svg") == 2 and "var(--c0)" in svg and "var(--line)" in svg


# ---- The command ------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", str(tmp_path))
    monkeypatch.setattr(paths, "RESULTS", str(tmp_path))
    return tmp_path


def test_the_command_writes_the_report_and_the_rows(results, here, capsys):
    (results / "results.csv").unlink()
    (results / "runs" / "run-1" / "labels.npy").write_bytes(b"")
    (results / "runs" / "run-0" / "result.json").write_text("[]")
    assert run_exp.run(["--report"]) == 0
    told = capsys.readouterr()
    assert "report.html" in told.out and told.err.count("warning: ") == 2
    assert len(pd.read_csv(results / "results.csv")) == 1
    assert (results / "report.html").stat().st_size > 10_000


def test_the_command_without_any_run(here, capsys):
    assert run_exp.run(["--report"]) == 0
    assert "No runs yet" in (here / "report.html").read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


def test_the_command_takes_nothing_else(here):
    with pytest.raises(ledger.UserError, match="--maxiter.*--report takes no further options"):
        run_exp.run(["--report", "--maxiter", "3"])


NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_opens_it_without_an_error(results, tmp_path):
    """Its policy forbids all that is not in the file: a violation would be told on the console."""
    path, _ = html_page.write(results)
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, check=True
    )
    assert "CONSOLE" not in done.stderr
    assert len(Page(done.stdout.strip()).all("svg", role="img")) == 6
