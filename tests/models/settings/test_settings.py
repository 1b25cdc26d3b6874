"""One declaration for a setting, one row for a method: what follows from them."""

import dataclasses
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import user_error

import datasets
from experiments import options, plan
from experiments.spec import RunSpec
from models import METHODS, build, class_of, preset
from models.core.cost import COUNTS, method_flops
from models.core.estimator import Estimator
from models.settings.base import PretrainConfig, digest, pretrain_key
from models.settings.dec_da import Config
from models.settings.fields import SGD, Adam, setting, settings_of, when
from models.settings.method import ORDERED, Method

ROOT = Path(__file__).resolve().parents[3]

# ---- a method's settings and keys are those that committed rows and weights were made with -----

BEFORE = {
    "FcDEC": "351782e3",
    "FcDEC-DA": "79e0996d",
    "FcIDEC": "089f2822",
    "FcIDEC-DA": "ef037ad9",
    "FcDCN": "d3296709",
    "FcDCN-DA": "63ed448c",
    "ConvDEC": "36fc7c3a",
    "ConvDEC-DA": "d25572ee",
    "ConvIDEC": "85232966",
    "ConvIDEC-DA": "8682358b",
    "BasicDC": "9ffda520",
    "ASPC": "1099517f",
    "ASPC-DA": "046ee15b",
    "ASPC-DA-SC": "bb12dd6b",
    "ASPC-DA-AC": "8d575dda",
    "ASPC-DA-GMM": "b17d0a53",
    "ConvASPC": "7d0dcd0c",
    "ConvASPC-DA": "59f4be9e",
    "AE+k-means": "e2717650",
    "DAE+k-means": "c39d0319",
    "AE+k-means-DA": "456fdf9d",
    "k-means": "c6ed7f13",
    "NMF": "6f074eac",
    "SC-Ncut": "c2175f61",
    "SC-LS": "067dba03",
    "AC": "b34f2cfc",
    "AC-GDL": "e09e3ae4",
    "GMM": "6c20e2bb",
    "UMAP+HDBSCAN": "ae0cf7ec",
    "ConvAE": "476c35df",
    "ConvAE+MI": "3ba2b109",
    "ConvAE+RS": "14b24431",
    "ConvAE+MI+RS": "c2023352",
    "DSCDAN": "8b193c30",
    "DSCDAN-restarts": "85497504",
    "DSCDAN-code": "d2933cfd",
    "DSCDAN-spectral-init": "a8bf13d7",
    "SpectralNet": "8c714f05",
    "KINGDRA-LADDER-IM": "bed8814a",
    "KINGDRA-LADDER-DOT": "175b372e",
    "LADDER-IM": "d1c89fc4",
    "LADDER-IM-ensemble": "3b2812cd",
    "LADDER-DOT": "97146d6d",
    "IMSAT-RPT": "b1700928",
    "IMSAT-VAT": "ec0df544",
}
SETS = [
    "digits",
    "mnist",
    "mnist-test",
    "usps",
    "fmnist",
    "20news",
    "reuters10k",
    "cifar10",
    "stl10",
    "ytf",
]


@pytest.mark.parametrize("method", BEFORE)
def test_settings_and_keys_stay(method):
    """On every data set, by digests taken before settings were declared in this way.

    And before there was `shuffle`, which is on where samples may lie in the order of their classes.
    """
    configs = [preset(method, d, n) for d in (None, *SETS) for n in (None, 10000, 70000)]
    if hasattr(configs[0], "shuffle"):
        configs = [replace(config, shuffle=False) for config in configs]
    told = [[config.to_dict(), config.pretrain_dict()] for config in configs]
    assert digest(told, 8) == BEFORE[method]


# ---- one line is a setting ---------------------------------------------------------------------


@dataclass(frozen=True)
class NewConfig(Config):
    warmup: int = setting(3, "epochs without the clustering loss", ge=0, le=9, omit="hash")
    blur: float = setting(
        0.0,
        "width of a filter",
        ge=0,
        lt=2,
        stage="pretrain",
        omit="hash",
        effect=[when("aug_pretrain")],
    )


@pytest.fixture
def new(monkeypatch):
    """A method with two more settings than FcDEC."""
    row = Method("models.dec:DEC", NewConfig(), "dec-da", ours=True)
    monkeypatch.setitem(METHODS, "New", row)
    return row


