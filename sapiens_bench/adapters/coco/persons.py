"""The persons of a file, read one by one into arrays that are allocated once. Axes: P persons, K keypoints."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.faults import Report, show, whole_number
from sapiens_bench.adapters.coco.formats import KeypointFormat
from sapiens_bench.adapters.coco.options import EVERY_CATEGORY, HEAD_SHARE, CocoOptions
from sapiens_bench.pixels import json_parts

_PLAIN = ("id", "image_id", "area", "iscrowd")
UNKNOWN = -1  # a count that the file does not give


class Persons:
    """Arrays that ``put`` fills; every array is by image, then in file order."""

    def __init__(self, layout: KeypointFormat, order_K: NDArray[np.int64] | None, options: CocoOptions) -> None:
        self.layout, self._order_K, self._options = layout, order_K, options
        self.wanted = frozenset((*_PLAIN, layout.count, "num_keypoints"))
        self.wanted |= {"category_id"} if options.category == EVERY_CATEGORY else set()
        self.unread = frozenset(("bbox", options.head_box, *(name for name, _ in layout.fields))) - {""}
        self.first_I1 = np.zeros(1, np.int64)
        self.n_without_points = 0
        self.allocate([])

    def allocate(self, ids: list[int]) -> None:
        """Room for these persons."""
        n = len(ids)
        self.ids = ids
        self.keypoints_PK3 = np.zeros((n, self.layout.n_keypoints, 3))
        self.boxes_xywh_P4 = np.zeros((n, 4))
        self.area_P = np.full(n, np.nan)  # NaN: the file has none
        self.is_crowd_P = np.zeros(n, bool)
        self.count_P = np.full(n, UNKNOWN, np.int64)
        self.head_size_px_P = np.full(n, np.nan)  # NaN: no head box
        self.category_P = np.zeros(n, np.int64)  # left so where one category is scored
        self.position_P = [""] * n  # how messages name a person

    def put(self, p: int, entry: dict[str, Any], report: Report) -> None:
        """Read one annotation into row ``p``."""
        self.position_P[p] = f"annotation {self.ids[p]}"
        self.category_P[p] = whole_number(entry.get("category_id")) or 0
        box = json_parts.numbers(entry.get("bbox"), 4)
        if box is None:
            report("label.bbox", f"bbox {show(json_parts.value(entry.get('bbox')))} is not 4 finite numbers")
        else:
            self.boxes_xywh_P4[p] = box
        if self._options.head_box:
            self._put_head(p, entry.get(self._options.head_box), report)
        self._put_area(p, entry.get("area"), report)
        crowd = entry.get("iscrowd", 0)
        if crowd is not None and (type(crowd) not in (bool, int, float) or crowd not in (0, 1)):
            report("label.iscrowd", f"iscrowd {show(crowd)} is not 0 or 1")
        self.is_crowd_P[p] = bool(crowd) if type(crowd) in (bool, int, float) else False
        count = entry.get(self.layout.count, entry.get("num_keypoints"))
        if count is not None:
            number = whole_number(count)
            if number is None or not 0 <= number < 1 << 31:
                report("label.num_keypoints", f"{self.layout.count} {show(count)} is not a whole number")
            else:
                self.count_P[p] = number
        self._put_points(p, entry, report)
        self.layout.check_person(entry, lambda text: report("label.format", text))

    def _put_head(self, p: int, value: Any, report: Report) -> None:
        """Length of the head: 0.6 x the diagonal of its box, as the MPII evaluation has it."""
        box = json_parts.numbers(value, 4)
        if box is not None:
            self.head_size_px_P[p] = HEAD_SHARE * np.hypot(box[2], box[3])
        elif json_parts.value(value) is not None:
            text = f"{self._options.head_box} {show(json_parts.value(value))} is not 4 finite numbers"
            report("label.head_box", text)

    def _put_area(self, p: int, area: Any, report: Report) -> None:
        if area is None or self._options.area == "0.53 x box":
            return
        try:
            value = float(area) if type(area) in (int, float) else np.nan
        except OverflowError:
            value = np.inf
        if not np.isfinite(value):
            report("label.area", f"area {show(area)} is not a finite number")
            value = 0.0
        self.area_P[p] = value

    def _put_points(self, p: int, entry: dict[str, Any], report: Report) -> None:
        """The points; none for a crowd, or somebody nobody counted, whose entry has no such field or an empty list."""
        fields = self.layout.fields
        may_lack = self.is_crowd_P[p] or self.count_P[p] <= 0
        if may_lack and not any(_has_points(entry.get(name)) for name, _ in fields):
            self.n_without_points += not self.is_crowd_P[p]
            self.count_P[p] = max(self.count_P[p], 0)
            return
        start, row = 0, self.keypoints_PK3[p]
        for name, n_points in fields:
            values = json_parts.numbers(entry.get(name), 3 * n_points)
            if values is None:
                report("label.keypoints", _why_no_points(name, json_parts.value(entry.get(name)), n_points))
            else:
                row[start : start + n_points] = values.reshape(-1, 3)
            start += n_points
        if self._order_K is not None:
            row[:] = row[self._order_K]


def _has_points(part: json_parts.Part) -> bool:
    """Whether an entry has something in the place of points; exporters write [] where there are none."""
    if isinstance(part, msgspec.Raw):  # not decoded: most hold numbers
        return len(memoryview(part).tobytes().translate(None, b" \t\r\n[]")) > 0
    return part is not None and part != []


def _why_no_points(name: str, values: Any, n_points: int) -> str:
    if not isinstance(values, list):
        return f"'{name}' has {show(values)}, expected {3 * n_points} ({n_points} x (x, y, v))"
    if len(values) != 3 * n_points and not (values and isinstance(values[0], list)):
        return f"'{name}' has {len(values)} numbers, expected {3 * n_points} ({n_points} x (x, y, v))"
    if isinstance(values[0], list):
        return f"'{name}' holds lists; write their numbers one after the other: x1, y1, v1, x2, y2, v2 ..."
    i = next((i for i, v in enumerate(values) if json_parts.numbers([v], 1) is None), 0)
    return f"'{name}' holds something that is not a finite number: {show(values[i])} at place {i}"
