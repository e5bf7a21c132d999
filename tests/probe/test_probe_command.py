"""The command on balls: heads are fitted, written and ranked by the ordinary run; leakage and bad input are refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cli import app
from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.models.parts.head_file import load_head
from sapiens_bench.probe.request import DataName, ProbeRequest
from sapiens_bench.probe.run import probe
from sapiens_bench.store.record import read_run

PROGRESS = re.compile(r"(pictures|views|feature maps|seed-\d+, loss .*|lr-.*): \d+/\d+$")
SMALL = ["--input", "64x64", "--batch-size", "4", "--width", "8", "--threads", "1", "--device", "cpu"]


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def command(cards: Path, out: Path, *more: str) -> list[str]:
    words = ["probe", "--backbone", "movenet-lightning", "--train", "discs:train", "--eval", "discs:test"]
    return [*words, "--cards", str(cards), "--out", str(out), *SMALL, *more]


def request(folder: Path, out: Path, **changed: object) -> ProbeRequest:
    chosen: dict[str, object] = {
        "backbone": "movenet-lightning", "tasks": ("seg",), "train": DataName("discs", "train"), "out": out,
        "evaluate": DataName("discs", "test"), "input_hw": (64, 64), "batch": 4, "width": 8, "steps": 4, "lr": 1e-3,
        "cards": (folder,), "device": "cpu", "threads": 1,
    }  # fmt: skip
    return ProbeRequest(**{**chosen, **changed})  # type: ignore[arg-type]


def test_one_head_of_three_tasks_is_fitted_and_ranked_above_the_constant_floors(cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = command(
        cards, out, "--task", "seg,depth,normal", "--steps", "60", "--lr", "3e-3", "--depth-loss", "aligned"
    )
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = {}
    for task, score in (("seg", "seg/miou"), ("depth", "depth/abs_rel"), ("normal", "normal/mean_deg")):
        record = read_run(out / f"run-{task}")
        scores = {cell.model: cell.scores[score].value for cell in record.cells if cell.status == "done"}
        found |= scores
    assert found["probe-movenet-lightning-seg"] > 0.8 > found["floor-background"]
    # The inflated silhouette of a ball is a ball, so that floor is out of reach here; the constants are not.
    assert found["probe-movenet-lightning-depth"] < found["floor-median-depth"] / 2
    assert found["probe-movenet-lightning-normal"] < found["floor-flat-normal"] / 2
    text = (out / "probe-movenet-lightning-depth.yaml").read_text()
    assert "trained head with a small image stem" in text
    assert "trained_on: discs:train\n" in text
    about, _, trunk = load_head(out / "probe-movenet-lightning.safetensors")
    assert about.made["pictures"] == 24
    assert not trunk  # it was frozen: the shipped file is enough
    assert (out / "loss.png").stat().st_size > 1000


def test_seeds_become_rows_of_their_own_and_the_rate_is_chosen_by_the_rule(cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = command(cards, out, "--task", "seg", "--steps", "12", "--seeds", "2")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    record = read_run(out / "run-seg")
    rows = [cell.model for cell in record.cells if cell.status == "done" and cell.kind == "network"]
    assert sorted(rows) == ["probe-movenet-lightning-seg-s0", "probe-movenet-lightning-seg-s1"]
    assert "over 2 seeds" in done.output
    made = load_head(out / "probe-movenet-lightning-s1.safetensors")[0].made
    tried = made["rates_tried"]
    assert set(tried) == {"0.0003", "0.001", "0.003"}
    assert made["settings"]["lr"] == min((loss, float(rate)) for rate, loss in tried.items())[1]


def test_the_same_command_gives_the_same_bytes(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    files = []
    for name in ("a", "b"):
        probe(request(cards, tmp_path / name), catalog, quiet)
        files.append((tmp_path / name / "probe-movenet-lightning.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_fine_tuned_trunk_is_kept_in_the_file(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    fitted = probe(request(cards, tmp_path, finetune=True), catalog, quiet)
    _, _, trunk = load_head(tmp_path / fitted[0].file)
    assert trunk
    title = Catalog.load([tmp_path]).model("probe-movenet-lightning-seg").variant.title
    assert title.startswith("MoveNet Lightning, fine-tuned, trained head")


def test_a_fine_tuned_row_says_so_and_not_that_its_weights_are_random(cards: Path, tmp_path: Path) -> None:
    """Its own file holds the trunk, so none is opened for it; that is no word on what it began with."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    save_file(timm.create_model("test_vit", img_size=(64, 64)).state_dict(), tmp_path / "vit.safetensors")
    words = command(cards, tmp_path / "out", "--task", "seg", "--steps", "2", "--lr", "1e-3", "--finetune")
    words += ["--backbone", "timm:test_vit", "--backbone-weights", str(tmp_path / "vit.safetensors")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "The trunk was trained with the head." in done.output
    assert "at random" not in done.output


def test_a_sapiens_encoder_is_fine_tuned_and_read_back_from_the_heads_file(
    cards: Path, tmp_path: Path, catalog: Catalog
) -> None:
    from safetensors.torch import save_file

    from sapiens_bench.models.sapiens_net import Encoder, EncoderConfig

    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(1024, 1, 16, 64, (4, 4), class_token=True))
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    out = tmp_path / "out"
    asked = request(
        cards, out, tasks=("normal",), backbone="sapiens-0.3b", backbone_weights=tmp_path / "encoder.safetensors",
        finetune=True, input_hw=(80, 48), steps=2,
    )  # fmt: skip
    (fitted,) = probe(asked, catalog, quiet)
    _, _, trunk = load_head(out / fitted.file)
    moved = trunk["encoder.layers.0.attn.qkv.weight"] - encoder.layers[0].attn.qkv.weight  # type: ignore[union-attr]
    assert moved.detach().abs().max() > 1e-4
    assert trunk["encoder.pos_embed"].shape == (1, 15, 1024)  # 5 x 3 patches
    done = CliRunner().invoke(
        app,
        ["run", "--task", "normal", "--models", "probe-sapiens-0.3b-normal", "--dataset", "discs", "--split", "test",
         "--cards", str(cards), "--cards", str(out), "--weights-root", str(out), "--out", str(tmp_path / "run")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "sapiens-0.3b, fine-tuned" in done.output


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"train_limit": 10}, "another set of pictures"),
        ({"validation": 0.5}, "another share held back"),
        ({"tasks": ("depth",), "depth_loss": "aligned"}, "another loss"),
        ({"backbone": "movenet-thunder"}, "another backbone"),
        ({"steps": 8}, "steps 4 there, 8 now"),
    ],
)
def test_a_finished_head_of_other_data_or_another_trunk_is_not_taken_for_the_one_asked_for(
    cards: Path, tmp_path: Path, catalog: Catalog, changed: dict[str, object], says: str
) -> None:
    first = request(cards, tmp_path / "out", name="head", tasks=changed.get("tasks", ("seg",)))
    probe(first, catalog, quiet)
    before = (tmp_path / "out" / "head.safetensors").read_bytes()
    with pytest.raises(StoreError, match=says):
        probe(request(cards, tmp_path / "out", name="head", **changed), catalog, quiet)
    assert (tmp_path / "out" / "head.safetensors").read_bytes() == before


