"""Random annotation and results files with everything odd that pycocotools reads."""

from __future__ import annotations

from typing import Any

import numpy as np

IMAGE = (320, 240)


def truth(rng: np.random.Generator, n_images: int, k: int = 17) -> dict[str, Any]:
    """People of all sizes, crowds, people without points, people whose count is 0 although points are labelled."""
    ids = rng.permutation(np.arange(1, 10 * n_images))[:n_images].tolist()
    images = [{"id": i, "file_name": f"{j}.jpg", "width": IMAGE[0], "height": IMAGE[1]} for j, i in enumerate(ids)]
    annotations = []
    for image in ids:
        for _ in range(rng.integers(0, 5)):
            width, height = rng.uniform(15, 140, 2)
            x, y = rng.uniform(0, IMAGE[0] - width), rng.uniform(0, IMAGE[1] - height)
            points = np.stack([rng.uniform(x, x + width, k), rng.uniform(y, y + height, k)], axis=1).round(2)
            visible = rng.choice([0, 1, 2], k, p=[0.2, 0.2, 0.6]) * (rng.random() > 0.15)
            kind = rng.random()
            count = int((visible > 0).sum())
            annotations.append(
                {
                    "id": len(annotations) + 5,
                    "image_id": image,
                    "category_id": 3,
                    "iscrowd": int(kind < 0.1),
                    "num_keypoints": 0 if kind > 0.9 else count,
                    "area": float(rng.uniform(0.3, 0.9) * width * height),
                    "bbox": [round(float(v), 2) for v in (x, y, width, height)],
                    "keypoints": np.concatenate([points, visible[:, None]], axis=1).ravel().tolist(),
                }
            )
    rng.shuffle(annotations)
    categories = [{"id": 1, "name": "dog"}, {"id": 3, "name": "person"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def results(rng: np.random.Generator, document: dict[str, Any], *, boxes: bool, ties: bool) -> list[dict[str, Any]]:
    """Near misses, false positives, duplicates and nobody for some."""
    found: list[dict[str, Any]] = []
    for person in document["annotations"]:
        if rng.random() < 0.2:
            continue
        points = np.array(person["keypoints"]).reshape(-1, 3)
        found += [
            _result(rng, person["image_id"], points[:, :2], ties, rng.choice([0.3, 3.0, 12.0]))
            for _ in range(rng.integers(1, 3))
        ]
    for image in document["images"]:
        for _ in range(rng.integers(0, 4)):
            corner = rng.uniform(0, 150, 2)
            points = corner + rng.uniform(5, 120) * rng.random((len(found[0]["keypoints"]) // 3 if found else 17, 2))
            found.append(_result(rng, image["id"], points, ties, 0.0))
    rng.shuffle(found)
    if boxes:
        for result in found:
            result["bbox"] = [round(float(v), 1) for v in (*rng.uniform(0, 100, 2), *rng.uniform(10, 200, 2))]
    return found


def _result(
    rng: np.random.Generator, image: int, points_K2: np.ndarray[Any, Any], ties: bool, noise_px: float
) -> dict[str, Any]:
    moved = (points_K2 + rng.normal(0, 1, points_K2.shape) * noise_px).round(3)
    score = float(rng.choice([0.25, 0.5, 0.75])) if ties else float(rng.random())
    triples = np.concatenate([moved, rng.random((len(moved), 1))], axis=1)
    return {"image_id": image, "category_id": 3, "keypoints": triples.ravel().tolist(), "score": score}
