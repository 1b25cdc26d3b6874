"""What a row is: its identity, the settings it stands for, and what may count as the papers'."""

import dataclasses
import json
import re
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import user_error

import datasets
from experiments import description, former, inputs, ledger, options, published, rendering, runs
from models import build
from models.settings.aspc import ASPCConfig
from models.settings.base import pretrain_key
from models.settings.baselines import StableConfig
from models.settings.dec_da import Config, DCNConfig, DECConfig
from models.settings.dscdan import DSCDANConfig, DualConfig, SpectralNetConfig
from models.settings.kingdra import IMSATConfig, KingdraConfig
from models.settings.presets import CONFIGS, preset
from models.settings.rim import RIMConfig
from models.settings.spectral_sat import SpectralSATConfig

ROWS = ledger.read_rows(published.PAPER.parent / "results.csv")
# Rows of code whose defaults have changed since, by their hash: no command makes them again.
OLDER = {"bc24298868d4", "a5b823408c01", "d9ae89a55d12"}


def data_of(row):
    """A row's data set, without its samples."""
    return SimpleNamespace(
        own_vectors=False,
        name=row["dataset"],
        preset_name=row["dataset"],
        n=int(row["n"]),
        named=True,
        n_clusters=int(row["k"]),
        sha256=row["data_hash"],
        source="named",
    )


# ---- the committed rows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['method']}-{row['dataset']}-{row['seed']}"
)
def test_every_committed_row_keeps_its_identity(row, monkeypatch):
    """Its command, and the names its method and data have now, give its hash."""
    args = options.parse(shlex.split(row["command"])[2:])
    for name, version in zip(("protocol", "pretrain_protocol"), ledger.protocol(row), strict=True):
        monkeypatch.setattr(type(CONFIGS[row["method"]]), name, version)
    named = args.method or options.METHOD, row["method"]
    assert named[0] == named[1] or named == ("DSCDAN", "DSCDAN-restarts")
    said = args.dataset or "digits", str(args.seed)
    names = row["dataset"], row["dataset"].replace("20news-l2", "20news")
    assert said in [(name, row["seed"]) for name in names]
    args.method, data = row["method"], data_of(row)
    config = options.resolve(args, data)
    if row["config_hash"] in former.FORMER_DEFAULTS:
        then = {"IMSAT-RPT": {"radius": 0.25}, "DSCDAN-code": {"head_init": "random"}}
        config = replace(config, **then[row["method"]])
    if row["dataset"] == "digits" and row["config_hash"] in former.ON_DIGITS:
        config = replace(config, shuffle=False)
    about = description.about(
        runs.identity(args.method, data, args.seed, config, args.pretrained_weights)
    )
    assert {name: str(about[name]) for name in ledger.KEY if name != "config_hash"} == {
        name: row[name] for name in ledger.KEY if name != "config_hash"
    }
    assert (about["config_hash"] == row["config_hash"]) == (row["config_hash"] not in OLDER)
    assert (about["protocol"], about["pretrain_protocol"]) == ledger.protocol(row)
    if row["config_hash"] not in OLDER:
        words = runs.Run(args.method, data, args.seed, config, "").overrides().split()
        assert sorted(words) == sorted(row["overrides"].split())


def test_every_committed_row_is_of_a_published_problem():
    assert len(ROWS) >= 186 and all(map(ledger.is_published, ROWS))


def test_the_rows_with_five_starts_have_a_name_of_their_own():
    moved = [row for row in ROWS if row["method"] == "DSCDAN-restarts"]
    assert sorted((row["dataset"], row["overrides"]) for row in moved) == [
        ("mnist-test", ""),
        ("usps", ""),
        ("usps", "maxiter=1000 n_neighbors=5"),
        ("usps", "train_discriminators=False maxiter=600"),
    ]
    assert all("--method DSCDAN-restarts" in row["note"] for row in moved)
    assert all("--method DSCDAN " in row["command"] for row in moved)
    table = published.tables(moved, published.read_paper(), "dscdan-3")
    assert table.attrs["covered"] == 0
    assert preset("DSCDAN").head_starts == 1 and preset("DSCDAN-restarts").head_starts == 5


