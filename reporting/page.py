"""The report: one HTML file of everything in results, that needs no other file and no network.

The same rows and run folders give the same bytes. Figures show EACH settings of a (method, data
set) (evidence.groups), and of each the run with the lowest seed: no score decides.
"""

from html import escape
from pathlib import Path

import numpy as np

from experiments import ledger, published
from experiments.trials import read_choices
from reporting import charts, evidence
from reporting.evidence import Absent, Damaged
from reporting.figures import confusion, embedding, published_acc, sheet, training
from reporting.tables import (
    coverage,
    every_run,
    figure,
    grid,
    mean_std,
    missing,
    paper_table,
    plural,
    settings,
    tag,
)

STYLE = Path(__file__).resolve().parent / "style.css"
LIMIT = 15_000_000  # bytes of the file, about: after that clusters are not shown
FIGURES = {
    "confusion matrix": confusion,
    "map of the embedding": embedding,
    "image sheet": sheet,
}


class Report:
    """The page, put together part by part.

    Parameters
    ----------
    rows : list of rows
        From the ledger.
    folders : dict
        Run folder -> its row.
    paper : DataFrame
        From `published.read_paper`.
    choices : list of rows
        From `trials.read_choices`.
    """

    def __init__(self, rows, folders, paper, choices=()):
        self.rows, self.paper, self.choices = ledger.merge(rows), paper, choices
        self.groups, self.left_out = evidence.groups(rows, folders)
        self.warnings = []
        self.size = 0

    def _warn(self, name, error):
        warning = f"{name}: {error}"
        if warning not in self.warnings:
            self.warnings.append(warning)

    def logs(self, group):
        """Return {seed: log} of a group's run folders."""
        logs = {}
        for seed, folder in group.folders.items():
            try:
                logs[seed] = evidence.history(folder / "log.csv")
            except Absent:
                continue
            except Damaged as error:
                self._warn(f"{group.name} on {group.dataset}", error)
        return logs

    def clusters(self, group):
        """Return the figures of a run's clusters, or sentences on why there are none."""
        run = evidence.Clusters(group)
        parts, absent = [], {}
        for what, draw in FIGURES.items():
            try:
                if self.size > LIMIT:
                    raise Absent(f"this file has reached {LIMIT / 1e6:g} MB")
                parts.append(draw(run))
                self.size += len(parts[-1])
            except Absent as error:
                absent.setdefault(str(error), []).append(what)
            except Damaged as error:
                self._warn(run.name, error)
                absent.setdefault("a file of the run is damaged", []).append(what)
        title = tag("h4", f"Clusters of seed {run.seed}")
        content = title + tag("div", *parts, class_="clusters") if parts else ""
        return content + "".join(
            missing(f"No {', no '.join(names)}: {reason}.") for reason, names in absent.items()
        )

    def card(self, group, logs, anchor):
        """Return all figures of a group."""
        title = tag("h3", escape(group.method)) + settings(group)
        acc = f" ACC {mean_std(group.values('acc'))}"
        if not group.folders:
            content = missing("No figures: the run folders are not on this machine.")
        else:
            curves = training(group, list(logs.values()), self.paper)
            self.size += len(curves)
            content = curves or missing("No training curves: no log with rows.")
            content += "".join(tag("p", escape(line)) for line in evidence.doubts(group))
            content += self.clusters(group)
        return tag("details", tag("summary", title, acc), content, id=anchor, open="")

    def problem(self, name, groups):
        """Return what was run on a data set: ACC against time, then every group."""
        row = next(iter(groups[0].runs.values()))
        title = groups[0].dataset
        sizes = [f"{letter} = {row[key]}" for letter, key in (("n", "n"), ("K", "k")) if row[key]]
        marks, lines, cards = [], [], []
        for number, group in enumerate(groups, start=1):
            logs, anchor = self.logs(group), f"{name}-{number}"
            timed = [row for row in group.runs.values() if row["acc"] and row["seconds_total"]]
            dot = ""
            if timed:
                dot = tag("span", str(len(marks) + 1), class_=f"dot c{len(marks) % charts.COLOURS}")
                trails = [evidence.acc_over_time(group.runs[s], log) for s, log in logs.items()]
                ends = [[float(row[c]) for row in timed] for c in ("seconds_total", "acc")]
                marks.append((group.name, *ends, [t for t in trails if t is not None]))
            link = tag("a", escape(group.method), href=f"#{anchor}") + settings(group)
            acc, nmi = (mean_std(group.values(column)) for column in ("acc", "nmi"))
            minutes = mean_std([s / 60 for s in group.values("seconds_total")], 1)
            _, printed = published_acc(group, self.paper) or (None, "–")
            chosen, consensus = evidence.choice(group, self.choices)
            lines.append([link, dot, acc, escape(printed), chosen, consensus, nmi, minutes,
                          escape(evidence.verdicts(group))])  # fmt: skip
            cards.append(self.card(group, logs, anchor))
        head = ["method", "mark", "ACC", "paper", "choice", "consensus", "NMI", "minutes", "health"]
        caption = (
            "Mean ± std (number of seeds); paper: the first published ACC; choice and consensus: "
            "ACC of the run chosen without labels, and of what most runs say; health: verdicts "
            "of the runs, without labels."
        )
        table = grid(head, lines, caption, f"our runs on {title}", numbers=range(2, 8))
        parts = [tag("div", table, class_="card")]
        if marks:
            ends = (f"{m[0]}: ACC {np.mean(m[2]):.4f} in {np.mean(m[1]):.0f} s" for m in marks)
            picture = charts.against_time(marks, f"ACC against time on {title}. {'; '.join(ends)}")
            caption = (f"{tag('b', 'ACC against time')} of a whole run, pretraining included. "
                       "Numbers: means of the methods in the table; dots: single runs; lines: how "
                       "a run came there, from its k-means start.")  # fmt: skip
            parts.insert(0, figure(picture, caption))
        about = tag("p", escape(", ".join(sizes))) if sizes else ""
        return about + tag("div", *parts, class_="overview") + "".join(cards)

    def summary(self):
        """Return what there is, in a few sentences."""
        if not self.rows:
            return tag("p", "No runs yet: ", tag("code", "python run_exp.py"), " makes them.")
        ok = sum(row["status"] == "ok" for row in self.rows)
        methods, names = ({row[key] for row in self.rows} for key in ("method", "dataset"))
        last = max(row["finished"] for row in self.rows) or "at a time not noted"
        here = sum(bool(group.folders) for group in self.groups)
        text = (
            f"{plural(ok, 'finished run')} of {plural(len(methods), 'method')} on "
            f"{plural(len(names), 'data set')}, {len(self.rows) - ok} failed; the last ended "
            f"{last}. Curves are means over seeds, clusters those of the lowest seed, where the "
            f"run folders are on this machine: for {here} of {len(self.groups)} settings."
        )
        if self.left_out:
            text += (
                f" At most {evidence.EACH} settings of a method and data set are shown; left out: "
                f"{'; '.join(self.left_out)}."
            )
        return tag("p", escape(text))

    def tables(self):
        """Return the sections of the published tables."""
        tables = published.every_table(self.rows, self.paper)
        cards = [
            tag("article", tag("h3", escape(name)), paper_table(table), class_="card",
                id=f"table-{name}")
            for name, table in tables.items() if table.attrs["covered"]
        ]  # fmt: skip
        parts = {"coverage": ("Coverage", tag("div", coverage(tables), class_="card"))}
        if cards:
            legend = tag("p", escape(published.LEGEND))
            parts["tables"] = ("The papers' tables", "".join([legend, *cards]))
        return parts

    def html(self):
        """Return the page."""
        parts = self.tables()  # name -> (title, content)
        runs = tag("div", every_run(self.rows), class_="card")
        self.size = len(runs) + sum(len(content) for _, content in parts.values())
        problems = {}
        for group in self.groups:
            problems.setdefault(group.problem, []).append(group)
        for i, groups in enumerate(problems.values()):
            own = ", your own file" if groups[0].source == "file" else ""
            parts[f"data-{i}"] = (groups[0].dataset + own, self.problem(f"data-{i}", groups))
        if self.rows:
            parts["runs"] = ("All runs", runs)
        links = (tag("a", escape(title), href=f"#{name}") for name, (title, _) in parts.items())
        title = "Deep clustering: results"
        body = [
            tag("header", tag("h1", title), self.summary(), tag("nav", *links)),
            "<main>",
            *(tag("section", tag("h2", escape(title)), content, id=name)
              for name, (title, content) in parts.items()),
            "</main>",
        ]  # fmt: skip
        head = HEAD.format(title=title, style=STYLE.read_text(encoding="utf-8"))
        return head + "<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"


HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
"""  # noqa: E501


def write(results_dir, paper=None):
    """Write report.html from results.csv and the run folders; return (its path, warnings).

    Rows of users' own files, own/results.csv, have sections of their own and no published number.
    """
    folder = Path(results_dir)
    rows = [row for name in (".", "own") for row in ledger.read_rows(folder / name / "results.csv")]
    folders, warnings = ledger.folders(folder / "runs")
    choices = read_choices(folder / "choices.csv")
    page = Report(rows, folders, published.read_paper() if paper is None else paper, choices)
    text = page.html()
    ledger.write_text(folder / "report.html", text)
    return folder / "report.html", warnings + page.warnings