def test_equal_names_of_people_in_sets_of_other_publishers_are_no_leakage_but_equal_pictures_are(
    cards: Path, tmp_path: Path, discs: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """Scan 0001 of one publisher is somebody else than scan 0001 of another; an export of it is not: that is said."""
    (cards / "others.yaml").write_text(discs.CARD.replace("discs", "others"))
    (cards / "others.py").write_text((cards / "discs.py").read_text())
    asked = request(cards, tmp_path / "out", train=DataName("discs", "test"), evaluate=DataName("others", "test"))
    with pytest.raises(UsageError, match="The picture of test/000 in others:test is also in discs:test"):
        probe(asked, Catalog.load([cards]), quiet)
    assert re.search(r"discs:test and others:test share \d+ groups, first '.*if those are the same people", caplog.text)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--eval", "discs:train"], "share 24 groups, first 'train/000'"),
        (["--eval", "discs:copied"], "picture of copied/000 in discs:copied is also in"),
        (["--train", "discs:empty"], "holds no sample"),
        (["--input", "60x64"], "both sides must be multiples of 32"),
        (
            ["--backbone", "timm:test_vit", "--backbone-weights", "random", "--input", "64x50"],
            "must be multiples of 16",
        ),
        (
            ["--backbone", "timm:test_vit", "--backbone-weights", "random"],
            "timm:test_vit gives no feature maps (no",
        ),
        (["--backbone", "movenet-lightnin"], "movenet-lightning"),
        (["--backbone", "sapiens-0.3b"], "needs --backbone-weights FILE: no file was given"),
        (["--backbone", "sapiens-0.3b", "--backbone-weights", "gone.pth"], "gone.pth is not there"),
        (["--class-weights", "paper"], "has none for 2 classes"),
        (["--task", "pointmap"], "a probe is fitted for seg, depth, normal, pose"),
        (["--lr", "1e30", "--steps", "8", "--warm-up", "0", "--clip", "0"], "is not finite"),
        (["--lr", "1e30", "--steps", "1", "--clip", "0"], "The validation loss after step 1 is not finite (seg"),
        (["--arch", "mask2former", "--width", "48"], "--width 48 is no multiple of 32"),
        (["--max-seconds", "3", "--lr", "auto"], "--max-seconds needs --lr"),
        (["--views", "0", "--finetune"], "--views 0 with --finetune"),
        (["--arch", "deeplabv3plus", "--batch-size", "1"], "needs 2 views or more a step"),
        (["--arch", "upernet", "--train-limit", "2", "--views", "1"], "1 view to fit on: --arch upernet"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], says: str
) -> None:
    """Through the command line: the reason and nothing else, no head, no card."""
    if "no feature maps" in says:
        import timm

        def without_maps(name: str, **options: object) -> None:
            raise RuntimeError("no features here")

        monkeypatch.setattr(timm, "create_model", without_maps)
    rate = [] if "auto" in more else ["--lr", "1e-3"]
    words = command(cards, tmp_path / "out", "--task", "seg", "--steps", "4", *rate)
    done = CliRunner().invoke(app, [*words, *(more if rate else more[:-2])])
    said = [line for line in done.stderr.splitlines() if not PROGRESS.match(line)]
    assert done.exit_code in (2, 3, 4), done.output
    assert len(said) == 1, done.output
    assert says in said[0]
    assert "--width" not in says or "views: " not in done.stderr  # before what takes minutes
    assert not done.stdout
    assert not list((tmp_path / "out").glob("*.safetensors"))
    assert not list((tmp_path / "out").glob("*.yaml"))


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sapiens_bench.probe import run as module

    honest, calls = module.losses_of, []

    def poisoned(prepared: object, head: object, rows: object, seed: int, step: int | None) -> dict[str, torch.Tensor]:
        calls.append(step)
        found = honest(prepared, head, rows, seed, step)  # type: ignore[arg-type]
        return {task: loss * float("nan") if step == 5 else loss for task, loss in found.items()}

    monkeypatch.setattr(module, "losses_of", poisoned)
    words = command(cards, tmp_path, "--task", "seg", "--steps", "8", "--lr", "1e-3", "--checkpoint-every", "2")
    done = CliRunner().invoke(app, words)
    assert (
        "The loss of step 6 is not finite (seg nan). The last good checkpoint, if there is one, is kept." in done.stderr
    )
    assert calls[-1] == 5
    state = torch.load(tmp_path / "seed-0" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["module"].values())


