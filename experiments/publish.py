"""What sweeps leave: rows, tables, choices and the report, in the files that take them."""

import os
import sys

from common import paths
from common.errors import UserError
from experiments import ledger, ours, published, rendering, results_page
from experiments.ledger import Row
from experiments.sweep import Trial
from experiments.trials import conclude_groups

OWN = os.path.join("own", "results.csv")  # in paths.RESULTS: the rows of users' own files


class Ledgers:
    """The files that take a sweep's rows.

    Those of users' own files never come into the tracked results.csv. None of a sweep's rows does
    where the user names another file, `path`.
    """

    def __init__(self, trials: list[Trial], path: str | os.PathLike | None = None):
        self.trials, self.path = trials, path
        self.sources = {trial.source for trial in trials}

    def update(self) -> tuple[dict[str | os.PathLike, int], list[str]]:
        """Bring the files up to date and return {file: number of its rows}, and warnings.

        UserError if a file is damaged or cannot be written.
        """
        if self.path is not None:
            rows, warnings = [], []
            for trial in self.trials:
                if os.path.exists(os.path.join(trial.folder, "result.json")):
                    found, more = ledger.folders(trial.folder)
                    rows, warnings = [*rows, *found.values()], warnings + more
            return {self.path: len(ledger.add(self.path, rows))}, warnings
        counts, warnings = {}, []
        for source in sorted(self.sources):
            rows, warnings = update(source)
            counts[file_of(source)] = len(rows)
        return counts, warnings

    def settled(self) -> None:
        """Bring the files up to date; a sweep goes on where that is impossible, and tells why."""
        try:
            self.update()
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)

    def close(self) -> None:
        """Bring the files, and what is made of results.csv, up to date; say where the rows are."""
        counts, warnings = self.update()
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        summary = "; ".join(f"{n} rows in {os.path.relpath(path)}" for path, n in counts.items())
        if self.path is None and "named" in self.sources:
            rendering.write_tables(paths.RESULTS)
            summary += f"; {os.path.relpath(os.path.join(paths.RESULTS, 'tables.md'))} rewritten"
        for source in sorted(self.sources):
            some = [trial for trial in self.trials if trial.source == source]
            for line in conclude_groups(some, choices_of(self.path or file_of(source))):
                print(line)
        print(summary)


def choices_of(path: str | os.PathLike) -> str:
    """Return the file of the choices beside a file of rows."""
    folder, name = os.path.split(path)
    stem = "" if name == "results.csv" else f"{os.path.splitext(name)[0]}-"
    return os.path.join(folder, f"{stem}choices.csv")


def file_of(source: str) -> str:
    """Return the file of the rows of a kind of data, "named" or "file"."""
    return os.path.join(paths.RESULTS, "results.csv" if source == "named" else OWN)


def update(source: str) -> tuple[list[Row], list[str]]:
    """Add all runs on a kind of data, "named" or "file", to its file, as `ledger.update`."""
    own = source == "file"
    return ledger.update(file_of(source), os.path.join(paths.RESULTS, "runs"), own)


def rebuild() -> tuple[list[Row], list[Row], list[str]]:
    """Bring both files up to date and return (rows of results.csv, of the own one, warnings).

    Rows of users' files that an earlier sweep put into results.csv move to the other one.
    """
    ledger.move_own(file_of("named"), file_of("file"))
    rows, warnings = update("named")
    found, _ = ledger.folders(os.path.join(paths.RESULTS, "runs"))
    some = os.path.exists(file_of("file")) or "file" in map(ledger.source, found.values())
    return rows, update("file")[0] if some else [], warnings


def about_table(table_id: str) -> list[str]:
    """Return the lines on a published table: how much of it there is, and what has no method."""
    rows, paper = ledger.read_rows(file_of("named")), published.read_paper()
    if table_id == ours.TABLE:
        return ours.table(rows, paper, choices_of(file_of("named"))).splitlines()
    table = published.tables(rows, paper, table_id)
    covered, seeds, _ = rendering.notes(table)
    lines = [f"{covered} {seeds}"]
    if table.attrs["only"]:
        lines.append(f"published only, no method here: {', '.join(table.attrs['only'])}")
    if table.attrs["covered"]:
        lines.append(f"results/tables/{table_id}.csv and .tex, results/tables.md")
    return lines


def publish() -> None:
    """Rebuild results.csv, the tables and docs/results.md from the rows; print warnings."""
    rows, own, warnings = rebuild()
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rendering.write_tables(paths.RESULTS)
    page = os.path.join(paths.ROOT, "docs", "results.md")
    results_page.update_page(page, rows, published.read_paper())
    if own:
        print(f"{len(own)} rows of your own files in {os.path.relpath(file_of('file'))}")
    print(f"{len(rows)} rows in results/results.csv; results/tables.md, docs/results.md rewritten")