def test_a_result_of_five_starts_found_elsewhere_is_known_by_its_hash():
    (old,) = (r for r in ROWS if r["method"] == "DSCDAN-restarts" and r["dataset"] == "mnist-test")
    there = {k: v for k, v in old.items() if k != "note"} | {"method": "DSCDAN"}
    assert ledger.as_row(there)["method"] == "DSCDAN-restarts"
    new = description.about(
        runs.identity("DSCDAN", data_of(old), 0, preset("DSCDAN", "mnist-test"))
    )
    assert new["config_hash"] != old["config_hash"]
    assert ledger.as_row(there | new)["method"] == "DSCDAN"


# ---- rows that are not of the papers' problem -------------------------------------------------


def cell(rows, method="k-means", dataset="usps"):
    """The ACC of a line of README's block, "" if there is none."""
    block = rendering.readme_block(rows, published.read_paper())
    found = re.search(rf"^\| {re.escape(method)} \| {dataset} \| (\S+)", block, re.MULTILINE)
    return found and found[1]


def later(method="k-means", dataset="usps", **changes):
    """A copy of a committed row, the newest of its kind, that finished after all others."""
    kind = (method, dataset, "0", "")
    some = [r for r in ROWS if (r["method"], r["dataset"], r["seed"], r["overrides"]) == kind]
    row = max(some, key=ledger.finished)
    return row | {"finished": "2030-01-01T00:00:00+00:00"} | changes


POLLUTED = {
    "another K": {"k": "20", "acc": "0.1111"},
    "other samples": {"data_hash": "0" * 16, "acc": "0.9999"},
    "a user's file": {"source": "file", "acc": "0.9999", "config_hash": "a"},
    "an old row of a user's file": {
        "command": "python main.py --method k-means --data 'my data/usps.npz'",
        "acc": "0.9999",
    },
    "the same with an equals sign": {"command": "main.py --data=usps.npz", "acc": "0.9999"},
    "no K": {"k": "", "acc": "0.9999"},
    "no hash": {"data_hash": "", "acc": "0.9999"},
}


@pytest.fixture(scope="module")
def committed():
    """The cell of k-means on USPS, and {name: table}, of the committed rows."""
    paper = published.read_paper()
    names = ("decda-3", "aspc-3")
    return cell(ROWS), {name: published.tables(ROWS, paper, name) for name in names}


@pytest.mark.parametrize("changes", POLLUTED.values(), ids=POLLUTED)
def test_what_is_not_the_papers_problem_leaves_its_cell(changes, committed):
    """k-means on USPS: .6681, the paper's .668."""
    rows, (before_cell, tables) = [*ROWS, later(**changes)], committed
    assert before_cell == cell(rows) == "0.6681"
    for table, before in tables.items():
        after = published.tables(rows, published.read_paper(), table)
        assert before.equals(after) and before.attrs == after.attrs
        assert after.loc["k-means", ("usps", "acc", "ours")] == "0.6681 ± 0.0005 (5)"


def test_a_run_on_the_papers_problem_takes_the_place_of_an_older_one():
    """So the test above can fail: five seeds have .6681, one of them now .1111."""
    command = "python main.py --method k-means --dataset usps --data-dir /data"
    rows = [*ROWS, later(acc="0.1111", source="named", command=command)]
    assert cell(rows) == "0.5567"
    assert cell([*ROWS, later(acc="0.1111", command=command)]) == "0.5567"


@pytest.mark.parametrize(
    ("dataset", "k", "source", "counts"),
    [
        ("cifar10", 10, "named", True),
        ("cifar10", 9, "named", False),
        ("cifar10", 10, "file", False),
        ("reuters10k", 4, "named", True),
        ("reuters10k", 10, "named", False),
        ("reuters", 4, "file", False),
        ("reuters", 4, "", False),
        ("mine", 10, "file", False),
        ("ytf", 41, "named", True),
    ],
)
def test_sets_whose_hash_is_not_known(dataset, k, source, counts):
    row = ledger.as_row(
        {
            "method": "k-means",
            "dataset": dataset,
            "k": k,
            "seed": 0,
            "status": "ok",
            "acc": 0.5,
            "data_hash": "abc",
            "source": source,
        }
    )
    assert ledger.is_published(row) == counts
    assert (cell([row], dataset=dataset) == "0.5000") == counts