def test_a_head_on_a_frozen_trunk_from_a_file_is_judged_from_its_own_folder_until_that_file_is_gone(
    cards: Path, tmp_path: Path
) -> None:
    """The trunk's file lies anywhere; the head's folder leads to it, and a copy that lies there is not replaced."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    trunk = tmp_path / "trunks" / "vit.safetensors"
    trunk.parent.mkdir()
    save_file(timm.create_model("test_vit", img_size=(64, 64)).state_dict(), trunk)
    out = tmp_path / "out"
    words = command(cards, out, "--task", "seg", "--steps", "2", "--lr", "1e-3", "--seeds", "2")
    words += ["--backbone", "timm:test_vit", "--backbone-weights", str(trunk)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    scored = [cell.status for cell in read_run(out / "run-seg").cells if cell.kind == "network"]
    assert scored == ["done", "done"]
    mean = re.search(r"mIoU over 2 seeds: mean ([\d.]+) %, standard deviation over seeds [\d.e-]+ %", done.output)
    values = [c.scores["seg/miou"].value for c in read_run(out / "run-seg").cells if c.kind == "network"]
    assert mean is not None
    assert float(mean[1]) == pytest.approx(50 * sum(values), rel=1e-3)
    run = ["run", "--task", "seg", "--models", "probe-test_vit-seg-s0", "--dataset", "discs", "--split", "test"]
    run += ["--cards", f"{cards}", "--cards", f"{out}", "--weights-root", f"{out}", "--out", f"{tmp_path / 'run'}"]
    trunk.rename(tmp_path / "elsewhere.safetensors")
    done = CliRunner().invoke(app, run)
    assert done.exit_code != 0
    assert "vit.safetensors is the frozen trunk's own file: it belongs beside the head" in done.output
    copy = out / "vit.safetensors"
    copy.unlink()
    (tmp_path / "elsewhere.safetensors").rename(copy)
    assert CliRunner().invoke(app, run).exit_code == 0
    again = [*words[:-1], str(copy)]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert copy.is_file()
    assert not copy.is_symlink()


def test_a_card_whose_backbone_file_is_gone_says_so_in_its_row(cards: Path, tmp_path: Path) -> None:
    """The head of a trunk with weights of its own names them; without them its row tells what is missing."""
    out = tmp_path / "out"
    probe(request(cards, out), Catalog.load([cards]), quiet)
    card = out / "probe-movenet-lightning-seg.yaml"
    card.write_text(card.read_text().replace("    get:", "    also: {trunk.pth: null}\n    get:"))
    words = ["run", "--task", "seg", "--models", "probe-movenet-lightning-seg", "--dataset", "discs", "--split", "test"]
    words += ["--cards", f"{cards}", "--cards", f"{out}", "--weights-root", f"{out}", "--out", f"{tmp_path / 'run'}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert len([line for line in done.output.splitlines() if "trunk.pth" in line]) == 1
    assert "probe-movenet-lightning-seg" in done.output
    assert "Traceback" not in done.output


def test_a_probe_of_a_random_vit_loses_to_the_movenet_trunk_by_a_paired_interval(cards: Path, tmp_path: Path) -> None:
    """The experiment in small: same head, views, steps and seeds; the difference excludes zero."""
    from sapiens_bench.api import evaluate
    from sapiens_bench.decide.compare import compare
    from sapiens_bench.decide.sides import read_side

    folders = {"movenet": ("movenet-lightning", None), "vit": ("timm:test_vit", Path("random"))}
    for name, (backbone, weights) in folders.items():
        asked = request(
            cards, tmp_path / name, tasks=("normal",), backbone=backbone, backbone_weights=weights, stem=False,
            steps=60, lr=3e-3, name=name,
        )  # fmt: skip
        probe(asked, Catalog.load([cards]), quiet)
    heads = tmp_path / "heads"
    heads.mkdir()
    for name in folders:
        for file in (tmp_path / name).glob(f"{name}*"):
            (heads / file.name).write_bytes(file.read_bytes())
    evaluate(
        task="normal", models=("movenet-normal", "vit-normal"), datasets="discs", split="test", out=tmp_path / "run",
        cards=(cards, heads), weights_root=heads, device="cpu", n_boot=0,
    )  # fmt: skip
    (difference,) = compare([read_side(tmp_path / "run")]).differences
    better = difference.found.b - difference.found.a if difference.pair.a.model == "movenet-normal" else -1
    assert better > 1
    assert difference.found.low > 0


def test_a_misspelt_split_to_judge_on_is_refused_before_a_picture_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    asked = request(
        tmp_path, tmp_path / "out", tasks=("depth",), train=DataName("synthetic-humans", "train"),
        evaluate=DataName("synthetic-humans", "tny"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="tiny"):
        probe(asked, Catalog.load(), quiet)
    assert not list((tmp_path / "cache").rglob("*.npz"))
    assert not list((tmp_path / "cache").rglob("*.png"))


def test_views_made_at_every_step_fit_a_large_head_within_a_time(cards: Path, tmp_path: Path, catalog: Catalog) -> None:
    out = tmp_path / "out"
    asked = request(
        cards, out, tasks=("seg", "depth", "normal"), backbone="blazepose-full", views=0, head="large", width=32,
        steps=100_000, max_seconds=3.0, checkpoint_every=1,
    )  # fmt: skip
    (fitted,) = probe(asked, catalog, quiet)
    about, head, trunk = load_head(out / fitted.file)
    steps = about.made["settings"]["steps"]
    assert 1 <= steps < 1000
    assert about.plan.context == 2
    assert head.levels["stride2"].lateral.out_channels == about.plan.fine_width  # the mask branch's fine maps
    assert not trunk
    first = load_file(out / fitted.file)
    probe(asked, catalog, quiet)  # finished already: the number of steps is the checkpoint's, nothing is trained again
    assert load_head(out / fitted.file)[0].made["settings"] == about.made["settings"]
    second = load_file(out / fitted.file)
    assert all(torch.equal(first[name], second[name]) for name in first)
    again = replace(asked, out=tmp_path / "again", steps=steps, max_seconds=None)
    probe(again, catalog, quiet)  # the number of steps is all that the time decides
    tensors = [load_file(folder / fitted.file) for folder in (out, tmp_path / "again")]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.parametrize("arch", ["deeplabv3plus", "mask2former"])
def test_a_published_decoder_is_trained_on_the_same_data_and_ranked(cards: Path, tmp_path: Path, arch: str) -> None:
    words = command(cards, tmp_path / "out", "--task", "seg", "--arch", arch, "--steps", "3", "--lr", "1e-3")
    done = CliRunner().invoke(app, [*words, "--width", "32"])
    assert done.exit_code == 0, done.output
    (row,) = [cell for cell in read_run(tmp_path / "out" / "run-seg").cells if cell.kind == "network"]
    assert row.status == "done"
    assert row.model == f"{arch}-movenet-lightning-seg"
    assert "decoder" in (tmp_path / "out" / f"{row.model}.yaml").read_text()
