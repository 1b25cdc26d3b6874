"""The JSON files of Kingdra's authors as sweeps."""

import json

import numpy as np
import pytest

from common.errors import UserError
from experiments import inputs, options
from experiments import plan as planning
from experiments.spec import RunSpec
from models import preset

SMALL = {
    "n_en": 3,
    "high_th": 2,
    "n_iter": 2,
    "batch_size": 16,
    "n_class": 2,
    "lr": 0.01,
    "fc_layer_sizes": [9, 8, 2],
    "denoising_cost": [10, 1, 0.5, 0.1],
    "noise_std": 0.2,
    "ens_common_mapping": False,
    "mi_loss_w_it2": 0.0,
    "last_layer_bn": True,
    "n_epochs_per_iter": 1,
    "thresh": 0,
}


@pytest.fixture
def folder(tmp_path):
    """A folder as in the authors' archive: two files of one set."""
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "train_X.npy", rng.random((40, 6), dtype=np.float32))
    np.save(tmp_path / "set" / "train_Y.npy", np.arange(40) % 2)
    return tmp_path


def paths(folder):
    return {
        "training_path": str(folder / "set" / "train_X.npy"),
        "ground_truth_path": str(folder / "set" / "train_Y.npy"),
    }


def plan(folder, content, *words):
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    trials, complaints = planning.plan(*planning.parse([str(path), *words]))
    assert complaints == []
    return trials


def test_a_file_is_a_run_of_kingdra(folder):
    (trial,) = plan(folder, SMALL | paths(folder))
    assert trial.name == "KINGDRA-LADDER-IM set seed 0"
    record = trial.record
    assert (record["n"], record["k"]) == (40, 2)
    expected = {
        "members": 3,
        "high": 2,
        "low": 1,
        "rounds": 2,
        "batch_size": 16,
        "widths": [9, 8],
        "denoising_costs": [10, 1, 0.5, 0.1],
        "noise_std": 0.2,
        "vote": "first",
        "epochs": 1,
        "epochs_first": 5,
        "mi_weight_later": 0.0,
        "last_bn": True,
        "confidence": 0,
        "optimizer": {"name": "adam", "lr": 0.01},
        "pseudo_labels": True,
    }
    assert {name: record["config"][name] for name in expected} == expected


def test_seeds_threads_and_settings_on_the_command_line(folder):
    trials = plan(folder, SMALL | paths(folder), "--seeds", "4", "5", "--rounds", "7")
    assert [trial.record["seed"] for trial in trials] == [4, 5]
    assert {trial.record["config"]["rounds"] for trial in trials} == {7}
    assert len(plan(folder, SMALL | paths(folder), "--trials", "3")) == 3


def test_it_runs(folder, monkeypatch, capsys, eager):
    few = {"batch_size": 40, "fc_layer_sizes": [9, 2], "denoising_cost": [10, 1, 0.1]}
    (trial,) = plan(folder, SMALL | few | paths(folder), "--threads", "1")
    args = options.parse([*trial.argv, "--save-dir", str(folder / "run"), "--quiet"])
    from experiments.runs import Run, execute

    data = inputs.load_data(args)
    config = options.resolve(args, data)
    monkeypatch.setattr("experiments.run_figure.cluster_figure", lambda *_, **__: None)
    result = execute(Run(args.method, data, 0, config, str(folder / "run")), show=False)
    assert result["status"] == "ok"
    assert result["iterations"] == 2
    assert 0 < result["member_acc"] <= 1
    header = (folder / "run" / "log.csv").read_text().splitlines()
    assert len(header) == 1 + 2 + 1  # the names, a row a round, the end
    columns = header[0].split(",")
    row = dict(zip(columns, header[1].split(","), strict=True))
    assert int(row["groups"]) <= 2
    assert 0 < float(row["member_acc"]) <= 1


@pytest.mark.parametrize("name", ["mnist", "20news", "cifar10", "reuters", "stl10"])
def test_our_files_name_data_sets_and_change_nothing(name, root, monkeypatch):
    path = str(root / "configs" / "kingdra" / f"ladder_im_{name}.json")
    ((args, overrides),) = planning.described(planning.parse([path])[0])
    (dataset,) = args.datasets
    assert args.methods == ["KINGDRA-LADDER-IM"]
    assert args.seeds == [0]
    overrides.pop("n_clusters", None)
    spec = RunSpec(*args.methods, dataset, overrides=overrides)

    class Data:
        own_vectors = False
        n = 1000

    Data.name = Data.preset_name = dataset
    assert options.resolve(spec, Data) == preset("KINGDRA-LADDER-IM", dataset)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_iters": 3}, "unknown key 'n_iters'; did you mean 'n_iter'?"),
        ({"n_en": "ten"}, "members='ten': expected an integer >= 1"),
        ({"fc_layer_sizes": [9, 8, 3]}, "expected a list of widths that ends in n_class=2"),
        ({"training_path": "nowhere/train_X.npy"}, "expected train_X.npy and train_Y.npy in one"),
        (
            {"training_path": "n/train_X.npy", "ground_truth_path": "n/train_Y.npy"},
            "no such folder",
        ),
        ({"dataset": "mnist"}, "dataset='mnist': expected a name, alone"),
    ],
)
def test_what_is_refused(folder, changes, message):
    with pytest.raises(UserError, match="config.json.*") as error:
        plan(folder, SMALL | paths(folder) | changes)
    assert message in str(error.value)


def test_an_unknown_data_set(folder):
    with pytest.raises(UserError, match="unknown dataset 'minst'; did you mean 'mnist'"):
        plan(folder, {"n_en": 3, "high_th": 2, "dataset": "minst"})


def test_a_sweeps_file_sets_the_start_and_its_restarts(folder):
    sweep = {"methods": ["FcDEC"], "datasets": ["digits"], "seeds": [0]}
    (trial,) = plan(folder, sweep | {"settings": {"n_init": "auto", "init": "umap"}})
    assert trial.record["config"] == preset("FcDEC", "digits", 1797).to_dict() | {
        "n_init": "auto",
        "init": "umap",
    }
    (plain,) = plan(folder, sweep)
    assert plain.folder != trial.folder and plain.weights == trial.weights
