"""Writes those tables of docs/run_folder.md that follow from the types; ``--check`` only compares."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "run_folder.md"
BEGIN, END = "<!-- made by tools/record_reference.py -->", "<!-- end -->"


def tables(source: str) -> str:
    """One Markdown table per class of records: field, type, and the comment that stands behind it."""
    lines = source.splitlines()
    parts: list[str] = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or node.name == "Record":
            continue
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        parts += [f"### `{node.name}`", "", (ast.get_docstring(node) or "").partition("\n\n")[0], ""]
        parts += ["| field | type | |", "|---|---|---|"]
        for field in fields:
            name = field.target.id  # type: ignore[union-attr]
            if not name.startswith("_"):
                kind = ast.unparse(field.annotation).replace("|", "\\|")
                parts.append(f"| `{name.rstrip('_')}` | `{kind}` | {_comment(lines, field)} |")
        parts.append("")
    return "\n".join(parts)


def _comment(lines: list[str], field: ast.AnnAssign) -> str:
    last = lines[(field.end_lineno or field.lineno) - 1]
    return last.partition("  # ")[2].replace("|", "\\|")


def current() -> str:
    """The document with its tables made anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = tables((ROOT / "sapiens_bench" / "store" / "record.py").read_text(encoding="utf-8"))
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def main() -> int:
    text = current()
    if "--check" in sys.argv[1:]:
        return int(text != DOCUMENT.read_text(encoding="utf-8"))
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
