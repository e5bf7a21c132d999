"""Cards: YAML that would run code, grow, hide keys or lead elsewhere; titles that would be markup."""

from __future__ import annotations

from fault_suite.hostile.pictures import SIZE, encoded, scene, write_set
from fault_suite.hostile.place import Found, Place, Wanted

GOOD = """\
schema: model/1
id: tiny-family
title: Tiny
task: pose
licence: {name: MIT}
wrapper: movenet
space: coco17
trained_on: nothing
variants:
  - id: tiny
    title: TITLE
    weights:
      file: tiny.safetensors
      format: graph
      sha256: "0000000000000000000000000000000000000000000000000000000000000000"
      get: {how: Ask a friend.}
    input: {height: 256, width: 192, mean: [1.0, 2.0, 3.5]}
"""
TITLES = {
    "html": "<img src=x onerror=alert(1)>",
    "latex": "a_b & \\input{/etc/passwd} %$#",
    "markdown": "a | b [x](javascript:alert(1))",
}
RAW = {"html": "<img src=x", "latex": "\\input{", "md": "[x](javascript:"}


def _refused(place: Place) -> dict[str, str | bytes]:
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    weights = "file: tiny.safetensors"
    return {
        "python_tag": GOOD + f"hook: !!python/object/apply:builtins.open ['{place.canary}', 'w']\n",
        "python_name": GOOD + "hook: !!python/name:os.system\n",
        "billion_laughs": GOOD + laughs,
        "deep": "[" * 5000 + "]" * 5000,
        "empty": "",
        "list": "- 1\n- 2\n",
        "dup_key": GOOD + "task: depth\n",
        "unknown_key": GOOD.replace("trained_on:", "traned_on:"),
        "bad_type": GOOD.replace("height: 256", "height: '256'"),
        "negative": GOOD.replace("height: 256", "height: -256"),
        "norway": GOOD.replace("id: tiny\n", "id: no\n"),
        "sexagesimal": GOOD.replace("height: 256", "height: 4:16"),
        "path_out": GOOD.replace(weights, "file: ../../tiny.safetensors"),
        "url_file": GOOD.replace("how: Ask a friend.", f"how: Ask., url: 'file://{place.outside}/secret.txt'"),
        "no_sha": "".join(line for line in GOOD.splitlines(True) if "sha256" not in line),
        "binary": bytes(range(256)),
    }


def make(place: Place) -> None:
    """Write them, each in a folder of its own, and a data set of one picture."""
    files: dict[str, tuple[Wanted, str | bytes]] = {"ok": ("ok", GOOD.replace("TITLE", "Tiny"))}
    files |= {name: ("reject_file", content) for name, content in _refused(place).items()}
    for name, title in TITLES.items():
        quoted = title.replace("\\", "\\\\")
        files[name] = ("escape", GOOD.replace("id: tiny", f"id: tiny-{name}").replace("TITLE", f'"{quoted}"'))
    for name, (wanted, content) in files.items():
        place.add(f"card_{name}", "card", wanted)
        folder = place.root / "cards" / name
        folder.mkdir(parents=True)
        data = content.replace("TITLE", "Tiny").encode() if isinstance(content, str) else content
        (folder / f"{name}.yaml").write_bytes(data)
    (place.root / "pictures").mkdir(exist_ok=True)
    (place.root / "pictures/one.jpg").write_bytes(encoded(scene(), "JPEG"))
    write_set(place, "one", [("one", "one.jpg", SIZE)], "ignore")


def judge(place: Place) -> dict[str, Found]:
    """Show the model of each card; report a run beside the titles."""
    found = {}
    for case in place.of("card"):
        name = case.id.removeprefix("card_")
        if case.wanted == "escape":
            found[case.id] = _escaped(place, name)
            continue
        call = place.call("weights", "show", "tiny", "--cards", place.root / "cards" / name)
        got = {0: "ok", 2: "reject_file"}.get(call.code, f"exit {call.code}")
        found[case.id] = Found(got, call.code == 0 or f"{name}.yaml" in call.said, call.said)
    return found


def _escaped(place: Place, name: str) -> Found:
    """A report in every format, in which the title must be plain text."""
    out = place.root / "runs" / f"title-{name}"
    cards = ("--cards", place.root / "cards" / name, "--cards", place.root / "picture_cards")
    run = place.call(
        "run", "--task", "pose", "--models", f"oracle,tiny-{name}", "--dataset", "one", *cards, "--data-root",
        place.root, "--out", out, "--n-boot", 0, "--device", "cpu",
    )  # fmt: skip
    for form in ("md", "latex", "html", "csv", "text", "json"):
        report = place.call("report", out, "--format", form)
        if report.code != 0:
            return Found(f"report --format {form} ends with {report.code}", text=run.said + report.said)
        if form in RAW and RAW[form] in report.out:
            return Found(f"raw in {form}", text=report.out)
    return Found("escape")
