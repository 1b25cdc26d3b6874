"""The methods in the help of the programs: which there are, and where their defaults differ."""

import dataclasses
import textwrap

from models import METHODS


def by_paper(prog: str) -> str:
    """Return the methods of each paper, as text for the help of a program `prog`."""
    papers = {}
    for name, row in METHODS.items():
        papers.setdefault(row.paper, []).append(f"{name}*" if row.ours else name)
    lines = ["methods by paper (docs/methods; * in no paper):"]
    for paper, names in papers.items():
        lines.append(_filled(", ".join(names), 97, f"  {paper:13}"))
    return "\n".join([*lines, "", f"{prog} --method NAME -h shows the settings of a method."])


def differences(method: str) -> str | None:
    """Return lines on the settings that depend on the data set."""
    row, lines = METHODS[method], []
    sizes = {name for changes in row.by_size.values() for name in changes}
    for dataset, changes in row.by_dataset.items():
        if changes.keys() - sizes:
            lines.append(f"{dataset}: {_shown(row, changes)}")
    for size, changes in sorted(row.by_size.items()):
        lines.append(f"{size} samples and more: {_shown(row, changes)}")
    lines = [_filled(line, 78, "  ", "    ") for line in lines]
    return "\n".join(["other defaults:", *lines]) if lines else None


def _filled(text, width, first, then=" " * 15):
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    )


def _shown(row, changes):
    options = dataclasses.replace(row.settings, **changes).options()
    before = row.settings.options()
    fields = [o for o in options.values() if o.setting in changes]
    changed = [o for o in fields if o.default != before[o.name].default] or fields
    return ", ".join(f"{o.flag} {o.shown}" for o in changed)
