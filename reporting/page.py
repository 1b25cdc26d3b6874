"""The report: one HTML file of everything in results, that needs no other file and no network.

The same rows and run folders give the same bytes. Figures show EACH settings of a (method, data
set) (evidence.groups), and of each the run with the lowest seed: no score decides.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from experiments import ledger, published
from experiments.choices import read as read_choices
from reporting import charts, evidence
from reporting.evidence import Absent, Damaged, Group, Log, Row
from reporting.figures import Figure, confusion, embedding, published_acc, sheet, training
from reporting.html import FOLDER, TEMPLATES
from reporting.tables import LINK, Grid, coverage, every_run, mean_std, paper_table, plural

LIMIT = 15_000_000  # bytes of the pictures, about: after that clusters are not shown
FIGURES = {"confusion matrix": confusion, "map of the embedding": embedding, "image sheet": sheet}
DOT = Markup('<span class="dot c{}">{}</span>')
CHANGED = Markup("{}<small>{}</small>")  # a method, and what is not the paper's setting


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
        From `choices.read`.
    """

    def __init__(
        self, rows: list[Row], folders: dict[Path, Row], paper: pd.DataFrame, choices: list[Row]
    ):
        self.rows, self.paper, self.choices = ledger.merge(rows), paper, choices
        self.groups, self.left_out = evidence.groups(rows, folders)
        self.warnings = []
        self.size = 0  # of the pictures so far

    def _warn(self, name, error):
        warning = f"{name}: {error}"
        if warning not in self.warnings:
            self.warnings.append(warning)

    def logs(self, group: Group) -> dict[int, Log]:
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

    def _counted(self, figures):
        self.size += sum(len(figure.picture) for figure in figures)
        return figures

    def clusters(self, group: Group) -> tuple[int, list[Figure], list[str]]:
        """Return (seed, figures of that run's clusters, sentences on why there are no others)."""
        run = evidence.Clusters(group)
        figures, absent = [], {}
        for what, draw in FIGURES.items():
            try:
                if self.size > LIMIT:
                    raise Absent(f"this file has reached {LIMIT / 1e6:g} MB")
                figures += self._counted([draw(run)])
            except Absent as error:
                absent.setdefault(str(error), []).append(what)
            except Damaged as error:
                self._warn(run.name, error)
                absent.setdefault("a file of the run is damaged", []).append(what)
        why = [f"No {', no '.join(names)}: {reason}." for reason, names in absent.items()]
        return run.seed, figures, why

    def card(self, group: Group, logs: dict[int, Log], anchor: str) -> dict:
        """Return all figures of a group, for the template."""
        card = {
            "id": anchor,
            "method": group.method,
            "overrides": group.overrides,
            "acc": mean_std(group.values("acc")),
            "panels": [],
            "doubts": [],
            "clusters": [],
            "no_panels": "No figures: the run folders are not on this machine.",
            "no_clusters": [],
        }
        if group.folders:
            card["panels"] = self._counted(training(group, list(logs.values()), self.paper))
            card["no_panels"] = "" if card["panels"] else "No training curves: no log with rows."
            card["doubts"] = evidence.doubts(group)
            card["seed"], card["clusters"], card["no_clusters"] = self.clusters(group)
        return card

    def problem(self, name: str, groups: list[Group]) -> dict[str, object]:
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
                dot = DOT.format(len(marks) % charts.COLOURS, len(marks) + 1)
                trails = [evidence.acc_over_time(group.runs[s], log) for s, log in logs.items()]
                ends = [[float(row[c]) for row in timed] for c in ("seconds_total", "acc")]
                marks.append((group.name, *ends, [t for t in trails if t is not None]))
            link = LINK.format(anchor, group.method)
            link = CHANGED.format(link, group.overrides) if group.overrides else link
            acc, nmi = (mean_std(group.values(column)) for column in ("acc", "nmi"))
            minutes = mean_std([s / 60 for s in group.values("seconds_total")], 1)
            _, printed = published_acc(group, self.paper) or (None, "–")
            chosen, consensus = evidence.choice(group, self.choices)
            lines.append(
                [link, dot, acc, printed, chosen, consensus, nmi, minutes, evidence.verdicts(group)]
            )
            cards.append(self.card(group, logs, anchor))
        head = ["method", "mark", "ACC", "paper", "choice", "consensus", "NMI", "minutes", "health"]
        caption = (
            "Mean ± std (number of seeds); paper: the first published ACC; choice and consensus: "
            "ACC of the run chosen without labels, and of what most runs say; health: verdicts "
            "of the runs, without labels."
        )
        figure = None
        if marks:
            ends = (f"{m[0]}: ACC {np.mean(m[2]):.4f} in {np.mean(m[1]):.0f} s" for m in marks)
            picture = charts.against_time(marks, f"ACC against time on {title}. {'; '.join(ends)}")
            text = (
                " of a whole run, pretraining included. Numbers: means of the methods in the "
                "table; dots: single runs; lines: how a run came there, from its k-means "
                "start."
            )
            figure = Figure("ACC against time", text, picture)
        own = ", your own file" if groups[0].source == "file" else ""
        return {
            "id": name,
            "title": title + own,
            "sizes": ", ".join(sizes),
            "figure": figure,
            "table": Grid(head, lines, caption, f"our runs on {title}", range(2, 8)),
            "cards": cards,
        }

    def summary(self) -> str:
        """Return what there is, in a few sentences; none without rows."""
        if not self.rows:
            return ""
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
        return text

    def html(self) -> str:
        """Return the page."""
        tables = published.every_table(self.rows, self.paper)
        problems = {}
        for group in self.groups:
            problems.setdefault(group.problem, []).append(group)
        return TEMPLATES.get_template("page.html").render(
            style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
            summary=self.summary(),
            coverage=coverage(tables),
            tables={n: paper_table(table) for n, table in tables.items() if table.attrs["covered"]},
            legend=published.LEGEND,
            problems=[self.problem(f"data-{i}", g) for i, g in enumerate(problems.values())],
            runs=every_run(self.rows),
        )


def write(results_dir: str | os.PathLike) -> tuple[Path, list[str]]:
    """Write report.html from results.csv and the run folders; return (its path, warnings).

    Rows of users' own files, own/results.csv, have sections of their own and no published number.
    """
    folder = Path(results_dir)
    rows = [row for name in (".", "own") for row in ledger.read_rows(folder / name / "results.csv")]
    folders, warnings = ledger.folders(folder / "runs")
    choices = [row for name in (".", "own") for row in read_choices(folder / name / "choices.csv")]
    page = Report(rows, folders, published.read_paper(), choices)
    text = page.html()
    ledger.write_text(folder / "report.html", text)
    return folder / "report.html", warnings + page.warnings