def test_every_named_set_is_a_known_problem():
    assert list(datasets.PROBLEMS) == list(datasets.DATASETS)


@pytest.mark.parametrize("name", [name for name, (_, h) in datasets.PROBLEMS.items() if h])
def test_the_known_problems_are_those_of_the_real_data(name, real_data):
    data = datasets.load(name, real_data, download=False)
    assert (data.n_clusters, data.sha256[:16]) == datasets.PROBLEMS[name]
    assert data.named and data.source == "named" and data.preset_name == name


# ---- a user's file that is called like a data set ---------------------------------------------


def resolved(path, method, *words):
    """(settings, data, overrides) of main.py's words on a user's file."""
    args = options.parse(["--method", method, "--data", str(path), "--n-clusters", "3", *words])
    data = inputs.load_data(args)
    config = options.resolve(args, data)
    return config, data, runs.Run(method, data, 0, config, "").overrides()


@pytest.fixture
def file(tmp_path):
    """A user's file of a name."""

    def write(name):
        x = np.random.default_rng(0).random((30, 64))
        path = tmp_path / name
        if path.suffix == ".csv":
            np.savetxt(path, x, delimiter=",")
        else:
            np.savez(path, x=x)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "method", "setting", "general", "of_the_set"),
    [
        ("digits.npz", "FcDEC", "pretrain_epochs", 500, 250),
        ("fmnist.csv", "ASPC", "epochs", 100, 10),
        ("stl10.npz", "KINGDRA-LADDER-IM", "noise_std", 0.3, 1.0),
        ("usps.npz", "ConvAE", "filters", (16, 16, 32, 32), (16, 32)),
        ("20news.npz", "LADDER-IM", "mi_weight", 0.1, 0.2),
    ],
)
def test_settings_do_not_depend_on_the_name_of_a_users_file(
    file, name, method, setting, general, of_the_set
):
    config, data, overrides = resolved(file(name), method)
    assert getattr(config, setting) == general and overrides == ""
    assert not data.named and data.name == name.partition(".")[0] and data.preset_name is None
    assert getattr(preset(method, data.name, data.n), setting) == of_the_set
    assert resolved(file("mine.npz"), method)[0] == config


def test_a_users_file_is_another_run_than_the_set_of_its_name(file, monkeypatch):
    """Even with the same samples: their labels may be others. Other names stay as they were."""
    config, data, _ = resolved(file("usps.npz"), "k-means")
    named = replace(data, named=True)
    assert runs.identity("k-means", data, 0, config) == runs.identity(
        "k-means", named, 0, config
    ) | {"source": "file"}
    args = options.parse(["--method", "k-means"])
    folders = {options.folder_of(args, one, config) for one in (data, named)}
    assert len(folders) == 2
    config, mine, _ = resolved(file("mine.npz"), "k-means")
    assert "source" not in runs.identity("k-means", mine, 0, config)


def test_another_K_of_a_named_set_is_no_setting_of_the_papers():
    row = ROWS[0] | {"dataset": "usps", "k": "20"}
    config = preset("FcDEC", "usps", 9298)
    data = data_of(row)
    assert runs.Run("FcDEC", data, 0, config, "").overrides() == "n_clusters=20"


