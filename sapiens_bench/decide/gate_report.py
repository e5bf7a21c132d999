"""What the gate says, for people (a document), programs (gate.json) and test tools (JUnit XML)."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from xml.etree import ElementTree

from sapiens_bench.decide import wording
from sapiens_bench.decide.gate import Judged, Outcome, describe
from sapiens_bench.decide.joints import JointChange
from sapiens_bench.decide.sides import Member
from sapiens_bench.decide.speed import SpeedChange
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet

SCHEMA = "gate/1"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(outcome: Outcome) -> Document:
    """One table, failures first in bold."""
    rows = sorted(outcome.rows, key=lambda r: r.verdict != "fail")
    heads = ("Verdict", "Model", "Data set", "Score", "BASE", "CAND", "CAND - BASE", "Interval", "Holm p", "Why")
    bold = {(i, j) for i, row in enumerate(rows) if row.verdict == "fail" for j in (0, 1)}
    words = {"pass": "passed", "fail": f"FAILED ({counted(outcome)})", "incomplete": "INCOMPLETE"}
    groups = [r.difference.found.n_groups for r in rows if r.difference.found.n_groups]
    return Document(
        title=f"sapiens-bench gate: {words[outcome.verdict]}",
        sheets=(
            Sheet("", heads, tuple(map(_line, rows)), (0, 1, 2, 3, 9), bold=bold),
            *_joint_sheets(outcome),
            *_speed_sheets(outcome),
        ),
        facts={"BASE": str(outcome.base.path), "CAND": str(outcome.cand.path)},
        notes=(
            *([f"INCOMPLETE: {outcome.incomplete}. Nothing is decided."] if outcome.incomplete else []),
            f"Intervals: each end one-sided, {outcome.spec.level:.0%}; paired bootstrap over groups, "
            f"{outcome.n_draws} draws, seed {outcome.spec.seed}.",
            *wording.few_groups(groups, "intervals"),
            *_joint_notes(outcome),
            *_speed_notes(outcome),
            *outcome.remarks,
        ),
        data=data(outcome),
    )


def counted(outcome: Outcome) -> str:
    """``"1 of 4"``, ``"0 of 4, and 3 joints"``, ``"0 of 4, and 1 benchmark"``."""
    more = [
        f", and {len(found)} {word}{'s' if len(found) > 1 else ''}"
        for found, word in ((outcome.moved, "joint"), (outcome.slower, "benchmark"))
        if found
    ]
    return f"{len(outcome.failed)} of {len(outcome.rows)}{''.join(more)}"


def _joint_sheets(outcome: Outcome) -> tuple[Sheet, ...]:
    """Joints for which something is certain; those that close the gate first."""
    shown = sorted((j for j in outcome.joints if j.kind), key=lambda j: not j.is_failed)
    if not shown:
        return ()
    heads = (
        "Verdict",
        "Model",
        "Joint",
        "Right px",
        "Down px",
        "Shift %",
        "BASE error %",
        "CAND error %",
        "Holm p",
        "n",
    )
    lines = tuple(
        (
            "FAIL" if j.is_failed else "pass",
            j.pair.a.title,
            f"{j.joint.replace('_', ' ')}: {'moved nearer' if j.kind == 'nearer' else j.kind}",
            *(f"{value:+.1f}" for value in (j.dx_px, j.dy_px)),
            *(f"{100 * value:.2f}" for value in (j.shift, j.base, j.cand)),
            wording.p_text(j.p_holm),
            str(j.n),
        )
        for j in shown
    )
    bold = {(i, c) for i, j in enumerate(shown) if j.is_failed for c in (0, 2)}
    return (Sheet("Joints", heads, lines, (0, 1, 2), bold=bold),)


def _speed_sheets(outcome: Outcome) -> tuple[Sheet, ...]:
    """Every benchmark, those that close the gate first."""
    if not outcome.speed:
        return ()
    shown = sorted(outcome.speed, key=lambda change: not change.is_failed)
    lines = tuple(("FAIL" if change.is_failed else "pass", change.words) for change in shown)
    bold = {(i, 0) for i, change in enumerate(shown) if change.is_failed}
    return (Sheet("Speed", ("Verdict", "Benchmark"), lines, (0, 1), bold=bold),)


def _speed_notes(outcome: Outcome) -> list[str]:
    if not outcome.speed:
        return []
    return [
        f"Speed: the least time of each benchmark over all files of a side, taken in turn on one machine; fails above "
        f"{outcome.spec.speed.max_slowdown:g} %. Parameters and multiply-adds are exact."
    ]


def _joint_notes(outcome: Outcome) -> list[str]:
    if not outcome.joints:
        return []
    least = f"{outcome.spec.joints.min_shift:g} % of a person's box"
    return [
        f"Joints: {len(outcome.moved)} of {len(outcome.joints)} failed. One fails when, for certain, its mean position "
        f"moved by more than {least} (same weights only) or its error rose: paired t over groups, Holm over all joints."
    ]


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
        "draws": outcome.n_draws,
        "seed": outcome.spec.seed,
        "rows": [_row(row) for row in outcome.rows],
        "joints": [_joint(joint) for joint in outcome.joints],
        "speed": [_speed(change) for change in outcome.speed],
    }


def _speed(change: SpeedChange) -> dict[str, Any]:
    """Times in seconds."""
    return {
        "benchmark": change.name,
        "kind": change.kind,
        "verdict": "fail" if change.is_failed else "pass",
        "base": change.base,
        "cand": change.cand,
        "change": change.change,
        "reason": change.words,
    }


def _joint(joint: JointChange) -> dict[str, Any]:
    """Shares are of the longer side of a person's box."""
    member = joint.pair.a
    return {
        "joint": joint.joint,
        "verdict": "fail" if joint.is_failed else "pass",
        "kind": joint.kind,
        "dx_px": joint.dx_px,
        "dy_px": joint.dy_px,
        "shift": joint.shift,
        "base": joint.base,
        "cand": joint.cand,
        "p_moved": joint.p_moved,
        "p_farther": joint.p_farther,
        "p_holm": joint.p_holm,
        "n": joint.n,
        "n_groups": joint.n_groups,
        "dataset": member.dataset,
        "protocol": member.protocol,
        "model": member.model,
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


def benchmark_text(outcome: Outcome) -> str:
    """CAND's scores as a list of ``{name, unit, value, range}``, in the unit that tables show: what actions that track
    benchmarks over commits read (github-action-benchmark, tools customBiggerIsBetter and customSmallerIsBetter).
    Undefined scores are left out.
    """
    entries = []
    for row in outcome.rows:
        d = row.difference
        if not math.isfinite(d.found.b):
            continue
        factor = 100 if d.info.percent else 1
        entry: dict[str, Any] = {
            "name": f"{d.pair.a.model} on {d.pair.a.dataset}: {d.key}",
            "unit": "%" if d.info.percent else d.info.unit or "1",
            "value": round(d.found.b * factor, d.info.decimals + 2),
        }
        if math.isfinite(d.found.low):
            entry["range"] = f"± {(d.found.high - d.found.low) / 2 * factor:.{d.info.decimals + 1}f}"
        entries.append(entry | {"extra": f"{row.tier}: {row.verdict}"})
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


def junit_text(outcome: Outcome) -> str:
    """JUnit XML: a test case for each model and score, for the joints of each pose model and for each benchmark."""
    name = "sapiens-bench gate"
    cases = [_case(r.difference.pair.a, r.difference.key, _failure(r), outcome.incomplete) for r in outcome.rows]
    watched = {id(joint.pair): joint.pair for joint in outcome.joints}
    for pair in watched.values():
        moved = [joint for joint in outcome.moved if joint.pair is pair]
        told = ("; ".join(j.words for j in moved), "joints", [_joint(j) for j in moved]) if moved else None
        cases.append(_case(pair.a, "joints", told, outcome.incomplete))
    cases += [_speed_case(change) for change in outcome.speed]
    found = {kind: str(sum(case.find(kind) is not None for case in cases)) for kind in ("failure", "error")}
    counts = {"tests": str(len(cases)), "failures": found["failure"], "errors": found["error"]}
    root = ElementTree.Element("testsuites", {"name": name, **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    suite.extend(cases)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _speed_case(change: SpeedChange) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": "speed", "name": _xml(f"{change.name}: {change.kind}"), "time": "0"}
    )
    if change.is_failed:
        failure = ElementTree.SubElement(case, "failure", {"message": _xml(change.words), "type": "speed"})
        failure.text = _xml(json.dumps({name: value for name, value in _speed(change).items() if value == value}))
    return case


_Told = tuple[str, str, Any] | None  # message, type, numbers


def _failure(row: Judged) -> _Told:
    return (row.reason, row.tier, {k: v for k, v in _row(row).items() if v == v}) if row.verdict == "fail" else None


def _case(member: Member, name: str, told: _Told, incomplete: str) -> ElementTree.Element:
    classname = f"{member.task}.{member.dataset}.{member.protocol}.{member.model}"
    case = ElementTree.Element("testcase", {"classname": _xml(classname), "name": _xml(name), "time": "0"})
    if incomplete:
        ElementTree.SubElement(case, "error", {"message": _xml(incomplete), "type": "incomplete"})
    elif told is not None:
        message, kind, numbers = told
        failure = ElementTree.SubElement(case, "failure", {"message": _xml(message), "type": kind})
        failure.text = _xml(json.dumps(numbers))
    return case


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", text)


def message(outcome: Outcome) -> str:
    """For the error line of a closed gate."""
    return f"The gate is closed: {counted(outcome)} failed.\n{describe(outcome.failed, outcome.moved, outcome.slower)}"
