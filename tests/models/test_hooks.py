"""Methods are made of public hooks: no class overrides a name with an underscore of ours."""

import inspect
import re

import pytest

from models import METHODS, build, class_of
from models.core.base import DeepClusterer
from models.kingdra.ensemble import Ensemble

NAME = re.compile(r"(\w+)\(")
# Baselines have a family of their own; `_samples` there refuses or reshapes by kind of method.
OTHERS = {("Baseline", "_samples"), ("FittedOnly", "_samples")}


def private_overrides(cls):
    """Return {(class, name)}: underscore names of our classes that a subclass of ours redefines."""
    ours = [c for c in cls.__mro__ if c.__module__.startswith(("models.", __name__))]
    found = set()
    for i, child in enumerate(ours):
        above = {name for parent in ours[i + 1 :] for name in vars(parent)}
        found |= {
            (child.__name__, name)
            for name in vars(child)
            if name in above and name.startswith("_") and not name.startswith(("__", "_sklearn"))
        }
    return found


def test_the_walk_sees_an_override():
    class Parent:
        def _hidden(self):
            """Nothing."""

        def hook(self):
            """Nothing."""

    class Child(Parent):
        def _hidden(self):
            """Nothing."""

        def hook(self):
            """Nothing."""

    assert private_overrides(Child) == {("Child", "_hidden")}


@pytest.mark.parametrize("method", METHODS)
def test_no_method_overrides_a_private_name(method):
    assert private_overrides(class_of(method)) <= OTHERS


def hooks(cls):
    """Return the names that the lines of a class docstring's table of hooks begin with."""
    table = inspect.cleandoc(cls.__doc__).split("What a method defines\n")[1]
    lines = table.split("Parameters\n")[0].split("\n")
    return {name for line in lines if "(" in line.split(" ")[0] for name in NAME.findall(line[:70])}


@pytest.mark.parametrize("base", [DeepClusterer, Ensemble])
def test_the_table_of_hooks_is_what_methods_override(base):
    overridden = set()
    for method in METHODS:
        cls = class_of(method)
        if issubclass(cls, base):
            for c in cls.__mro__[: cls.__mro__.index(base)]:
                overridden |= {n for n, v in vars(c).items() if inspect.isfunction(v)}
    ours = {n for n in overridden if hasattr(base, n) and n[0] != "_" and not n.startswith("set_")}
    assert len(ours) >= 5 and hooks(base) == ours


@pytest.mark.parametrize("method", ["FcDEC", "ConvIDEC-DA", "DEC"])
def test_batches_follow_the_order_of_the_data_only_where_its_samples_are_mixed(method):
    assert build(method, 3).shuffle and not build(method, 3, dataset="usps").shuffle
    assert not build(method, 3, shuffle=False).shuffle