# ---- settings that change nothing -------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "words", "why"),
    [
        ("FcDCN", "--alpha 0.5", "no reconstruction term"),
        ("FcDCN-DA", "--alpha 0", "no reconstruction term"),
        ("ASPC-DA", "--alpha 1", "no reconstruction term"),
        ("BasicDC", "--alpha 1", "no reconstruction term"),
        ("FcDEC", "--rotation 20", "no stage is augmented"),
        ("FcIDEC", "--shift 0.2", "no stage is augmented"),
        ("AE+k-means", "--center true", "no stage is augmented"),
        ("FcDEC-DA", "--no-aug-pretrain --no-aug-cluster --shift-pixels 2", "no stage"),
        ("FcDEC-DA", "--shift 0.2 --shift-pixels 2", "shift_pixels=2 takes its place"),
        ("FcDEC-DA", "--rotation 0 --center true", "there is no rotation"),
        ("BasicDC", "--selection augmented", "every sample is selected"),
        ("ASPC", "--selection augmented", "the cluster stage is not augmented"),
        ("ASPC-DA-SC", "--n-init 3", "init=spectral has no restarts"),
        ("ConvAE", "--psi-variance 1", "no loss sees noisy codes"),
        ("ConvAE+MI", "--psi-variance 1", "psi=reparameterised"),
        ("ConvAE+RS", "--no-train-discriminators", "mutual=0"),
        ("ConvAE+RS", "--prior-of classes", "prior=0"),
        ("DSCDAN", "--spectral-steps 0 --head-starts 3", "spectral_steps=0"),
        ("DSCDAN-code", "--scale-neighbor 2", "sigma=2.62 takes its place"),
        ("SpectralNet", "--siamese-epochs 0 --siamese-batch 64", "siamese_epochs=0"),
        ("LADDER-IM", "--epochs 5", "there are no pseudo-labels"),
        ("LADDER-IM-ensemble", "--confidence 0.5", "there are no pseudo-labels"),
        ("LADDER-IM", "--vote first", "there is one member"),
        ("KINGDRA-LADDER-DOT", "--mi-mu 3", "clustering_loss=dot"),
        ("IMSAT-RPT", "--xi 1", "perturbation=rpt"),
        ("FcDEC", "--init spectral --n-init 3", "init=spectral has no restarts"),
        ("SpectralSAT-DA", "--no-tangents --blur 0.2", "the Euclidean distance"),
        ("SpectralSAT-DA", "--shift 0.2 --shift-pixels 2", "shift_pixels=2 takes its place"),
        ("DEC", "--pretrain-optimizer adam --burn-in 5", "pretraining has no momentum"),
    ],
)
def test_a_setting_without_effect_is_refused(file, method, words, why):
    flag = words.split()[-2] if not words.split()[-1].startswith("--") else words.split()[-1]
    flag = "--shift" if "takes its place" in why and "shift" in words else flag
    flag = flag.replace("--no-train", "--train")
    with user_error(f"{flag} has no effect for {method}: ", why):
        resolved(file("mine.npz"), method, *words.split())


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("FcDEC", "--alpha 0.5"),
        ("ConvDEC-DA", "--alpha 0.5 --rotation 20"),
        ("FcDEC", "--aug-cluster --rotation 20"),
        ("AE+k-means-DA", "--shift 0.2"),
        ("ASPC-DA", "--selection augmented --n-init 3"),
        ("ConvAE+RS", "--psi-variance 1"),
        ("DSCDAN", "--head-starts 3 --scale-neighbor 2"),
        ("KINGDRA-LADDER-IM", "--epochs 2"),
        ("IMSAT-VAT", "--xi 1"),
        ("FcDCN-DA", "--shift-pixels 2"),
    ],
)
def test_a_setting_with_effect_is_accepted(file, method, words):
    config, _, overrides = resolved(file("mine.npz"), method, *words.split())
    assert config != preset(method, None, 30) and overrides


@pytest.mark.parametrize("method", ["FcDCN", "ASPC-DA"])
def test_alpha_is_refused_in_python_too(method):
    with user_error("--alpha has no effect", method):
        build(method, 4, alpha=0.5)


@pytest.mark.parametrize("method", CONFIGS)
def test_what_has_no_effect_is_a_setting(method):
    names = {f.name for f in dataclasses.fields(CONFIGS[method])}
    assert set(CONFIGS[method].without_effect()) <= names


# ---- versions of the protocol -----------------------------------------------------------------


class Later(Config):
    protocol = 2


class LaterPretraining(Config):
    pretrain_protocol = 3


