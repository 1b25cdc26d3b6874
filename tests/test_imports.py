"""Who may import whom (DESIGN.md, section 1)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOP = {path.stem for path in ROOT.glob("*.py")}
MODELS = {f"models.{path.stem}" for path in (ROOT / "models").glob("*.py")}
REPORTING = {f"reporting.{path.stem}" for path in (ROOT / "reporting").glob("*.py")}
OURS = TOP | MODELS | REPORTING | {"models", "reporting"}
HEAVY = {"tensorflow", "keras"}

# Modules that may import no more of ours than this. All others under models may import any of
# ours but those in OUTSIDE.
MAY = {
    "errors": set(),
    "metrics": {"errors"},
    "reporting.charts": set(),
    "report": set(),
    "readers": {"errors"},
    "images": {"errors", "readers"},
    "corpora": {"errors", "readers"},
    "device": {"early", "errors"},
    "features": {"device", "errors", "readers"},
    "sources": {"features", "corpora", "images"},
    "datasets": {"errors", "readers", "sources"},
    "shapes": {"errors"},
    "augment": {"errors", "shapes"},
    "models.config": {"errors"},
    "models.presets": {"errors", "models.config", "models.config_dscdan", "models.config_kingdra"},
    "models.config_kingdra": {"errors", "models.config"},
    "models.agreement": set(),
    "models.ladder": set(),
    "models.config_dscdan": {"errors", "models.config"},
    "models.samples": {"errors"},
    "models.baselines": {
        "device",
        "errors",
        "models.estimator",
        "models.initialization",
        "models.monitor",
        "models.samples",
        "models.storage",
    },
    "models.estimator": {"errors", "models.samples"},
    "models.monitor": {"errors"},
    "models.cost": {"errors", "models.config", "models.config_dscdan"},
    "models.storage": {"errors"},
    "models.functional": {"errors"},
    "models.networks": {"errors"},
    "models.dual": {"errors", "models.networks"},
    "models.graphs": {"models.initialization"},
    "models.initialization": {"device", "errors", "models.config", "models.functional"},
    "models.spectral": set(),
    "models.optimizers": {"models.config"},
    "models.training": {"errors", "models.storage"},
}
OUTSIDE = {"datasets", "readers", "images", "corpora", "features", "sources",
           "metrics", "runs", "report", "ledger", "main", "run_exp",
           "sweep", "distributed", "reporting", "campaign",
           "sklearn.datasets", "sklearn.metrics"}  # fmt: skip


def tree(module):
    path = ROOT / (module.replace(".", "/") + ".py")
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(module):
    """All modules that a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_walk_sees_imports():
    assert {"tensorflow", "errors", "math"} <= imports("augment")
    assert "models.storage" in imports("models.__init__")  # inside a function


@pytest.mark.parametrize("module", sorted(MAY))
def test_imports_no_more_than_allowed(module):
    assert imports(module) & OURS - {"models"} <= MAY[module]


@pytest.mark.parametrize("module", sorted(MODELS))
def test_models_never_see_data_sets_or_scores(module):
    assert not imports(module) & OUTSIDE


def test_fit_never_reads_its_argument_y():
    found = 0
    for module in MODELS:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("fit"):
                found += 1
                used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                assert "y" not in used, f"{module}.{node.name}"
    assert found


def modules_after(statement):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return set(done.stdout.split())


def test_names_and_settings_need_no_tensorflow():
    """So that --help and a typing error answer at once."""
    loaded = modules_after(
        "import models, models.presets, models.config, models.storage; "
        "import models.monitor, models.cost; "
        "models.preset('FcDEC').to_dict(); list(models.METHODS)"
    )
    assert "models.presets" in loaded
    assert not loaded & (HEAVY | {"sklearn", "augment", "models.base", "models.training"})


def test_baselines_scores_and_data_sets_need_no_tensorflow():
    loaded = modules_after(
        "import metrics, datasets, models; "
        "models.build('k-means', 2, n_init=1).fit([[0.0], [0.1], [1.0]])"
    )
    assert {"metrics", "datasets", "models.baselines"} <= loaded and not loaded & HEAVY


def test_names_of_data_sets_need_no_scikit_learn():
    loaded = modules_after("import datasets; list(datasets.DATASETS)")
    assert "features" in loaded and not loaded & (HEAVY | {"sklearn"})