def test_a_line_gives_flag_default_and_help(new, capsys):
    args = options.parse(["--method", "New", "--warmup", "5", "--blur=1"])
    assert args.overrides == {"warmup": 5, "blur": 1.0}
    with pytest.raises(SystemExit):
        options.parse(["--method", "New", "-h"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--warmup INT epochs without the clustering loss (default 3)" in text


def test_a_line_gives_the_check(new):
    with user_error("warmup=10: expected an integer >= 0 and <= 9"):
        replace(new.settings, warmup=10)
    with user_error("blur=2.0: expected a number >= 0 and < 2"):
        replace(new.settings, blur=2.0)


def test_a_line_gives_the_key_in_sweep_files(new, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.sweepfiles.SETTINGS", options.option_names())
    path = tmp_path / "sweep.json"
    path.write_text(
        json.dumps(
            {
                "methods": ["New"],
                "datasets": ["digits"],
                "seeds": [0],
                "settings": {"warmup": [1, 2]},
            }
        )
    )
    trials, _ = plan.plan(*plan.parse([str(path)]))
    assert [trial.record["config"]["warmup"] for trial in trials] == [1, 2]
    assert "--warmup=2" in trials[1].argv


def test_a_line_gives_hash_and_key_of_pretraining(new):
    base, plain = new.settings, Config()
    assert base.to_dict() == plain.to_dict() and base.pretrain_dict() == plain.pretrain_dict()
    augmented = replace(base, aug_pretrain=True)

    def key(config):
        return pretrain_key(config, (8, 8, 1), "x", 0)[0]

    assert replace(base, warmup=4).to_dict() != base.to_dict()
    assert key(replace(base, warmup=4)) == key(base)
    assert key(replace(augmented, blur=1.0)) != key(augmented)
    assert key(replace(base, blur=1.0)) == key(base)  # nothing is augmented
    assert replace(base, blur=1.0).without_effect()["blur"] == "aug_pretrain=False"


def test_a_field_that_is_no_setting_is_told():
    @dataclass(frozen=True)
    class Bare(Config):
        more: int = 3

    with pytest.raises(TypeError, match="more: declare it with setting"):
        Bare()


@pytest.mark.parametrize("method", METHODS)
def test_options_change_the_settings_that_they_name(method):
    """Every option at its own default changes nothing."""
    config = METHODS[method].settings
    defaults = {name: o.default for name, o in config.options().items() if o.default is not None}
    assert config.changed(defaults) == config
    owners = {o.setting for o in config.options().values()}
    hidden = {one.name for one in settings_of(type(config)).values() if not one.offered}
    assert owners | hidden == {f.name for f in dataclasses.fields(config)}
    own = {"aug_cluster"} if type(config).__name__ == "SpectralSATConfig" else set()
    assert hidden <= {"network", "of_ten"} | own


def test_whole_numbers_of_a_file_are_those_of_the_command_line():
    """1 and 1.0 have different hashes."""
    config = preset("FcDEC").changed({"tol": 1, "lr": 2, "maxiter": 3})
    assert [type(v) for v in (config.tol, config.optimizer.lr, config.maxiter)] == [
        float,
        float,
        int,
    ]
    with user_error("unknown setting 'tolerance'"):
        preset("FcDEC").changed({"tolerance": 1})


def test_an_optimizer_is_three_options():
    assert preset("ConvDEC").changed({"optimizer": "sgd", "lr": 0.5}).optimizer == SGD(0.5, 0.9)
    assert preset("FcDEC").changed({"pretrain_lr": 0.5}).pretrain_optimizer == SGD(0.5, 0.9)
    assert preset("FcDEC").changed({"optimizer": "adam"}).optimizer == Adam()


# ---- the registry ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_row_says_what_the_name_says(method):
    row = METHODS[method]
    augmented = method.endswith("-DA") or "-DA-" in method
    for stage, without in ("pretrain", "SpectralSAT-DA"), ("cluster", "AE+k-means-DA"):
        expected = augmented and method != without
        assert getattr(row.settings, f"aug_{stage}", False) == expected
    if method.startswith(("Fc", "Conv")) and row.paper != "dscdan":
        assert row.settings.network == ("fc" if method.startswith("Fc") else "conv")
    assert (ROOT / "docs" / "methods" / f"{row.paper}.md").exists()
    assert issubclass(class_of(method), Estimator)
    assert row.settings.cost in COUNTS and row.settings.cost is not None
    assert set(row.by_dataset) <= set(datasets.DATASETS)


def test_what_is_ours_is_in_no_table_of_a_paper():
    text = (ROOT / "results" / "paper.csv").read_text()
    ours = [name for name, row in METHODS.items() if row.ours]
    assert len(ours) == 7 and not [name for name in ours if f",{name}," in text]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("models.nothing:DEC", "there is no module models.nothing"),
        ("nowhere.dec:DEC", "there is no module nowhere"),
        ("models.dec:Missing", "models.dec has no Missing"),
    ],
)
def test_a_broken_row_is_told_as_such(monkeypatch, path, told):
    monkeypatch.setitem(METHODS, "New", Method(path, Config(), "dec-da"))
    with user_error(f"method 'New' is registered as {path!r}, but {told}"):
        build("New", 3)


def test_a_package_that_is_not_there_is_another_matter(monkeypatch, tmp_path):
    (tmp_path / "needs_more.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "New", Method("needs_more:X", Config(), "dec-da"))
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        class_of("New")


def test_a_method_whose_cost_is_not_known_can_be_planned():
    class Unknown(PretrainConfig):
        cost = None

    assert method_flops(Unknown(), 100, 64, 10) == (0.0, 0.0)


def test_differences_by_data_set_are_data():
    row = Method(
        "x:Y",
        Config(),
        "dec-da",
        by_dataset={"usps": {"tol": 0.5}},
        by_size={0: {"maxiter": 1}, 10: {"maxiter": 2}},
    )
    assert (row.settings_for().tol, row.settings_for().maxiter) == (1e-3, 20000)
    assert (row.settings_for("usps").tol, row.settings_for("usps").maxiter) == (0.5, 20000)
    assert [row.settings_for("usps", n).maxiter for n in (9, 10, 11)] == [1, 2, 2]


def test_batches_follow_the_order_of_the_data_only_where_its_samples_are_mixed():
    on = {name: preset("LADDER-IM", name).shuffle for name in (None, *datasets.DATASETS)}
    assert [name for name in on if on[name]] == [None, "digits", "ytf"]
    on = {name: preset("FcIDEC", name).shuffle for name in (None, *datasets.DATASETS)}
    assert [name for name in on if on[name]] == [None, "ytf"]
    assert set(ORDERED) - {None} <= set(datasets.DATASETS)
    assert preset("DEC", vectors=True).shuffle and not hasattr(preset("FcDCN"), "shuffle")


# ---- the command line --------------------------------------------------------------------------


def help_of(capsys, *argv):
    with pytest.raises(SystemExit) as end:
        options.parse([*argv, "-h"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_general_help_lists_the_methods_by_paper(capsys):
    text = help_of(capsys)
    assert len(text.splitlines()) <= 67 and "--tol" not in text
    for name, row in METHODS.items():
        assert re.search(rf"(?<![\w+-]){re.escape(name)}(?![\w+-])", text), name
        assert f"\n  {row.paper} " in text
    assert "--method NAME -h" in text


@pytest.mark.parametrize("method", ["ASPC-DA", "FcDEC", "k-means", "AC", "SpectralNet"])
def test_help_of_a_method_fits_a_screen_and_shows_its_settings(method, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, "--method", method)
    assert len(text.splitlines()) <= 75 and max(map(len, text.splitlines())) <= 80
    shown = set(re.findall(r"^  --(?:\[no-\])?([a-z-]+)", text, re.M))
    visible = [o for o in METHODS[method].settings.options().values() if not o.hidden]
    assert shown == {o.flag[2:] for o in visible}
    for option in visible:
        assert f"(default {option.shown})" in " ".join(text.split()) or option.default is None


def test_help_shows_the_defaults_of_a_data_set(capsys):
    words = ("--method", "ASPC-DA", "--dataset", "fmnist")
    assert "at most (default 10)" in help_of(capsys, *words)
    text = help_of(capsys, *words[:2])
    assert "at most (default 100)" in text and "fmnist: --epochs 10" in text
    assert len(text.splitlines()) <= 60


def test_a_setting_of_another_method_is_refused():
    told = "--filters is not a setting of FcDEC; its settings: latent_dim, batch_size"
    for words in (["--filters", "3", "4"], ["--filters=3"]):
        with user_error(told):
            options.parse(["--method", "FcDEC", *words])
    with user_error("--self-paced is not a setting of k-means; its settings: n_init"):
        options.parse(["--method", "k-means", "--no-self-paced"])
    with user_error("--tol is not a setting of AC; its settings: none"):
        options.parse(["--method", "AC", "--tol", "1"])


def test_a_sweep_takes_the_settings_of_any_of_its_methods():
    args, rest = plan.parse(
        [
            "--methods",
            "FcDEC",
            "k-means",
            "--datasets",
            "digits",
            "--trials",
            "1",
            "--tol",
            "0.5",
            "--n-init",
            "auto",
        ]
    )
    deep, kmeans = plan.plan(args, rest)[0]
    assert deep.spec.overrides == {"n_init": "auto", "tol": 0.5}
    assert kmeans.spec.overrides == {"n_init": "auto"}
    args, rest = plan.parse(["--methods", "FcDEC", "k-means", "--epochs", "3"])
    with user_error("--epochs is not a setting of FcDEC, k-means; their settings: latent_dim"):
        plan.plan(args, rest)


SPECS = [
    RunSpec("FcDEC", threads=1),
    RunSpec(
        "FcDEC-DA",
        dataset="usps",
        seed=3,
        threads=2,
        n_clusters=4,
        device="cpu",
        overrides={"lr": 0.1, "tol": 1e-05, "aug_cluster": False, "n_init": "auto"},
    ),
    RunSpec(
        "DSCDAN",
        data="my data/x.npz",
        threads=1,
        data_dir="d",
        pretrained_weights="a.h5",
        overrides={"filters": [8, 16], "train_discriminators": True},
        strict=True,
    ),
    RunSpec(
        "KINGDRA-LADDER-IM",
        threads=1,
        checkpoint_seconds=5.0,
        overwrite=True,
        overrides={"denoising_costs": [1000.0, 0.5], "vote": "first"},
    ),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.method)
def test_a_spec_and_its_command_line_are_the_same(spec):
    args = options.parse(spec.to_argv())
    assert RunSpec.of(args, cache_dir=None) == spec


def test_folders_of_a_machine_are_not_in_the_command_line():
    spec = RunSpec("FcDEC", save_dir="here", cache_dir="there")
    assert spec.to_argv() == ["--method", "FcDEC", "--seed", "0"]


def test_what_no_option_says_is_refused():
    with user_error("update_interval=None"):
        RunSpec("FcDEC", overrides={"update_interval": None}).to_argv()


# ---- the tables of docs ------------------------------------------------------------------------


ROWS = [
    (path.stem, *map(str.strip, line.split("|")[1:3]))
    for path in sorted((ROOT / "docs" / "methods").glob("*.md"))
    for line in path.read_text().split("\n## Settings\n")[1].split("\n## ")[0].splitlines()
    if line.startswith("| `--")
]


@pytest.mark.parametrize(("page", "flags", "default"), ROWS)
def test_defaults_in_docs_are_those_of_the_settings(page, flags, default):
    """The first number or word of each default is that of a method on the page."""
    flags = re.findall(r"`--([a-z-]+)`", flags)
    parts = [part.strip() for part in default.split(",")] if len(flags) > 1 else [default]
    if len(parts) != len(flags) or default == "see above" or "default" in default:
        pytest.skip("not a list of defaults")
    for flag, part in zip(flags, parts, strict=True):
        name = flag.replace("-", "_")
        known = [row.settings.options() for row in METHODS.values() if row.paper == page]
        shown = {options[name].shown for options in known if name in options}
        first = re.match(r"[\w.+/-]+(?: [\d.]+)*", part)[0]
        good = {first, first.lower(), part.split()[0].rstrip(";:,")}
        numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?:/\d+)?", part)
        good |= {f"{eval(n):g}" for n in numbers[:1]}  # as 500/70000
        assert shown & good or "none" in shown or not shown, f"{flag}: {shown}, not {part}"