def test_a_raised_protocol_makes_another_run():
    data = data_of(ROWS[0] | {"dataset": "usps"})
    one, two, three = Config(), Later(), LaterPretraining()
    assert one.to_dict() == two.to_dict() == three.to_dict() == one.identity_dict()
    told = [description.about(runs.identity("FcDEC", data, 0, c)) for c in (one, two, three)]
    assert [(t["protocol"], t["pretrain_protocol"]) for t in told] == [(1, 1), (2, 1), (1, 3)]
    assert len({t["config_hash"] for t in told}) == 3
    args = options.parse(["--method", "FcDEC"])
    assert len({options.folder_of(args, data, c) for c in (one, two, three)}) == 3
    keys = [pretrain_key(c, (16, 16, 1), "x", 0)[0] for c in (one, two, three)]
    assert keys[0] == keys[1] != keys[2]
    models = [build("FcDEC", 4, config=c) for c in (one, two)]
    for model in models:
        model._data_hash = "x"
        model.shared_networks = dict  # none
    assert models[0]._identity() != models[1]._identity()


@pytest.mark.parametrize("method", CONFIGS)
def test_today_every_other_protocol_is_the_first(method):
    """So keys, hashes and folders from before there were versions stay valid."""
    raised = isinstance(
        CONFIGS[method],
        ASPCConfig | DCNConfig | IMSATConfig | RIMConfig | SpectralSATConfig | StableConfig,
    )
    augmented = {"pretrain_protocol": 2} if getattr(CONFIGS[method], "aug_pretrain", False) else {}
    version = 1 + raised + (getattr(CONFIGS[method], "init", "") == "gmm")
    assert CONFIGS[method].versions() == ({"protocol": version} if version > 1 else {}) | augmented
    assert CONFIGS[method].identity_dict() == CONFIGS[method].to_dict() | CONFIGS[method].versions()


def test_tables_take_the_newest_protocol():
    """Of two rows that differ in nothing else; a cell is never a mean over two protocols."""
    newer = {"acc": "0.7000", "protocol": "2", "config_hash": "b", "source": "named"}
    older = {"finished": "2020-01-01T00:00:00+00:00"}
    assert cell([*ROWS, later(**newer | older)]) == "0.7000"
    table = published.tables([*ROWS, later(**newer)], published.read_paper(), "decda-3")
    assert table.loc["k-means", ("usps", "acc", "ours")] == "0.7000 (1)"
    assert table.loc["k-means", ("mnist", "acc", "ours")] == "0.5344 ± 0.0006 (5)"
    pretrained = newer | {"protocol": "1", "pretrain_protocol": "2"}
    assert cell([*ROWS, later(**pretrained)]) == "0.7000"


def test_a_new_protocol_of_clustering_leaves_the_auto_encoder():
    """k-means on the codes of an Fc run is of the pretraining's protocol, three seeds here."""
    before = cell(ROWS, "AE+k-means-DA", "mnist-test")
    row = later("FcDEC-DA", "mnist-test", protocol="2", config_hash="b")
    assert cell([*ROWS, row], "AE+k-means-DA", "mnist-test") == before == "0.8944"
    newer = row | {"pretrain_protocol": "3", "kmeans_acc": "0.1"}
    assert cell([*ROWS, newer], "AE+k-means-DA", "mnist-test") == "0.1000"


@pytest.mark.parametrize("wrong", ["0", "a", "-1"])
def test_a_protocol_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="protocol"):
        ledger.as_row(later(protocol=wrong))


# ---- which settings decide the pretrained weights ---------------------------------------------

