"""The sheet that factors are looked at on."""

from __future__ import annotations

import sys
from pathlib import Path

import factor_sheet
import numpy as np
import pytest
from PIL import Image

from sapiens_bench.study.design import FACTORS


def test_the_sheet_has_resolution_too_and_its_levels_lose_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "resolution" in FACTORS
    monkeypatch.setattr(sys, "argv", ["factor_sheet.py", str(tmp_path / "s.png"), "--only", "resolution"])
    factor_sheet.main()
    sheet = np.asarray(Image.open(tmp_path / "s.png")).astype(float)
    shape = factor_sheet.HEIGHT + factor_sheet.LABEL, factor_sheet.WIDTH * len(FACTORS["resolution"].names)
    assert sheet.shape[:2] == shape
    tiles = np.split(sheet[factor_sheet.LABEL :], len(FACTORS["resolution"].names), axis=1)
    detail = {level: float(np.abs(np.diff(t, axis=1)).mean()) for level, t in zip(FACTORS["resolution"].names, tiles)}
    found = [detail[level] for level in sorted(detail, key=int)]
    assert found == sorted(found)
    assert found[0] < 0.7 * found[-1]
