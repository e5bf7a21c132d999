"""``study video`` on a sequence in Hi4D's layout: flat bodies seen by one camera, one frame after the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sapiens_bench.cli import app

WIDTH, HEIGHT, FOCAL, DEPTH = 48, 64, 60.0, 3.0
FRAMES = (1, 2, 3, 4, 5, 7)  # 6 is missing: what follows is too short a sequence
K = np.array([[FOCAL, 0, 23.5], [0, FOCAL, 31.5], [0, 0, 1]])
LEFT_X = (-0.8, 0.3)  # of each person: a rectangle of 0.4 x 1.6 m, 5 cm further away every frame


def away(person: int, frame: int) -> float:
    return DEPTH + 0.5 * person + 0.05 * frame


def mesh(frame: int) -> str:
    lines = [f"mtllib MatLib-F{frame:05d}.mtl", "usemtl atlas", "vt 0.5 0.5"]
    for person, x in enumerate(LEFT_X):
        lines += [f"v {a} {b} {away(person, frame)}" for a in (x, x + 0.4) for b in (-0.8, 0.8)]
    for person in range(len(LEFT_X)):
        lines += ["f " + " ".join(f"{i + 4 * person}/1" for i in corners) for corners in ((1, 2, 4), (1, 4, 3))]
    return "\n".join(lines) + "\n"


def silhouette(frame: int) -> np.ndarray:
    """Pixel centres inside the rectangles, worked out from the camera."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    seen = np.zeros((HEIGHT, WIDTH), bool)
    for person, left in enumerate(LEFT_X):
        world_x, world_y = ((p - c) * away(person, frame) / FOCAL for p, c in ((x, K[0, 2]), (y, K[1, 2])))
        seen |= (world_x > left) & (world_x < left + 0.4) & (np.abs(world_y) < 0.8)
    return seen


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write(root: Path) -> Path:
    folder = root / "pair00/hug00"
    (folder / "cameras").mkdir(parents=True)
    (folder / "frames").mkdir()
    for n in FRAMES:
        (folder / f"frames/mesh-f{n:05d}.obj").write_text(mesh(n))
        (folder / f"frames/MatLib-F{n:05d}.mtl").write_text(f"newmtl atlas\nmap_Kd Atlas-F{n:05d}.png\n")
        save(folder / f"frames/Atlas-F{n:05d}.png", np.full((8, 8, 3), (200, 90, 40), np.uint8))
        seen = silhouette(n)
        save(folder / f"seg/img_seg_mask/4/all/{n:06d}.png", (seen * 255).astype(np.uint8))
        save(folder / f"images/4/{n:06d}.jpg", np.repeat((seen * 200).astype(np.uint8)[..., None], 3, 2))
    np.savez(
        folder / "cameras/rgb_cameras.npz", ids=np.array([4]), intrinsics=K[None], extrinsics=np.eye(4)[None, :3],
        dist_coeffs=np.zeros((1, 5)),
    )  # fmt: skip
    np.savez(folder / "meta.npz", start=1, end=7, mono_cam=4, num_persons=2)
    return root


def test_the_command_measures_a_hi4d_sequence_tells_it_again_and_report_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depth of an oracle drifts by nothing, that of a noisy one by what its own fits find."""
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    root, out = write(tmp_path / "hi4d"), str(tmp_path / "study")
    asked = ["study", "video", "--task", "depth", "--models", "oracle-depth,noisy-oracle-depth", "--dataset", "hi4d",
             "--data-root", str(root), "--device", "cpu", "--workers", "1", "--n-boot", "10", "--out", out]  # fmt: skip
    told = CliRunner().invoke(app, [*asked, "--format", "json"])
    assert told.exit_code == 0, told.output
    motions = {found["model"]: found for found in json.loads(told.stdout)["motions"]}
    for found in motions.values():
        assert (found["dataset"], found["n_frames"], found["n_sequences"]) == ("hi4d", 5, 1)  # frame 7 stands alone
    drifts = {name: [found["values"][key]["value"] for key in ("scale_drift", "shift_drift")]
              for name, found in motions.items()}  # fmt: skip
    assert drifts["oracle-depth"] == pytest.approx([0, 0], abs=1e-3)
    assert drifts["noisy-oracle-depth"][0] > 0.01
    rows = sorted((tmp_path / "study").rglob("*.parquet"))
    before = [(path, path.stat().st_mtime_ns) for path in rows]
    again = CliRunner().invoke(app, [*asked, "--format", "md"])
    assert (again.exit_code, "noisy" in again.output.lower()) == (0, True), again.output
    assert before == [(path, path.stat().st_mtime_ns) for path in rows]  # nothing is computed twice
    report = CliRunner().invoke(app, ["report", out, "--format", "json"])
    assert report.exit_code == 0, report.output
    for found in json.loads(report.stdout)["motions"]:
        assert found["values"] == motions[found["model"]]["values"]


def test_a_hi4d_folder_without_calibration_is_told_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    root = write(tmp_path / "hi4d")
    (root / "pair00/hug00/cameras/rgb_cameras.npz").unlink()
    asked = ["study", "video", "--task", "depth", "--models", "oracle-depth", "--dataset", "hi4d", "--data-root",
             str(root), "--workers", "1", "--out", str(tmp_path / "study")]  # fmt: skip
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 2, refused.output
    assert "rgb_cameras.npz" in refused.output.replace("\n", "")
    assert "Traceback" not in refused.output
