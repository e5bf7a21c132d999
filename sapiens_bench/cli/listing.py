"""``sapiens-bench list``: what there is, what of it is on this machine, and under which licence."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sapiens_bench.cli.flags import Cards, DataRoot, TaskFilter, WeightsRoot
from sapiens_bench.cli.output import grid, say, write
from sapiens_bench.errors import (
    CardError,
    DataMissing,
    SapiensBenchError,
    SecurityRefusal,
    UnknownName,
    UsageError,
)
from sapiens_bench.report.numbers import size

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog, ModelEntry
    from sapiens_bench.cards.options import Options
    from sapiens_bench.cards.schema import DatasetCard, Licence, Variant


PIPE_WIDTH = 120  # of a table whose columns of words are long, where there is no terminal


def list_(
    what: Annotated[
        str,
        typer.Argument(metavar="[models|datasets|tasks|detectors|spaces|published]", help="Default: the first three."),
    ] = "all",
    task: TaskFilter = None,
    data_root: DataRoot = None,
    weights_root: WeightsRoot = None,
    cards: Cards = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show models, data sets, tasks, detectors, keypoint or label sets, printed tables; which are on this machine."""
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.tasks import task_kind, task_names

    catalog = Catalog.load(cards or [])
    catalog.refuse_unknown_tasks(task_names())
    makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "tasks": lambda: tasks(catalog),
        "datasets": lambda: datasets(catalog, task, data_root),
        "models": lambda: models(catalog, task, weights_root),
        "detectors": lambda: detectors(catalog, weights_root),
        "spaces": lambda: spaces(catalog),
        "published": lambda: published(catalog),
    }
    if what != "all" and what not in makers:
        raise UnknownName("list", what, [*makers, "all"])
    if task is not None:
        task_kind(task)
    chosen = ["tasks", "datasets", "models"] if what == "all" else [what]
    found = {name: makers[name]() for name in chosen}
    if json_:
        for name in chosen:
            add_options(catalog, name, found[name])
        data: Any = found if what == "all" else found[what]
        write(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        for name, rows in found.items():
            _SHOW[name](rows)
    warn_of_broken(catalog)


def add_options(catalog: Catalog, what: str, rows: list[dict[str, Any]]) -> None:
    """Give each model, data set or detector its ``options``; where its code is not usable, ``options_error`` says why.

    Data sets have those of their adapter, whose module is imported; networks are not.
    """
    if what not in ("models", "datasets", "detectors"):
        return
    from sapiens_bench.cards.describe import options_of
    from sapiens_bench.engine import declared

    find: dict[str, Callable[[str], type[Options]]] = {
        "models": lambda name: declared.model_options(catalog.models[name]),
        "datasets": lambda name: declared.adapter_options(catalog.datasets[name], catalog.card_paths[name]),
        "detectors": lambda name: declared.detector_options(catalog.detectors[name]),
    }
    for row in rows:
        try:
            row["options"] = options_of(find[what](row["id"]))
        except SapiensBenchError as error:
            row["options"], row["options_error"] = [], str(error)


def warn_of_broken(catalog: Catalog) -> None:
    """Say which cards and plug-ins were left out, and why."""
    for path, reason in catalog.broken.items():
        say(f"warning: {path} is left out: {reason}", "yellow", to_stderr=True)


def tasks(catalog: Catalog) -> list[dict[str, Any]]:
    """Every task there is, with counts."""
    from sapiens_bench.tasks import task_kind, task_names

    return [
        {
            "id": name,
            "title": task_kind(name).title,
            "what": task_kind(name).what,
            "models": sum(entry.card.task == name for entry in catalog.models.values()),
            "datasets": sum(card.default_protocol(name) is not None for card in catalog.datasets.values()),
        }
        for name in task_names()
    ]


def datasets(catalog: Catalog, task: str | None, data_root: Path | None) -> list[dict[str, Any]]:
    """Data-set cards, and whether their files are where the card says."""
    return [
        {
            "id": card.id,
            "title": card.title,
            "tasks": sorted({p.task for p in card.protocols.values()}),
            "protocols": list(card.protocols),
            "status": dataset_status(card, data_root),
            **_licence_facts(card.licence),
        }
        for card in catalog.datasets.values()
        if task is None or card.default_protocol(task) is not None
    ]


def dataset_status(card: DatasetCard, data_root: Path | None) -> str:
    """``here``, ``made on first use``, ``not found``, or what is wrong with the files."""
    from sapiens_bench.cards.locate import dataset_root

    if card.embedded:
        return "made on first use"
    try:
        dataset_root(card, data_root)
    except DataMissing:
        return "needs --data-root" if data_root is None else "not found"
    except SecurityRefusal:
        return "wrong sha256"
    except CardError:
        return "broken card"
    return "here"


def models(catalog: Catalog, task: str | None, weights_root: Path | None) -> list[dict[str, Any]]:
    """Model variants in card order, and whether their weights are on this machine."""
    return [
        {
            "id": entry.id,
            "title": entry.variant.title,
            "family": entry.card.id,
            "task": entry.card.task,
            "kind": entry.card.kind,
            "status": model_status(entry, weights_root),
            "size_bytes": entry.variant.weights.size_bytes if entry.variant.weights else None,
            "verified": entry.card.verified,
            "params_m": entry.variant.params_m,
            "gflops": None if entry.variant.gmacs is None else 2 * entry.variant.gmacs,
            "printed": list(entry.variant.printed),
            "costs_missing": cost_gap(entry),
            **_licence_facts(entry.card.licence),
            "trained_on": entry.variant.trained_on or entry.card.trained_on,
            "in_all": entry.variant.in_all is True and entry.card.kind != "diagnostic",
        }
        for entry in in_task_order(catalog)
        if task is None or entry.card.task == task
    ]


def cost_gap(entry: ModelEntry) -> str | None:
    """Why a card says no parameters or operations; None where it says both."""
    variant, card = entry.variant, entry.card
    if variant.params_m is not None and variant.gmacs is not None:
        return None
    has_none = card.kind != "network" or card.verified in ("quoted", None)
    return "no network" if has_none else "told by the weights alone"


def in_task_order(catalog: Catalog) -> list[ModelEntry]:
    """Model variants, task by task, in card order."""
    from sapiens_bench.tasks import task_names

    order = {name: position for position, name in enumerate(task_names())}
    return sorted(catalog.models.values(), key=lambda entry: order.get(entry.card.task, len(order)))


def _licence_facts(licence: Licence) -> dict[str, Any]:
    return {
        "licence": licence.name,
        "commercial": licence.commercial,
        "may_redistribute": licence.may_redistribute,
    }


def detectors(catalog: Catalog, weights_root: Path | None) -> list[dict[str, Any]]:
    """Person detectors for ``--boxes detector:ID``, and whether their weights are on this machine."""
    return [
        {
            "id": name,
            "title": entry.variant.title,
            "status": variant_status(entry.variant, weights_root),
            "size_bytes": entry.variant.weights.size_bytes if entry.variant.weights else None,
            **_licence_facts(entry.card.licence),
            "get": entry.variant.weights.get.how if entry.variant.weights else "",
        }
        for name, entry in catalog.detectors.items()
    ]


def model_status(entry: ModelEntry, weights_root: Path | None) -> str:
    """``needs none``, ``shipped``, ``here``, ``missing``, ``wrong sha256``."""
    return variant_status(entry.variant, weights_root)


def variant_status(variant: Variant, weights_root: Path | None) -> str:
    """The same for a variant of any card."""
    from sapiens_bench.cards.locate import is_here

    if variant.weights is None:
        return "needs none"
    try:
        if not is_here(variant, weights_root):
            return "missing"
    except SecurityRefusal:
        return "wrong sha256"
    except UsageError:  # about this machine, not about the file
        raise
    except SapiensBenchError:
        return "unusable"
    return "shipped" if variant.weights.get.embedded else "here"


def spaces(catalog: Catalog) -> list[dict[str, Any]]:
    """Keypoint and label sets, and the sets each can be mapped to."""
    maps = catalog.maps
    return [
        {
            "id": card.id,
            "title": card.title,
            "kind": card.kind,
            "entries": len(card.names),
            "maps_to": sorted(target for source, target in maps if source == card.id),
            "source": card.source,
            "names": list(card.names),
            "flip_index": list(card.flip_index),
            "sigmas": list(card.sigmas),
            "groups": {name: list(indices) for name, indices in card.groups.items()},
            "skeleton": [list(pair) for pair in card.skeleton],
            "colours": [list(rgb) for rgb in card.colours],
        }
        for card in catalog.spaces.values()
    ]


def published(catalog: Catalog) -> list[dict[str, Any]]:
    """Printed tables, one item for each data set and protocol in them, with every number as printed."""
    return [
        {
            "id": entry.id,
            "paper": table.paper,
            "table": table.table,
            "table_id": table.id,
            "caption": table.caption,
            "dataset": entry.dataset,
            "protocol": entry.protocol,
            "units": entry.units,
            "rows": {
                name: {
                    "attributes": entry.row_attributes.get(name, {}),
                    "values": {key: value.model_dump() if value else None for key, value in row.items()},
                }
                for name, row in entry.rows.items()
            },
            "sources": table.sources,
            "notes": list(table.notes),
        }
        for table, entry in catalog.published.values()
    ]


def _terms(row: dict[str, Any]) -> str:
    from sapiens_bench.cards.schema import Licence
    from sapiens_bench.cli.licences import licence_brief

    facts = {"commercial": row["commercial"], "may_redistribute": row["may_redistribute"]}
    return licence_brief(Licence(name=row["licence"], **facts))


def _show_tasks(rows: list[dict[str, Any]]) -> None:
    heads = ("Task", "What is predicted", "Models", "Data sets")
    grid(heads, [(r["id"], r["what"], str(r["models"]), str(r["datasets"])) for r in rows], right=(2, 3))
    say("")


def _show_datasets(rows: list[dict[str, Any]]) -> None:
    heads = ("Data set", "Title", "Tasks", "Files", "Licence")
    grid(heads, [(r["id"], r["title"], ", ".join(r["tasks"]), r["status"], _terms(r)) for r in rows])
    say("")


def _show_models(rows: list[dict[str, Any]]) -> None:
    """A table for each task, so that the rest fits; titles are in --json."""
    for task in dict.fromkeys(row["task"] for row in rows):
        heads = (f"Model ({task})", "Verified", "Weights", "Size", "Params M", "GFLOPs", "Licence")
        grid(heads, [_model_line(row) for row in rows if row["task"] == task], right=(3, 4, 5))
        say("")
    say(
        "Verified: golden, compared with the authors' or the library's own code on tiny random weights; shape, it\n"
        "runs on files of the published form; quoted, printed numbers or stored results alone; floor, a rule that\n"
        "needs no network; sees truth, is given the truth and tests the harness, not a model. GFLOPs: 2 x MAC.\n"
        "p: as the authors print it, by their own way of counting; the others were counted here. none: no network;\n"
        "weights: told by the weights alone, which `profile --counts` reads where they are here."
    )


def _model_line(row: dict[str, Any]) -> tuple[str, ...]:
    verified = row["verified"] or {"floor": "floor", "diagnostic": "sees truth"}.get(row["kind"], "")
    gap = {None: "", "no network": "none"}.get(row["costs_missing"], "weights")
    params = gap if row["params_m"] is None else f"{row['params_m']:,.{1 if row['params_m'] >= 100 else 2}f}"
    flops = gap if row["gflops"] is None else f"{row['gflops']:,.{0 if row['gflops'] >= 100 else 2}f}"
    params, flops = (
        f"{text} p" if name in row["printed"] else text for name, text in (("params_m", params), ("gmacs", flops))
    )
    return row["id"], verified, row["status"], size(row["size_bytes"]), params, flops, _terms(row)


def _show_detectors(rows: list[dict[str, Any]]) -> None:
    lines = [(r["id"], r["title"], r["status"], size(r["size_bytes"]), _terms(r), r["get"]) for r in rows]
    grid(("Detector", "Title", "Weights", "Size", "Licence", "Get it"), lines, right=(3,))
    say("")


def _show_spaces(rows: list[dict[str, Any]]) -> None:
    heads = ("Set", "Title", "Kind", "Entries", "Maps to")
    lines = [(r["id"], r["title"], r["kind"], str(r["entries"]), ", ".join(r["maps_to"])) for r in rows]
    grid(heads, lines, right=(3,))
    say("")


def _show_published(rows: list[dict[str, Any]]) -> None:
    heads = ("Entry", "Rows", "Printed in", "Data set")
    lines = [(r["id"], str(len(r["rows"])), f"{r['paper']}, {_name_of_table(r['table'])}", r["dataset"]) for r in rows]
    grid(heads, lines, right=(1,), at_most=PIPE_WIDTH)
    for row in rows:
        where = f"{row['paper']}, {_name_of_table(row['table'])}. {row['caption']}"
        say("\n" + textwrap.fill(f"{row['id']}: {where} Protocol: {row['protocol']}.", PIPE_WIDTH))
        _show_numbers(row)
    say("\nAs printed. † found in one transcription only; ‡ computed from others; § sources disagree; ? not recovered.")
    say("`list published --json` prints every number with its source.")


def _show_numbers(row: dict[str, Any]) -> None:
    """The numbers of one printed table, each with the mark of how sure it is."""
    from sapiens_bench.report.numbers import MARKS

    def shown(values: dict[str, Any], key: str) -> str:
        if key not in values:
            return ""
        value = values[key]
        return "?" if value is None or value["value"] is None else f"{value['value']}{MARKS[value['confidence']]}"

    keys = list(dict.fromkeys(key for each in row["rows"].values() for key in each["values"]))
    if units := "; ".join(f"{key} {unit}" for key, unit in row["units"].items() if key in keys):
        same = set(row["units"].values())
        say(textwrap.fill(f"Unit: {same.pop()}" if len(same) == 1 else f"Units: {units}", PIPE_WIDTH))
    name_width = max(map(len, row["rows"]), default=0)
    while keys:
        columns = {key: [shown(each["values"], key) for each in row["rows"].values()] for key in keys}
        widths = accumulate(4 + max(map(len, [key, *column])) for key, column in columns.items())
        n = max(1, sum(name_width + width <= PIPE_WIDTH for width in widths))
        part, keys = keys[:n], keys[n:]
        lines = zip(row["rows"], *(columns[key] for key in part), strict=True)
        grid(("Row", *part), list(lines), right=tuple(range(1, n + 1)))


def _name_of_table(printed: str) -> str:
    return f"Table {printed}" if printed[:1].isdigit() else printed


_SHOW = {
    "tasks": _show_tasks,
    "datasets": _show_datasets,
    "models": _show_models,
    "detectors": _show_detectors,
    "spaces": _show_spaces,
    "published": _show_published,
}
