"""User mistakes: one message that says what to do, the right exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench import errors
from sapiens_bench.cli.guard import complain

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--task", "poze"], "Did you mean 'pose'?"),
        (["run", "--task", "pose", "--models", "movnet-thunder"], "'movenet-thunder'"),
        (["run", "--task", "pose", "--dataset", "coco-val"], "'coco-val2017'"),
        (["run", "--task", "pose", "--dataset", "coco-val2017", "--data-root", "/no/such"], "/no/such"),
        (["run", "--task", "pose", "--cards", "/no/such"], "--cards /no/such"),
        (["run", "--task", "pose", "--option", "flip"], "name=value"),
        (["run", "--task", "pose", "--max-errors", "2"], "--max-errors"),
        (["run", "--task", "pose", "--limit", "0"], "--limit"),
        (["run", "--task", "pose", "--modles", "x"], "--models"),
        (["run"], "--task"),
        (["lst"], "list"),
        (["list", "modles"], "'models'"),
        (["list", "--task", "poze"], "'pose'"),
        (["report", "/no/such"], "/no/such/run.json does not exist"),
        (["verify", "/no/such"], "/no/such/run.json does not exist"),
        (["verify", "golden", "/no/such"], "/no/such"),
        (["data", "show", "coco"], "'coco-val2017'"),
        (["data", "check", "coco-val2017"], "--data-root"),
        (["weights", "get", "sapiens-1bb"], "'sapiens-1b"),
        (["weights", "get", "sapiens-1b"], "--accept-licence CC-BY-NC-4.0"),
        (["weights", "get", "sapiens-1b", "--accept-licence", "MIT"], "--accept-licence CC-BY-NC-4.0"),
        (["weights", "get", "sapiens-1b", "--accept-licence", "CC-BY-NC-4.0"], "HF_HUB_OFFLINE"),
        (["weights", "list", "--task", "x"], "Unknown task"),
        (["run", "--task", "pose", "--protocol", "ok"], "gt-box-17"),
        (["profile", "--models", "./nofile.onnx"], "nofile.onnx does not exist"),
        (["score", "--task", "poze", "--truth", "a.json", "b.json"], "Did you mean 'pose'?"),
        (["run", "--task", "pose", "--trust-checkpoint", "foo"], "--trust-checkpoint foo: write PATH:SHA256"),
        (["run", "--task", "pose", "--models", "oracle", "--scoring", "scor="], "data set synthetic-humans"),
        (["probe", "--backbone", "movenet-thunder", "--task", "dept", "--train", "x"], "Did you mean 'depth'?"),
        (["run", "--task", "pose", "--out", "odd\udcff"], r"odd\xff: the name holds bytes that are not UTF-8"),
    ],
)  # fmt: skip
def test_a_mistake_exits_2_and_says_what_to_do(call: Call, arguments: list[str], expected: str) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert expected in " ".join(err.split())
    assert "Traceback" not in out + err


def test_a_dry_run_writes_nothing_at_all(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    code, *_ = call("run", "--task", "pose", "--models", "movenet-lightning", "--split", "tiny", "--dry-run")
    assert (code, list(tmp_path.iterdir())) == (0, [])


def test_a_broken_card_of_the_user_is_named_and_the_others_go_on(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("schema: model/1\nid: x\ntaks: pose\n")
    code, out, err = call("list", "models", "--cards", tmp_path)
    assert code == 0
    assert "movenet-thunder" in out
    assert "bad.yaml" in err


def test_debug_anywhere_shows_the_traceback(call: Call) -> None:
    with pytest.raises(errors.UnknownName):
        call("run", "--task", "poze", "--debug")


def test_a_defect_of_ours_is_one_message_and_exit_70(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from sapiens_bench.cards.catalog import Catalog

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("boom \x1b[31m")

    monkeypatch.setattr(Catalog, "load", broken)
    code, _, err = call("list")
    assert code == 70
    assert "ZeroDivisionError: boom" in err
    assert "--debug" in err
    assert "Traceback" not in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.TooManyErrors("x"), 3),
        (errors.IncompleteRun("x"), 4),
        (errors.StorageFull("x"), 4),
        (errors.ChecksumMismatch("x"), 5),
        (errors.Interrupted("x"), 130),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (OSError(28, "No space left on device"), 4),
        (PermissionError(13, "Permission denied", "/x"), 2),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(error) == code
    assert capsys.readouterr().err.startswith("error: ")
