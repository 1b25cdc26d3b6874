"""What a finished run leaves: its scores follow the labels that its file has now."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import user_error

from common import logs
from common.locks import locked
from datasets import Dataset, load_file
from experiments import sweep, trials
from experiments.options import parse, resolve
from experiments.run_files import check_result, finished, score_anew
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


def test_a_table_of_labels_that_another_program_has_changed_keeps_its_names(done, capsys):
    path, folder = done
    logs.to_stderr()
    table_of = folder / "labels.csv"
    whole = table_of.read_text()
    head, *lines = whole.splitlines(keepends=True)
    for i, text in enumerate(
        [
            head + "".join(sorted(lines, key=lambda line: line.split(",")[2])),
            whole.replace(",", ";"),
            head + "".join(lines[:-1]),
            "",
            whole.replace(lines[3], '"' + lines[3]),
        ]
    ):
        table_of.write_text(text)
        execute(job(folder, table(path, (0, 1, 1), prefix=f"q{i}")), show=False)
        assert "'labels.csv" in capsys.readouterr().err.replace(str(folder) + "/", "")
        assert table_of.read_text() == text
    table_of.write_text(whole)
    execute(job(folder, table(path, (0, 1, 1), prefix="z")), show=False)
    assert pd.read_csv(table_of)["sample"][5] == "z5"


@pytest.mark.parametrize(
    "labels",
    [np.zeros(119, int), np.zeros((120, 1), int), np.full(120, np.nan), np.full(120, -1)]
    + [np.full(120, 10**15)],
    ids=["short", "matrix", "NaN", "negative", "large"],
)
def test_labels_that_are_none_are_not_scored(done, capsys, labels):
    path, folder = done
    logs.to_stderr()
    before = finished(folder)
    np.save(folder / "labels.npy", labels)
    assert score_anew(folder, table(path, (0, 1, 1))) == before
    assert "expected 120 integers from 0 to 119" in capsys.readouterr().err
    with user_error("expected 120 integers from 0 to 119, the labels of mine"):
        trials.conclude([folder, folder], load_file(path, 3))


@pytest.mark.parametrize(
    "name, value",
    [("n", None), ("acc", "x"), ("reasons", None), ("k", 3.5), ("stability", "x")]
    + [("smallest_cluster", float("nan")), ("seconds_total", None), ("empty_clusters", "1")],
)
def test_a_result_that_was_changed_by_hand_is_told(done, name, value):
    _, folder = done
    whole = finished(folder)
    assert check_result(folder, whole) == whole
    with user_error(f"{name}={value!r}", "result.json", "--overwrite"):
        check_result(folder, whole | {name: value})


def test_numbers_of_numpy_are_numbers(done):
    """As in the result of a run that has just ended."""
    _, folder = done
    result = finished(folder)
    same = {"n": np.int64(result["n"]), "seconds_total": np.float64(result["seconds_total"])}
    check_result(folder, result | same)


def test_a_result_without_the_record_of_its_run_is_compared_itself(done, tmp_path):
    path, folder = done
    data = load_file(path, 3)
    (folder / "config.json").unlink()
    with user_error("holds another run (data_hash"):
        execute(job(folder, replace(data, x=data.x + 1)), show=False)
    with user_error("holds another run (k 3 there, 2 here)"):
        execute(job(folder, replace(data, n_clusters=2)), show=False)
    assert not (folder / "config.json").exists()
    assert execute(job(folder, data), show=False) == finished(folder)
    (folder / "result.json").write_text(json.dumps(finished(folder) | {"seed": 5}))
    with user_error("holds another run (seed 5 there, 0 here)"):
        execute(job(folder, data), show=False)


@pytest.mark.parametrize(
    "codes",
    [np.zeros((120, 0)), np.array(["a"] * 120), np.ones((120, 2), complex), np.zeros(120)],
    ids=["empty", "text", "complex", "vector"],
)
def test_codes_that_are_none_are_told(done, codes):
    path, folder = done
    np.save(folder / "pretrained_codes.npy", codes)
    with user_error("expected a code of finite numbers for each of the 120 samples"):
        trials.conclude([folder, folder], load_file(path, 3))


def test_an_archive_in_the_place_of_labels(done):
    path, folder = done
    np.savez(folder / "a.npz", x=np.zeros(120))
    (folder / "a.npz").rename(folder / "labels.npy")
    with user_error("cannot read", "an archive of arrays"):
        trials.conclude([folder, folder], load_file(path, 3))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"config": ', "[" * 100_000])
def test_a_damaged_record_of_a_run_is_told_and_kept(done, text):
    path, folder = done
    (folder / "config.json").write_text(text)
    with user_error("holds a damaged record of a run", "--save-dir", "--overwrite"):
        execute(job(folder, load_file(path, 3)), show=False)
    assert (folder / "config.json").read_text() == text


def test_settings_that_are_no_record_are_another_run(done):
    path, folder = done
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | {"config": "x"}))
    with user_error("holds another run (other settings)"):
        execute(job(folder, load_file(path, 3)), show=False)


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Run `--trials 2` on data in this process, and keep what was fitted in `answers.fits`."""

    def run_all(engine):
        for trial in engine.pending:
            run.fits.append(trial.folder)
            spec = trial.spec
            one = Run(spec.method, run.data, spec.seed, resolve(spec, run.data), trial.folder)
            execute(one, show=False, overwrite=spec.overwrite)
        return []

    def run(data, *words):
        run.data = data
        words = ["--data", "mine.csv", "--save-dir", str(tmp_path / "answers"), *words]
        return trials.run(parse(["--method", "k-means", "--trials", "2", *words]), data)

    run.fits = []
    monkeypatch.setattr(sweep.Sweep, "run", run_all)
    return run


