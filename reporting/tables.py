"""HTML elements, and the tables of the report. What `tag` and `grid` take as content is HTML."""

from html import escape

from experiments import published, rendering

# ---- Parts ------------------------------------------------------------------------------------


def tag(name, *content, **attributes):
    """Return an element; content is HTML, attributes are escaped ("class_" is class)."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{words}>{''.join(content)}</{name}>"


def scrolling(table, label):
    """Return a wide table in a box that scrolls by itself, also by keyboard."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def missing(text):
    """Return a sentence that stands for a figure."""
    return tag("p", escape(text), class_="absent")


def settings(group):
    """Return what is not the paper's setting in a group, in small print."""
    return tag("small", escape(group.overrides)) if group.overrides else ""


def grid(head, rows, caption, label, numbers=()):
    """Return a table; the first column heads its row, columns in `numbers` are aligned right."""
    line = "".join(
        tag("th", escape(text), scope="col", **({"class_": "number"} if i in numbers else {}))
        for i, text in enumerate(head)
    )
    body = []
    for first, *cells in rows:
        cells = [
            tag("td", cell, class_="number") if i in numbers else tag("td", cell)
            for i, cell in enumerate(cells, start=1)
        ]
        body.append(tag("tr", tag("th", first, scope="row"), *cells))
    parts = tag("caption", caption), tag("thead", tag("tr", line)), tag("tbody", *body)
    return scrolling(tag("table", *parts), label)


def figure(picture, caption, kind=""):
    return tag("figure", picture, tag("figcaption", caption), class_=f"card {kind}".strip())


def plural(n, noun):
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def mean_std(values, digits=4):
    """Return "mean ± std (n)" of some numbers, "–" of none."""
    if not values:
        return "–"
    text = published.spread_text(*published.mean_std(values), digits)
    return f"{text} ({len(values)})"


# ---- Tables -----------------------------------------------------------------------------------


def coverage(tables):
    """Return how many cells of each published table our runs fill."""
    rows, others = [], []
    for name, table in tables.items():
        done, all_ = table.attrs["covered"], table.attrs["implemented"]
        if not all_:
            others.append(name)
            continue
        bar = tag("span", class_="bar", style=f"--share:{done / all_:.3f}")
        label = tag("a", escape(name), href=f"#table-{name}") if done else escape(name)
        seeds = ", ".join(map(str, table.attrs["seeds"])) or "–"
        rows.append([label, str(done), str(all_), bar, seeds])
    note = f"No method of {', '.join(others)} is in this repo." if others else ""
    head = ["table", "covered", "cells", "share", "seeds"]
    caption = "Cells of the papers' tables that our runs fill, of those this repo implements. "
    return grid(head, rows, caption + escape(note), "coverage", numbers=(1, 2))


def _cell(row, place):
    """Return a published cell: ours over the paper's over the difference."""
    said = {field: escape(row[(*place, field)]) for field in published.FIELDS}
    if not said["ours"]:
        return tag("td", tag("span", said["paper"] or "–", class_="paper"))
    verdict = said["verdict"]
    difference = f"{said['difference'].replace('-', '−')} {verdict}".strip()
    return tag(
        "td",
        tag("span", said["ours"], class_="ours"),
        tag("span", "paper ", said["paper"], class_="paper"),
        tag("span", difference, class_=f"verdict {verdict}".strip()),
        class_="filled",
    )


def paper_table(table):
    """Return a published table with our numbers in its cells."""
    places = list(dict.fromkeys(column[:2] for column in table.columns))
    names = list(dict.fromkeys(dataset for dataset, _ in places))
    places = [place for name in names for place in places if place[0] == name]
    over, under = [tag("th", "method", scope="col", rowspan="2")], []
    for name in names:
        metrics = [metric for dataset, metric in places if dataset == name]
        over.append(tag("th", escape(name), scope="colgroup", colspan=len(metrics)))
        shown = (m if m == "seconds" else m.upper() for m in metrics)
        under += [tag("th", escape(metric), scope="col") for metric in shown]
    body = [
        tag("tr", tag("th", escape(label), scope="row"), *(_cell(row, place) for place in places))
        for label, row in table.iterrows()
    ]
    covered, ours, command = map(escape, rendering.notes(table))
    caption = tag("caption", f"{covered} {ours} Made by ", tag("code", command), ".")
    head = tag("thead", tag("tr", *over), tag("tr", *under))
    label = f"table {table.attrs['table']}"
    return scrolling(tag("table", caption, head, tag("tbody", *body), class_="published"), label)


RUN_COLUMNS = {
    "method": "method", "data set": "dataset", "seed": "seed", "settings": "overrides",
    "status": "status", "health": "verdict", "ACC": "acc", "NMI": "nmi", "ARI": "ari",
    "k-means ACC": "kmeans_acc", "steps": "iterations", "converged": "converged",
    "seconds": "seconds_total", "MB": "peak_memory_mb", "device": "device",
    "threads": "threads", "commit": "commit", "ended": "finished",
}  # fmt: skip
DIGITS = {"acc": 4, "nmi": 4, "ari": 4, "kmeans_acc": 4, "seconds_total": 1}


def every_run(rows):
    """Return the table of all rows."""
    lines = []
    for row in rows:
        cells = []
        for name in RUN_COLUMNS.values():
            digits = DIGITS.get(name)
            value = row.get(name, "")
            text = f"{float(value):.{digits}f}" if digits and value else value
            cells.append(escape(text))
        if row["status"] != "ok":
            cells[4] = tag("strong", cells[4]) + escape(f": {row['reason']}")
        lines.append(cells)
    caption = f"{plural(len(rows), 'run')}; results.csv has further columns, NMI's other average "
    caption += "and the command among them. Settings: what is not the paper's."
    return grid(
        list(RUN_COLUMNS), lines, caption, "all runs", numbers=(2, 6, 7, 8, 9, 10, 12, 13, 15)
    )
