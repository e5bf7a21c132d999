"""What the gate says, for people (a document), programs (gate.json) and test tools (JUnit XML)."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from xml.etree import ElementTree

from sapiens_bench.decide import wording
from sapiens_bench.decide.gate import Judged, Outcome, describe
from sapiens_bench.report.footnotes import FEW_GROUPS
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet

SCHEMA = "gate/1"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(outcome: Outcome) -> Document:
    """One table, failures first in bold."""
    rows = sorted(outcome.rows, key=lambda r: r.verdict != "fail")
    heads = ("Verdict", "Model", "Data set", "Score", "BASE", "CAND", "CAND - BASE", "Interval", "Holm p", "Why")
    bold = {(i, j) for i, row in enumerate(rows) if row.verdict == "fail" for j in (0, 1)}
    words = {"pass": "passed", "fail": f"FAILED ({len(outcome.failed)} of {len(rows)})", "incomplete": "INCOMPLETE"}
    groups = [r.difference.found.n_groups for r in rows if r.difference.found.n_groups]
    few = bool(groups) and min(groups) < FEW_GROUPS
    return Document(
        title=f"sapiens-bench gate: {words[outcome.verdict]}",
        sheets=(Sheet("", heads, tuple(map(_line, rows)), (0, 1, 2, 3, 9), bold=bold),),
        facts={"BASE": str(outcome.base.path), "CAND": str(outcome.cand.path)},
        notes=(
            *([f"INCOMPLETE: {outcome.incomplete}. Nothing is decided."] if outcome.incomplete else []),
            f"Intervals: each end one-sided, {outcome.spec.level:.0%}; paired bootstrap over groups, "
            f"{outcome.spec.draws} draws, seed {outcome.spec.seed}.",
            *([f"Only {min(groups)} independent groups: intervals are too narrow below {FEW_GROUPS}."] if few else []),
            *outcome.remarks,
        ),
        data=data(outcome),
    )


def _line(row: Judged) -> tuple[str, ...]:
    d = row.difference
    found, info, places = d.found, d.info, wording.digits(d.found.difference, d.info)
    ends = [wording.shown(end, info, places) for end in (found.lower, found.upper)]
    return (
        "FAIL" if row.verdict == "fail" else row.verdict,
        d.pair.a.title,
        d.pair.a.dataset_title,
        f"{info.title} %" if info.percent else wording.unit(info),
        wording.shown(found.a, info),
        wording.shown(found.b, info),
        wording.shown(found.difference, info, places),
        f"[{ends[0]}, {ends[1]}]" if math.isfinite(found.lower) else UNDEFINED,
        wording.p_text(row.p_holm),
        f"{row.tier}: {row.reason}",
    )


def data(outcome: Outcome) -> dict[str, Any]:
    """The content of gate.json; numbers in the unit of the score, NaN where undefined."""
    return {
        "schema": SCHEMA,
        "verdict": outcome.verdict,
        "base": str(outcome.base.path),
        "cand": str(outcome.cand.path),
        "incomplete": outcome.incomplete,
        "level": outcome.spec.level,
        "draws": outcome.spec.draws,
        "seed": outcome.spec.seed,
        "rows": [_row(row) for row in outcome.rows],
    }


def _row(row: Judged) -> dict[str, Any]:
    d = row.difference
    return {
        "metric": d.key,
        "base": d.found.a,
        "cand": d.found.b,
        "diff": d.found.difference,
        "ci_low": d.found.lower,
        "ci_high": d.found.upper,
        "p": row.p,
        "p_holm": row.p_holm,
        "n": d.n,
        "n_groups": d.found.n_groups,
        "verdict": row.verdict,
        "reason": row.reason,
        "tier": row.tier,
        "threshold": row.threshold,
        "unit": d.info.unit,
        "higher_is_better": d.info.higher_is_better,
        "task": d.pair.a.task,
        "dataset": d.pair.a.dataset,
        "protocol": d.pair.a.protocol,
        "model": d.pair.a.model,
    }


def json_text(outcome: Outcome) -> str:
    """gate.json."""
    from sapiens_bench.report.plain_json import render_document

    return render_document(Document("", (), data=data(outcome)))


def junit_text(outcome: Outcome) -> str:
    """JUnit XML: a test case for each model and score."""
    name = "sapiens-bench gate"
    counts = {"tests": str(len(outcome.rows)), "failures": str(len(outcome.failed)), "errors": "0"}
    if outcome.incomplete:
        counts = {"tests": str(len(outcome.rows)), "failures": "0", "errors": str(len(outcome.rows))}
    root = ElementTree.Element("testsuites", {"name": name, **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for row in outcome.rows:
        member = row.difference.pair.a
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": _xml(f"{member.task}.{member.dataset}.{member.protocol}.{member.model}"),
                "name": _xml(row.difference.key),
                "time": "0",
            },
        )
        if outcome.incomplete:
            ElementTree.SubElement(case, "error", {"message": _xml(outcome.incomplete), "type": "incomplete"})
        elif row.verdict == "fail":
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(row.reason), "type": row.tier})
            failure.text = _xml(json.dumps({k: v for k, v in _row(row).items() if v == v}))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", text)


def message(outcome: Outcome) -> str:
    """For the error line of a closed gate."""
    return f"The gate is closed: {len(outcome.failed)} of {len(outcome.rows)} failed.\n{describe(outcome.failed)}"
