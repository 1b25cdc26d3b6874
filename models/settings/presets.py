"""The registry of all methods, and their published settings by (method, data set).

The rows stand in the files of the papers, beside the settings. No TensorFlow here.
"""

from collections.abc import Iterable

from common.errors import UserError, unknown
from models.settings import (
    aspc,
    baselines,
    dec_da,
    dscdan,
    kingdra,
    layerwise,
    n2d,
    rim,
    spectral_sat,
    vade,
)
from models.settings.base import Settings
from models.settings.method import Method

PAPERS = (dec_da, aspc, baselines, dscdan, kingdra, layerwise, n2d, rim, spectral_sat, vade)
METHODS = {name: method for paper in PAPERS for name, method in paper.METHODS.items()}
CONFIGS = {name: method.settings for name, method in METHODS.items()}


def method_of(name: str) -> Method:
    """Return a method's row; UserError if there is no such method."""
    if name not in METHODS:
        raise UserError(unknown("method", name, METHODS))
    return METHODS[name]


def preset(
    method: str, dataset: str | None = None, n: int | None = None, vectors: bool = False
) -> Settings:
    """Return the published settings of a method on a data set of n samples.

    n decides the update interval of DEC and IDEC; vectors: whether these are rows of numbers that
    are no published set, see `Method.settings_for`. UserError if the method is unknown.
    """
    return method_of(method).settings_for(dataset, n, vectors)


def refuse_without_effect(method: str, config: Settings, names: Iterable[str]) -> None:
    """Raise UserError if one of the settings that somebody has chosen changes nothing."""
    found = config.without_effect()
    for name in names:
        if name in found:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} has no effect for {method}: {found[name]}")
