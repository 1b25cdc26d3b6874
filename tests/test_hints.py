"""Every public function says what it takes and gives."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("common", "loaders", "experiments", "models", "reporting")
FILES = sorted({*ROOT.glob("*.py"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.py"))})


def public_functions(node):
    """The functions and methods whose names, and their classes', do not begin with "_"."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            if inner.name == "__init__" or not inner.name.startswith("_"):
                yield inner
        elif isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from public_functions(inner)


def without_hints(source):
    for function in public_functions(ast.parse(source)):
        a = function.args
        names = [x for x in a.posonlyargs + a.args + a.kwonlyargs if x.arg not in ("self", "cls")]
        wanting = [x.arg for x in names if x.annotation is None]
        if function.returns is None and function.name != "__init__":
            wanting.append("what it gives")
        if wanting:
            yield f"{function.name}: {', '.join(wanting)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_have_type_hints(path):
    assert list(without_hints(path.read_text(encoding="utf-8"))) == []


def test_what_is_missing_is_found():
    source = (
        "class A:\n    def f(self, a, b: int, *, c=1) -> int: ...\ndef g(): ...\ndef _h(x): ..."
    )
    assert list(without_hints(source)) == ["f: a, c", "g: what it gives"]
