"""Writes the pages of docs/ that follow from the code: reference.md, schema.md and the table in protocols.md.

``--check`` writes nothing and fails when a page is not what it would write; the test suite calls it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from sapiens_bench import adapters, models, tasks
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.describe import field_range, type_name
from sapiens_bench.cards.loading import SCHEMAS
from sapiens_bench.cards.options import NoOptions
from sapiens_bench.errors import CardError
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.store import commits, record, rows

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEAD = "<!-- Written by tools/generate_docs.py: change the code, then run it. -->\n\n"


def comments(kind: type) -> dict[str, str]:
    """What stands behind each field in the source, as a comment."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("sapiens_bench"):
            found |= dict(re.findall(r"^    (\w+): [^#\n]*#\s*(.+)$", inspect.getsource(base), re.M))
    return found


def field_table(kind: type[BaseModel], *, skip: tuple[str, ...] = ()) -> str:
    """One line per field: key, type, default, meaning."""
    notes = comments(kind)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        if name in skip:
            continue
        default = "**required**" if field.is_required() else f"`{plain(field.get_default(call_default_factory=True))}`"
        about = " ".join((field.description or notes.get(name, "")).split()).replace("|", "\\|")
        limits = f" ({field_range(field)})" if field_range(field) else ""
        kind_ = type_name(field.annotation, quote="`").replace("|", "\\|")
        lines.append(f"| `{field.alias or name}` | {kind_}{limits} | {default} | {about} |")
    return "\n".join(lines) if len(lines) > 2 else "No keys."


