"""Rows of before a name or a default changed: what they are called today. Scores never change."""

import functools

from datasets import PROBLEMS
from models import preset
from models.settings.base import digest

# Config hash -> the settings that were defaults when its rows were made and are none today.
FORMER_DEFAULTS = {
    "724f3457e9a3": "radius=0.25",  # IMSAT-RPT
    "3d74798c4e12": "head_init=random maxiter=1000",  # DSCDAN-code
}


ON_DIGITS = {"f224a5a6493b": "shuffle=False"}  # LADDER-IM; the same for rows of digits alone


def rename(row: dict[str, str]) -> None:
    """Give a row the names that its method, data and settings have today."""
    if row["method"] == "DSCDAN" and row["config_hash"] in _five_starts():
        row["method"] = "DSCDAN-restarts"  # its name when the row was made
    if row["dataset"] == "20news" and row["data_hash"] == PROBLEMS["20news-l2"][1]:
        row["dataset"] = "20news-l2"  # "20news" was its name when the row was made
    if row["dataset"] == "digits" and row["config_hash"] in ON_DIGITS:
        row["overrides"] = ON_DIGITS[row["config_hash"]]
    if row["config_hash"] in FORMER_DEFAULTS:
        row["overrides"] = FORMER_DEFAULTS[row["config_hash"]]


@functools.cache
def _five_starts():
    """Return the config hashes of DSCDAN-restarts, which DSCDAN was before it had one start."""
    configs = [preset("DSCDAN-restarts", name) for name in PROBLEMS]
    return {digest(config.to_dict() | {"weights": None}) for config in configs}
