"""README and docs: commands that parse, links that lead somewhere, numbers that have their rows."""

import ast
import csv
import re
import shlex
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest

import datasets
from experiments import campaign, figures, ledger, options, plan, rendering, results_page
from experiments import published as papers
from experiments.sweepfiles import is_authors
from models import METHODS
from models.settings.presets import CONFIGS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(ROOT.glob("docs/**/*.md"))
DOCS = [ROOT / "README.md", *PAGES]
METHOD_PAGES = sorted(ROOT.glob("docs/methods/*.md"))
MODULES = sorted([*ROOT.glob("*.py"), *ROOT.glob("models/*.py"), *ROOT.glob("reporting/*.py")])
PLACEHOLDERS = {  # words that stand for a value in a command
    "FILE": "mine.npz",
    "DIR": "data",
    "K": "3",
    "N": "2",
    "M": "FcDEC",
    "D": "usps",
    "S": "0",
    "ID": "decda-3",
    "ADDRESS": "auto",
    "MINUTES": "60",
}
SIZES = {"digits": 1797, "usps": 9298, "mnist": 70000, "fmnist": 70000, "20news": 18040}
HEAD = "| method | data set | settings | seeds | ACC | paper | NMI | paper | minutes |"


def name_of(path):
    return str(path.relative_to(ROOT))


def commands():
    """Return (page, command) of every `python main.py ...` and `python run_exp.py ...`."""
    found = []
    for path in DOCS:
        text = path.read_text()
        blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
        for line in lines:
            for part in line.split("&&"):
                match = re.match(r"\s*(?:\.venv/bin/)?python (main|run_exp)\.py(?!\S)(.*)", part)
                if match and match[2] != " -h":
                    found.append((name_of(path), f"{match[1]}.py{match[2]}"))
    return list(dict.fromkeys(found))


COMMANDS = commands()


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 40
    assert {command.split()[0] for _, command in COMMANDS} == {"main.py", "run_exp.py"}


@pytest.mark.parametrize("page, command", COMMANDS, ids=[" ".join(c) for c in COMMANDS])
def test_commands_are_understood(page, command):
    program, *words = shlex.split(command, comments=True)
    words = [PLACEHOLDERS.get(word, word) for word in words]
    if "--campaign" in words:
        campaign.parser().parse_args(words)
        return
    if program == "run_exp.py":
        args, rest = plan.parse(words)
        if args.figure is not None:
            assert args.figure in figures.FIGURES
            return
        plan._check(args, rest)
        for method in args.methods or ():
            assert method in METHODS
        for dataset in args.datasets or ():
            assert dataset in datasets.DATASETS or Path(dataset).suffix
        if args.table is not None:
            assert plan.wanted(args)
        for path in args.file or ():
            own = path.startswith(("configs/figures/", "configs/ours/")) and (ROOT / path).exists()
            assert not path.startswith("configs/") or own or is_authors(str(ROOT / path))
        pairs = [] if args.file else plan.wanted(args)
        options.parse_shared(rest, [method for method, _, _ in pairs] or METHODS)
        return
    args = options.parse(words)
    options.check(args)
    args.method = args.method or options.METHOD
    name = args.dataset or "digits"
    assert name in datasets.DATASETS
    own = args.data is not None
    n = SIZES.get(name, 10000)
    options.resolve(args, SimpleNamespace(preset_name=name, n=n, own_vectors=own))


