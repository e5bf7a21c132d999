"""``--config FILE``: the options of a command from a YAML file; what is typed goes over it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sapiens_bench.errors import UnknownName, UsageError


def _read(ctx: typer.Context, value: Path | None) -> Path | None:
    if value is None:
        return None
    from sapiens_bench.cards.loading import parse_yaml
    from sapiens_bench.pixels.files import read_regular

    path = value.expanduser()
    try:
        text = read_regular(path, most=1_000_000).decode("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path}: {getattr(error, 'strerror', None) or error}.") from None
    said = parse_yaml(text, str(path), what="options of a command are a mapping, 'task: pose' on a line of its own")
    known = {opt.lstrip("-"): p for p in ctx.command.params for opt in p.opts if opt.startswith("--")}
    known.pop("config", None)
    defaults = dict(ctx.default_map or {})
    for name, content in said.items():
        option = known.get(name.replace("_", "-"))
        if option is None:
            raise UnknownName("option", name, known, f"It stands in {path}.")
        defaults[str(option.name)] = _value(content, bool(getattr(option, "multiple", False)), name, path)
    ctx.default_map = defaults
    return path


def _value(content: Any, is_repeated: bool, name: str, path: Path) -> Any:
    """As it would be typed: ``option: {padding: 1.3}`` is ``--option padding=1.3``."""
    if isinstance(content, dict):
        if not is_repeated or not all(isinstance(v, str | int | float | bool) for v in content.values()):
            raise UsageError(f"{path}: {name} cannot be a mapping of this kind.")
        return [f"{key}={_text(each)}" for key, each in content.items()]
    if isinstance(content, list):
        if not is_repeated:
            raise UsageError(f"{path}: {name} is one value, found a list.")
        return [_text(each) for each in content]
    return [_text(content)] if is_repeated else content


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


Config = Annotated[
    Path | None,
    typer.Option("--config", callback=_read, is_eager=True, help="YAML file of these options; what is typed wins."),
]
