"""A model card as a person would write it: YAML with a comment on every key that is worth one."""

from __future__ import annotations

from typing import Any

import yaml

from sapiens_bench.cards.schema import ModelCard

_COMMENTS = {
    "id": "names the family; letters, digits, . _ + -",
    "title": "as tables show it",
    "task": "`sapiens-bench list tasks`",
    "licence": "of the weights; `sapiens-bench` shows it and never grants it",
    "wrapper": "code that runs it; ./file.py:Class beside this card for your own",
    "space": "keypoint or label set of the output; `sapiens-bench list spaces`",
    "input": "network input in pixels; mean and std in 0..255 units, in the order of channel_order",
    "trained_on": "shown in the table; empty: not stated",
    "variants": "one row of a table each; `options` are those of the wrapper (docs/reference.md)",
}


def as_yaml(card: ModelCard) -> str:
    """The card with what differs from the defaults, in the order of the schema, each key with its comment."""
    said = card.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    fields: dict[str, Any] = {"schema": "model/1"}
    fields |= {name: said[name] for name in type(card).model_fields if name in said}
    fields["trained_on"] = card.trained_on
    for variant, given in zip(card.variants, fields["variants"], strict=True):
        if variant.weights is not None:
            given["weights"]["sha256"] = variant.weights.sha256  # has no default: null says that nothing is pinned
    parts = []
    for name, value in fields.items():
        comment = _COMMENTS.get(name)
        flow = None if isinstance(value, dict | list) else False  # innermost mappings in one line
        body = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=118, default_flow_style=flow)
        parts.append(f"# {comment}\n{body}" if comment else body)
    return "".join(parts)
