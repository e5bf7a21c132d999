"""Training views of one person: the crop that a top-down network is given, and where its keypoints are in it.

View 0 is the crop as the model will see it. The others are mirrored, zoomed, turned, shifted and recoloured by draws
that depend on the sample's key, the person, the view's number and the seed alone.

Axes: K keypoints, h x w input pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.top_down import PADDING
from sapiens_bench.pixels.affine import box_to_center_scale, udp_matrix, warp
from sapiens_bench.probe.views import Arrays, recoloured
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.types import Adapter

ZOOM = (0.75, 1.35)  # of the crop's sides
SHIFT = 0.1  # of the crop's sides, at most
TURN_DEG, TURN_SHARE = 40.0, 0.6  # at most, and how many are turned


def find_people(adapter: Adapter, indices: Sequence[int], workers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Everybody who is scored: the sample of each, and the number of each among the sample's people.

    Raises:
        UsageError: nobody is. SampleFault: a damaged sample.
    """

    def scored(index: int) -> list[int]:
        return [int(person) for person in np.flatnonzero(adapter[index].target.is_scored_N)]

    with ThreadPoolExecutor(max(1, workers), "sapiens-people") as pool:
        found = list(pool.map(scored, indices))
    pairs = [(index, person) for index, people in zip(indices, found, strict=True) for person in people]
    if not pairs:
        raise UsageError("Nobody in the training data has a labelled keypoint. Use more, or other data.")
    return tuple(index for index, _ in pairs), tuple(person for _, person in pairs)


def person_view(
    image_HW3: NDArray[np.uint8],
    target: PoseTarget,
    person: int,
    number: int,
    input_hw: tuple[int, int],
    rng: np.random.Generator,
    flip_index: NDArray[np.int64],
) -> Arrays:
    """One view: ``image`` uint8 [3, h, w], and ``pose`` float32 [K, 3]: x and y in shares of the sides between the
    centres of the outermost pixels, and 1 where the point is labelled, else 0 (as ``udp_targets`` takes them).

    Args:
        number: 0 for the plain view; odd ones are mirrored.
        flip_index: keypoint -> its mirror image.
    """
    size_wh = (input_hw[1], input_hw[0])
    centers, scales = box_to_center_scale(
        target.boxes_xyxy_px_N4[person], padding=PADDING, aspect=size_wh[0] / size_wh[1]
    )
    center, scale, turn = centers[0], scales[0], 0.0
    if number:
        scale = scale * np.float32(np.exp(rng.uniform(np.log(ZOOM[0]), np.log(ZOOM[1]))))
        center = center + scale * rng.uniform(-SHIFT, SHIFT, 2).astype(np.float32)
        turn = float(rng.uniform(-TURN_DEG, TURN_DEG)) if rng.random() < TURN_SHARE else 0.0
    matrix = udp_matrix(center, scale, size_wh, turn)
    picture = warp(image_HW3, matrix, size_wh)
    labelled = target.visible_NK[person] > 0
    points = np.asarray(target.keypoints_NK2_px[person], np.float64) @ matrix[:, :2].T + matrix[:, 2]
    share = np.where(labelled[:, None], points / (np.array(size_wh) - 1), 0)
    if number % 2:
        picture = picture[:, ::-1]
        share[:, 0] = 1 - share[:, 0]
        share, labelled = share[flip_index], labelled[flip_index]
    if number:
        picture = recoloured(np.ascontiguousarray(picture), rng)
    pose = np.concatenate([share, labelled[:, None]], 1).astype(np.float32)
    return {"image": np.ascontiguousarray(picture.transpose(2, 0, 1)), "pose": pose}