def test_several_trials_refuse_the_folder_of_others(answers, tmp_path):
    data = table(tmp_path / "mine.csv", (0, 1, 2))
    answers(data)
    assert len(answers.fits) == 2
    kept = {p: p.read_bytes() for p in sorted((tmp_path / "answers").rglob("*.[cjn]*"))}
    with user_error("seed0' holds another run (n_init 20 there, 3 here)"):
        answers(data, "--n-init", "3")
    with user_error("holds another run (k 3 there, 4 here)"):
        answers(replace(data, n_clusters=4))
    with user_error("holds another run (data_hash"):
        answers(replace(data, x=data.x + 1))
    with user_error("answers' holds another run", "config_hash"):  # of other seeds
        answers(data, "--n-init", "3", "--seed", "7")
    with user_error("holds the answer of several runs"):
        execute(job(tmp_path / "answers", data), show=False)
    assert kept == {p: p.read_bytes() for p in sorted((tmp_path / "answers").rglob("*.[cjn]*"))}
    answers(data)
    assert len(answers.fits) == 2  # they are there
    answers(data, "--overwrite")
    assert len(answers.fits) == 4
    answers(data, "--n-init", "3", "--overwrite")
    assert len(answers.fits) == 6


def test_several_trials_and_a_single_run_do_not_share_a_folder(answers, tmp_path):
    data = table(tmp_path / "mine.csv", (0, 1, 2))
    single = tmp_path / "answers"
    execute(job(single, data), show=False)
    with user_error("holds a single run", "--overwrite"):
        answers(data)
    answers(data, "--overwrite")
    assert (single / "choice.json").exists() and not (single / "result.json").exists()
    execute(job(single, data), show=False, overwrite=True)
    assert not (single / "choice.json").exists() and (single / "result.json").exists()


def test_folders_at_work_are_not_emptied(answers, tmp_path):
    data = table(tmp_path / "mine.csv", (0, 1, 2))
    answers(data)
    for name in ("answers", "answers/seed1"):
        folder = tmp_path / name
        with locked(folder / "lock"), user_error("is in use by another process"):
            answers(data, "--overwrite")
        assert (folder / "labels.npy").exists()
    assert len(answers.fits) == 2