PRETRAINING = {  # of every settings class with an auto-encoder: field -> another value
    "network": "conv",
    "latent_dim": 5,
    "batch_size": 32,
    "aug_pretrain": True,
    "pretrain_shuffles": 3,
    "shift": 0.2,
    "shift_pixels": 3.0,
    "rotation": 20.0,
    "center": "true",
    "pretrain_epochs": 3,
    "pretrain_optimizer": None,
    "precision": "bfloat16",
    "scale_inputs": True,
    "noise": 0.3,  # AEConfig
    "likelihood": "gaussian",  # VaDEConfig
    "filters": (8, 8),
    "kernel": 5,
    "original": 1.5,
    "relative": 2.0,
    "mutual": 0.5,
    "prior": 0.5,
    "psi": "multiplicative",
    "psi_variance": 0.5,
    "code": "draw",
    "pairs": "code",
    "train_discriminators": False,
    "prior_of": "classes",  # DualConfig
    "pretrain_steps": 7,
    "layer_epochs": 3,
    "layer_steps": 7,
    "dropout": 0.5,
    "drop_steps": 7,
    "burn_in": 7,
    "init_std": 0.5,
    "scale": 2.0,  # LayerwiseConfig
}
CLUSTERING = {
    "n_init",
    "aug_cluster",
    "optimizer",
    "alpha",
    "beta",
    "maxiter",
    "update_interval",
    "tol",
    "shuffle",
    "epochs",
    "self_paced",
    "selection",
    "init",  # ASPCConfig
    "head",
    "cluster_batch_size",
    "n_neighbors",
    "sigma",
    "scale_neighbor",
    "spectral_steps",
    "head_starts",
    "head_init",
    "class_means",
    "compare",
    "cluster_original",
    "cluster_relative",
    "cluster_mutual",
    "cluster_prior",
    "cluster_entropy",
    "spectral",
    "final",  # DSCDANConfig
    "patience",
    "drop",
    "siamese",
    "siamese_neighbors",
    "siamese_epochs",
    "siamese_batch",
    "siamese_patience",  # SpectralNetConfig
    "min_dist",
    "components",  # N2DConfig
    "decay",
    "decay_epochs",
    "least_lr",  # VaDEConfig
    "count",
    "kmeans_epochs",  # LayerwiseDCNConfig
    "metric",
    "rcc_maxiter",
    "min_share",
    "warmup_epochs",  # ASPCFromRCCConfig
}
KINDS = {type(c): c for c in CONFIGS.values() if c.pretrains}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_is_of_pretraining_or_of_clustering(kind):
    """A new field must be put into one of the lists above; of both tests below one then fails if
    `pretrain_dict` does not agree, and with it the key under which weights are shared."""
    names = {f.name for f in dataclasses.fields(kind)}
    assert names <= PRETRAINING.keys() | CLUSTERING
    assert not PRETRAINING.keys() & CLUSTERING
    assert set(KINDS[kind].pretrain_dict()) <= PRETRAINING.keys()


def base_of(kind, name):
    """A config in which a field of the pretraining has an effect."""
    base = KINDS[kind]
    if name in ("shift", "shift_pixels", "rotation", "center", "pretrain_shuffles"):
        base = replace(base, aug_pretrain=True)
    if name in ("psi_variance", "code"):
        base = replace(base, psi="multiplicative")
    if name in ("pretrain_epochs", "layer_epochs") and hasattr(base, "layer_steps"):
        base = replace(base, pretrain_steps=None, layer_steps=None)
    if isinstance(base, DualConfig):
        base = replace(
            base,
            relative=1.0,
            mutual=0.1,
            prior=1.0,
            pairs="input",
            final="k-means",
            train_discriminators=True,
            prior_of="standard",
        )
    return base


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, f.name) for kind in KINDS for f in dataclasses.fields(kind) if f.name in PRETRAINING],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_setting_of_pretraining_changes_its_key(kind, name):
    base, value = base_of(kind, name), PRETRAINING[name]
    if name == "pretrain_optimizer":
        value = replace(base.pretrain_optimizer, lr=0.123)
    if name == "network" and issubclass(kind, DualConfig):
        pytest.skip("there is one network")
    if name == "network":
        value = "conv" if base.network == "fc" else "fc"
    if name == "aug_pretrain":
        value = not base.aug_pretrain
    other = replace(base, **{name: value})
    assert other != base
    keys = {pretrain_key(c, (28, 28, 1), "x", 0, 10)[0] for c in (base, other)}
    assert len(keys) == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_settings_of_clustering_are_no_part_of_the_key(kind):
    names = {f.name for f in dataclasses.fields(kind)} & CLUSTERING
    assert not set(KINDS[kind].pretrain_dict()) & names


def test_the_kinds_are_all():
    assert {DSCDANConfig, DualConfig, SpectralNetConfig, DECConfig} <= set(KINDS)
    assert KingdraConfig not in KINDS
    told = KINDS[DECConfig].pretrain_dict()
    assert json.loads(json.dumps(told)) == told