def anchors(path):
    """Return the anchors of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


LINKED = [*DOCS, ROOT / "data" / "README.md", ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("path", LINKED, ids=name_of)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


def test_readme_is_short_and_has_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    set_up = "python3 -m venv .venv && .venv/bin/pip install -r requirements{}.txt && "
    assert f"\n{set_up.format('')}.venv/bin/python main.py\n" in text
    tests = ".venv/bin/python -m pytest\n"
    assert f"\n{set_up.format('-dev')}{tests}" in text
    assert f"\n{tests}" in (ROOT / ".ci" / "run").read_text()
    assert "results:begin" not in text  # sweeps write docs/results.md, not this file


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_page_can_be_reached(path):
    texts = [other.read_text() for other in DOCS if other != path]
    assert any(path.name in text for text in texts)


# ---- departures -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_departures_are_not_listed_in_modules(path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert not re.search(r"released code / here|^(Departures?|Choices)\b.*\n-{3,}", text, re.M)
    assert not re.search(r"^\d+\. [^\n]*(?:\n[^\d\n][^\n]*)* / ", text, re.M)
    pointers = re.findall(r"^Departures: (.*)$", text, re.M)
    assert all((ROOT / pointer).exists() for pointer in pointers)
    assert "Departures" not in re.sub(r"^Departures: .*$", "", text, flags=re.M)


@pytest.mark.parametrize("path", METHOD_PAGES, ids=name_of)
def test_method_pages_have_one_form(path):
    text = path.read_text()
    headings = re.findall(r"^## (.*)$", text, re.M)
    wanted = ["Paper", "Method", "Commands", "Settings", "Departures", "Results", "What was tried"]
    assert [heading for heading in headings if heading in wanted] == wanted
    section = text.split("\n## Departures\n")[1].split("\n## ")[0]
    assert "| # | what | paper | released code | here |" in section
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", section, re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers


@pytest.mark.parametrize("path", METHOD_PAGES, ids=name_of)
def test_settings_are_options(path):
    options = {o.flag for c in CONFIGS.values() for o in c.options().values()}
    section = path.read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    names = re.findall(r"`(--[a-z-]+)[ `]", section)
    assert names
    assert [name for name in names if name not in options] == []


def test_every_method_is_in_readme_and_on_a_page():
    """Methods with -DA stand beside those without."""
    readme = (ROOT / "README.md").read_text().split("\n## Methods\n")[1].split("\n## ")[0]
    pages = "".join(path.read_text() for path in METHOD_PAGES)
    for name in METHODS:
        base = name.removesuffix("-DA")
        assert f"`{name}`" in readme or (f"`{base}`" in readme and "`-DA`" in readme), name
        assert f"`{name}`" in pages, name


# ---- numbers ----------------------------------------------------------------------------------


def read(name):
    with open(ROOT / "results" / name, newline="") as file:
        return list(csv.DictReader(file))


ROWS, PAPER = read("results.csv"), read("paper.csv")


def tables(path):
    """Return the lines, as lists of cells, of a page's tables of results."""
    text = path.read_text()
    found = []
    for table in re.findall(rf"^{re.escape(HEAD)}\n\|[- |]+\|\n((?:\|.*\n)+)", text, re.M):
        found += [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return found


def spread(values):
    std = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{std}"


def minutes(rows):
    seconds = [float(row["seconds_total"]) for row in rows if row["seconds_total"]]
    mean = statistics.fmean(seconds) / 60
    return f"{mean:.0f}" if mean >= 1 else "<1"


def expected(line, all_seeds):
    """Return a line of a table of results as the committed rows give it.

    Its first four cells say which rows, of these those of the newest protocol count; with
    all_seeds every seed that has a row must be there.
    """
    method, dataset, settings, seeds = line[:4]
    overrides = "" if settings == "default" else settings.strip("`")
    rows = [
        row
        for row in ROWS
        if (row["method"], row["dataset"], row["overrides"]) == (method, dataset, overrides)
        and row["status"] == "ok"
        and (all_seeds or row["seed"] in seeds.split(", "))
    ]
    assert rows, f"no row of {method} on {dataset}, {settings}"
    newest = max(sum(ledger.protocol(row)) for row in rows)
    rows = [row for row in rows if sum(ledger.protocol(row)) == newest]
    rows.sort(key=lambda row: int(row["seed"]))
    found = [method, dataset, settings, ", ".join(row["seed"] for row in rows)]
    for i, metric in ((5, "acc"), (7, "nmi")):
        found += [spread([float(row[metric]) for row in rows]), line[i]]
    return [*found, minutes(rows)]


def published(method, dataset, metric, settings):
    """Return the published numbers of a cell, printed; none where no paper has it."""
    stages = ["aug_pretrain=True" in settings, "aug_cluster=True" in settings]
    variant = "/".join("ny"[stage] for stage in stages) if any(stages) else ""
    return [
        cell["value"] + (f" ± {cell['spread']}" if cell["spread"] else "")
        for cell in PAPER
        if (cell["method"], cell["dataset"], cell["metric"]) == (method, dataset, metric)
        and cell["variant"] == variant
    ]


@pytest.mark.parametrize("path", [ROOT / "README.md", *METHOD_PAGES], ids=name_of)
def test_results_are_those_of_the_rows(path):
    lines = tables(path)
    assert lines
    for line in lines:
        right = expected(line, all_seeds=path.name == "README.md")
        assert line == right, f"results.csv gives:\n| {' | '.join(right)} |"
        for i, metric in ((5, "acc"), (7, "nmi")):
            numbers = published(line[0], line[1], metric, line[2])
            assert line[i] in (numbers or ["–"]), f"paper.csv gives: {numbers}"


def test_results_page_and_tables_are_those_of_the_rows(tmp_path):
    """`python run_exp.py --tables` makes them anew."""
    rows, paper = ledger.read_rows(ROOT / "results" / "results.csv"), papers.read_paper()
    text = (ROOT / "docs" / "results.md").read_text()
    assert text == rendering.with_block(text, results_page.results_page(rows, paper))
    (tmp_path / "results.csv").write_bytes((ROOT / "results" / "results.csv").read_bytes())
    rendering.write_tables(tmp_path, paper)
    for path in sorted([tmp_path / "tables.md", *tmp_path.glob("tables/*")]):
        committed = ROOT / "results" / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"{committed}: stale"


def test_readme_shows_every_paper():
    lines = tables(ROOT / "README.md")
    assert len(lines) == 13
    shown = {line[0] for line in lines}
    flagships = {"ConvDEC-DA", "ASPC-DA", "DSCDAN-restarts", "KINGDRA-LADDER-IM"}
    assert flagships | {"SpectralSAT-DA"} <= shown


@pytest.mark.parametrize("name", ["mnist", "mnist-test", "20news"])
def test_curves_are_those_of_the_logs(name):
    """The tables of docs/notes/kingdra-curves.md, against the logs that it names."""
    text = (ROOT / "docs" / "notes" / "kingdra-curves.md").read_text()
    log = re.search(rf"`(KINGDRA-LADDER-IM-{name}-s0-\w+\.csv)`(.*?)(?=\n## |\Z)", text, re.S)
    with open(ROOT / "results" / "logs" / log[1], newline="") as file:
        rounds = [row for row in csv.DictReader(file) if row["agreement"]]
    columns = {
        "ensemble, ACC": "acc",
        "members' mean, ACC": "member_acc",
        "agreement": "agreement",
        "samples with a pseudo-label": "pseudo_labels",
        "of these right": "pseudo_acc",
    }
    for label, column in columns.items():
        cells = re.search(rf"^\| {label} \|(.*)\|$", log[2], re.M)[1].split("|")
        shown = [float(cell.replace(",", "")) for cell in cells[: len(rounds)]]
        values = [float(row[column]) for row in rounds]
        assert shown == pytest.approx(values, abs=0.00051)