def plain(value: Any) -> str:
    """A default as YAML would say it."""
    if isinstance(value, BaseModel):
        return "..."
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return text.replace("|", "\\|") or '""'


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Classes named in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def nested(kind: type[BaseModel], seen: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """``kind`` and every class its fields are made of, each once."""
    if kind.__name__ not in seen:
        seen[kind.__name__] = kind
        for field in kind.model_fields.values():
            for inner in models_in(field.annotation):
                nested(inner, seen)
    return seen


def reference() -> str:
    """Cards, then options."""
    parts = ["# Reference: cards and options", "Every key of every card, and the options of every component."]
    classes: dict[str, type[BaseModel]] = {}
    for schema, kind in SCHEMAS.items():
        nested(kind, classes)
        classes[kind.__name__].__doc__ = kind.__doc__
        parts += [f"## `schema: {schema}`", about(kind), field_table(kind, skip=("schema_",))]
    inner = [kind for kind in classes.values() if kind not in SCHEMAS.values()]
    parts.append("## Parts of cards")
    for kind in inner:
        parts += [f"### {kind.__name__}", about(kind), field_table(kind)]
    parts.append("## Options of adapters (`protocols.<name>.options`, `--data-option NAME=VALUE`)")
    for name in adapters.ADAPTERS:
        code = adapters.TABLE.find(name)
        kind = getattr(code, "Options", NoOptions)
        parts += [f"### `adapter: {name}`", about(code).split("\n\n")[0], field_table(kind)]
    parts.append("## Options of models (`variants[].options`, `--option NAME=VALUE`)")
    for name in models.WRAPPERS:
        parts += [f"### `wrapper: {name}`", *wrapper_tables(name)]
    parts.append("## Scoring keys and noise of tasks")
    for name in tasks.TASKS:
        kind_ = tasks.task_kind(name)
        parts += [f"### `task: {name}`", f"{kind_.title}: {kind_.what}. Keys of `scoring`:", field_table(kind_.Scoring)]
        if kind_.noise is not None:
            parts += ["Options of the noisy oracle:", field_table(kind_.noise.Options)]
    return HEAD + "\n\n".join(part for part in parts if part) + "\n"


def wrapper_tables(name: str) -> list[str]:
    """The options of a wrapper, once for each group of tasks that share a class."""
    by_class: dict[str, list[str]] = {}
    for task in tasks.TASKS:
        try:
            kind = options_class(OPTIONS.get(name), tasks.task_kind(task))
        except CardError:  # the wrapper is not for the task
            continue
        if kind is not None:
            by_class.setdefault(field_table(kind), []).append(task)
    if len(by_class) == 1:
        return list(by_class)
    return [text for table, names in by_class.items() for text in (f"For {', '.join(names)}:", table)]


def about(thing: Any) -> str:
    """The first paragraph of its own docstring; an inherited one says nothing about it."""
    own = vars(thing).get("__doc__") if hasattr(thing, "__dict__") else None
    return " ".join(inspect.cleandoc(own).split("\n\n")[0].split()) if own else ""


def schema() -> str:
    """run.json and the rows."""
    parts = [
        "# Run record and rows",
        "`run.json` says what was asked, on what machine, and what came out. Rows are the truth behind it: one Parquet "
        "file per shard below `rows/<task>/<data set>/<protocol>/<model>/`.",
        "## `run.json`",
    ]
    for kind in nested(record.RunRecord, {}).values():
        parts += [f"### {kind.__name__}", about(kind), field_table(kind)]
    parts += ["## Commits", f"Schema `{commits.SCHEMA}`. {about(commits.Commit)} The rules are in run_folder.md."]
    parts.append("| key | type | meaning |\n|---|---|---|")
    notes = comments(commits.Commit)
    for field in dataclasses.fields(commits.Commit):
        parts[-1] += f"\n| `{field.name}` | {field.type} | {notes.get(field.name, '')} |".replace(
            " | None", " \\| null"
        )
    parts += ["## Rows", f"Schema `{rows.SCHEMA}`. Columns of every row:", "| column | type |\n|---|---|"]
    parts[-1] += "".join(f"\n| `{name}` | {kind} |" for name, kind in rows.BASE.items())
    parts.append(
        "Then the sums and counts of each metric, as `<metric>/<column>`. Vectors (packed outcomes, a flat confusion "
        "table) are for the metric; `RunRecord.rows(cell)` gives plain numbers and every score of each image alone."
    )
    catalog = Catalog.load()
    for name, task in sample_tasks(catalog).items():
        for metric in (*task.metrics, *([with_pck(catalog)] if name == "pose" else [])):
            text = inspect.getdoc(type(metric).measure) or ""
            parts += [f"### `{name}`: metric `{metric.name}`, version {metric.version}", "```text\n" + text + "\n```"]
            lines = ["| score | title | unit | better | source |", "|---|---|---|---|---|"]
            for key, info in metric.scores.items():
                better = "higher" if info.higher_is_better else "lower"
                unit = "%" if info.percent else info.unit
                lines.append(f"| `{metric.name}/{key}` | {info.title} | {unit} | {better} | {info.source} |")
            parts.append("\n".join(lines[:42] + (["| ... | | | | |"] if len(lines) > 42 else [])))
    return HEAD + "\n\n".join(part for part in parts if part) + "\n"


def sample_tasks(catalog: Catalog) -> dict[str, Any]:
    """Each task as the embedded data set scores it by default."""
    card = catalog.dataset("synthetic-humans")
    found = {}
    for name in tasks.TASKS:
        protocol = card.protocols[card.default_protocol(name) or ""]
        space = None if protocol.space is None else catalog.space(protocol.space)
        found[name] = tasks.task_for(protocol, space)
    return found


def with_pck(catalog: Catalog) -> Any:
    """The metric that a pose protocol may ask for beside the usual one."""
    protocol = catalog.dataset("mpii").protocols["pckh"]
    return tasks.task_for(protocol, catalog.space(protocol.space or "")).metrics[1]


def protocols() -> str:
    """protocols.md with its table renewed."""
    path = DOCS / "protocols.md"
    lines = ["| data set | protocol | task | scored in | stands beside | caveat |", "|---|---|---|---|---|---|"]
    for card in Catalog.load().datasets.values():
        for name, protocol in card.protocols.items():
            mark = " (default)" if protocol.default else ""
            beside = ", ".join(f"`{entry}`" for entry in protocol.published)
            caveat = " ".join(protocol.caveat.split()).replace("|", "\\|")
            lines.append(
                f"| {card.id} | {name}{mark} | {protocol.task} | {protocol.space or ''} | {beside} | {caveat} |"
            )
    table = "<!-- table -->\n" + "\n".join(lines) + "\n<!-- end -->"
    text = path.read_text(encoding="utf-8").replace("PROTOCOLS", "<!-- table -->\n<!-- end -->")
    return re.sub(r"<!-- table -->.*?<!-- end -->", lambda _: table, text, flags=re.S)


PAGES: dict[str, Callable[[], str]] = {"reference.md": reference, "schema.md": schema, "protocols.md": protocols}


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv:
            stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"written: docs/{name}")
    if stale:
        print(f"not current: {', '.join(stale)}; run `python tools/generate_docs.py`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
