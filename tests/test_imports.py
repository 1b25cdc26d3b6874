"""Who may import whom (docs/architecture.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "loaders", "experiments", "models", "reporting")
OURS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("", *PACKAGES)
    for path in (ROOT / folder).glob("*.py" if not folder else "**/*.py")
}
MODELS = {name for name in OURS if name.startswith("models.")}
HEAVY = {"tensorflow", "keras"}

# Who may import whom: each layer only itself and those above it in this list.
LAYERS = (
    ("common",),
    ("metrics", "augment", "loaders"),
    ("datasets", "models.settings"),
    ("models.core",),
    ("models",),
    ("experiments",),
    ("reporting",),
    ("main", "run_exp"),
)
# Modules of the models that see neither data sets nor scores.
OUTSIDE = (
    "datasets",
    "loaders",
    "metrics",
    "experiments",
    "reporting",
    "main",
    "run_exp",
    "sklearn.datasets",
    "sklearn.metrics",
)


def layer(module):
    """Return the number of a module's layer, by the longest name that it begins with."""
    names = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in names:
            return names[".".join(parts[:end])]
    raise KeyError(module)


def tree(module):
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        path = ROOT / module.replace(".", "/") / "__init__.py"
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(module, hints=True):
    """All modules that a module imports anywhere, inside functions and for type hints too."""
    found, nodes = set(), set(ast.walk(tree(module)))
    if not hints:
        nodes -= {inner for node in nodes if is_for_hints(node) for inner in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_walk_sees_imports():
    assert {"tensorflow", "common.errors", "math"} <= imports("augment")
    assert "common.files" in imports("models")  # inside a function


def is_for_hints(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def test_no_imports_go_in_a_circle():
    """Those inside functions count, too."""
    left = {module: imports(module, hints=False) & OURS - {module} for module in OURS}
    assert "models.settings.base" not in left["models.settings.fields"]  # a type hint
    assert "experiments.sweep" in left["experiments.trials"]  # in a function
    while free := {module for module, wanted in left.items() if not wanted & left.keys()}:
        left = {module: wanted for module, wanted in left.items() if module not in free}
    assert not left


@pytest.mark.parametrize("module", sorted(OURS))
def test_no_arrow_points_upward(module):
    above = {name for name in imports(module) & OURS if layer(name) > layer(module)}
    assert not above


def test_every_file_can_be_read_at_one_sitting():
    files = [*ROOT.glob("*.py"), *(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))]
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in files}
    assert len(lines) > 100
    long = {path: n for path, n in lines.items() if n > (200 if path.parent == ROOT else 350)}
    assert not long


@pytest.mark.parametrize("module", sorted(MODELS))
def test_models_never_see_data_sets_or_scores(module):
    seen = {name for name in imports(module) if name.startswith(OUTSIDE)}
    assert not seen


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
        "import models, models.settings.presets, common.files; "
        "import models.core.monitor, models.core.cost; "
        "models.preset('FcDEC').to_dict(); list(models.METHODS)"
    )
    assert "models.settings.presets" in loaded
    assert not loaded & (HEAVY | {"sklearn", "augment", "models.core.base", "models.core.training"})


def test_baselines_scores_and_data_sets_need_no_tensorflow():
    loaded = modules_after(
        "import metrics, datasets, models; "
        "models.build('k-means', 2, n_init=1).fit([[0.0], [0.1], [1.0]])"
    )
    assert {"metrics", "datasets", "models.baselines.simple"} <= loaded and not loaded & HEAVY


def test_names_of_data_sets_need_no_scikit_learn():
    loaded = modules_after("import datasets; list(datasets.DATASETS)")
    assert "loaders.features" in loaded and not loaded & (HEAVY | {"sklearn"})
