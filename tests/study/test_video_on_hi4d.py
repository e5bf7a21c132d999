"""``study video`` on a sequence in Hi4D's layout: flat bodies seen by one camera, one frame after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.study import video

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


@pytest.mark.parametrize("model", ["oracle-depth", "noisy-oracle-depth"])
def test_depth_over_a_hi4d_sequence_drifts_as_much_as_the_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    root = write(tmp_path / "hi4d")
    base = Request(
        task="depth", models=(model,), datasets=("hi4d",), data_root=root, out=tmp_path / "out", device="cpu",
        n_boot=0, workers=1,
    )  # fmt: skip
    plan = resolve(video.design(base, 2).base, Catalog.load())
    run(plan)
    (found,) = video.measure(plan, n_draws=10, seed=0)
    assert (found.dataset, found.n_frames, found.n_sequences) == ("hi4d", 5, 1)  # frame 7 stands alone
    scale, shift = (found.values[key][0] for key in ("scale_drift", "shift_drift"))
    if model == "oracle-depth":
        assert (scale, shift) == pytest.approx((0, 0), abs=1e-3)
    else:
        assert scale > 0.01
