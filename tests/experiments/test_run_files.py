"""What a finished run leaves: its scores follow the labels that its file has now."""

import json

import numpy as np
import pandas as pd
import pytest

from common import logs
from datasets import Dataset, load_file
from experiments.run_files import finished, score_anew
from experiments.runs import Run, execute
from models.settings.presets import preset


def table(path, classes, prefix="s"):
    """Write three separate groups of points with these classes of the groups."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(m, 0.3, (40, 3)) for m in (0, 3, 6)])
    frame = pd.DataFrame(points, columns=list("abc"))
    if prefix is not None:
        frame.insert(0, "id", [f"{prefix}{i}" for i in range(120)])
    if classes is not None:
        frame["label"] = np.repeat(classes, 40)
    frame.to_csv(path, index=False)
    return load_file(path, 3)


def job(folder, data, seed=0):
    return Run("k-means", data, seed, preset("k-means"), str(folder))


@pytest.fixture
def done(tmp_path):
    """A run on a file with classes (0, 1, 2): the file, the run's folder."""
    data = table(tmp_path / "mine.csv", (0, 1, 2))
    execute(job(tmp_path / "run", data), show=False)
    return tmp_path / "mine.csv", tmp_path / "run"


def test_labels_that_have_changed_are_scored_without_another_fit(done, capsys):
    path, folder = done
    logs.to_stderr()
    before = finished(folder)
    files = ("labels.npy", "model_final.h5", "log.csv", "config.json", "clusters.png")
    kept = {name: (folder / name).read_bytes() for name in files}
    result = execute(job(folder, table(path, (0, 1, 1), prefix="q")), show=False)
    assert before["acc"] == 1.0 and result["acc"] == pytest.approx(2 / 3)
    assert result == finished(folder) and result["nmi"] < before["nmi"]
    assert result.keys() == before.keys() and result["verdict"] == before["verdict"]
    assert {name: (folder / name).read_bytes() for name in files} == kept
    names = pd.read_csv(folder / "labels.csv")["sample"]
    assert names.tolist() == [f"q{i}" for i in range(120)]
    said = capsys.readouterr().err
    assert said.count("was scored on other labels than mine has now") == 1
    execute(job(folder, load_file(path, 3)), show=False)
    assert capsys.readouterr().err == ""


def test_scores_of_former_labels_do_not_stay(done):
    path, folder = done
    stale = finished(folder) | {"kmeans_acc": 0.5, "kmeans_nmi": 0.5, "kmeans_ari": 0.5}
    (folder / "result.json").write_text(json.dumps(stale))
    assert score_anew(folder, load_file(path, 3)) == stale
    result = score_anew(folder, table(path, (0, 1, 1)))
    assert not [name for name in result if name.startswith("kmeans_a")]
    assert "kmeans_modularity" in result


def test_a_file_without_labels_gets_scores_when_it_has_some_and_loses_none(tmp_path, capsys):
    path, folder = tmp_path / "mine.csv", tmp_path / "run"
    logs.to_stderr()
    bare = table(path, None, prefix=None)
    assert bare.y is None and "acc" not in execute(job(folder, bare), show=False)
    capsys.readouterr()
    assert execute(job(folder, table(path, (0, 1, 2))), show=False)["acc"] == 1.0
    assert execute(job(folder, bare), show=False)["acc"] == 1.0
    assert capsys.readouterr().err == ""
    assert pd.read_csv(folder / "labels.csv")["sample"].tolist() == list(range(1, 121))


def test_a_result_of_before_the_hash_is_completed(done):
    path, folder = done
    result = finished(folder)
    old = {name: value for name, value in result.items() if name != "labels_hash"}
    (folder / "result.json").write_text(json.dumps(old))
    assert score_anew(folder, load_file(path, 3)) == result == finished(folder)


def test_named_sets_have_their_labels_for_ever(tmp_path):
    data = Dataset(np.eye(6, dtype=np.float32), np.arange(6) % 2, "digits", 2, named=True)
    (tmp_path / "result.json").write_text(json.dumps({"status": "ok", "acc": 0.25}))
    assert score_anew(tmp_path, data) == {"status": "ok", "acc": 0.25}


def test_a_folder_without_its_labels_keeps_its_scores_and_says_so(done, capsys):
    path, folder = done
    (folder / "labels.npy").unlink()
    logs.to_stderr()
    before = finished(folder)
    assert score_anew(folder, load_file(path, 3)) == before
    assert capsys.readouterr().err == ""
    assert score_anew(folder, table(path, (0, 1, 1))) == before == finished(folder)
    said = capsys.readouterr().err
    assert "cannot read" in said and "its scores may be of other labels than mine has now" in said
