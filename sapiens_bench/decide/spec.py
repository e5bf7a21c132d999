"""What a gate asks for: tiers, effects that matter, margins; from gate.yaml or by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.types import ScoreInfo

Tier = Literal["accuracy", "exact", "non-inferiority"]
_PER_CENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
POINT, DEGREE, SHARE_OF_BASE = 0.001, 0.1, 0.005  # 0.1 AP or mIoU, 0.1 degree, 0.5 % of an error in any other unit
Size = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=_PER_CENT.pattern)]


class ScoreRule(Options):
    """How one score is judged."""

    tier: Tier = "accuracy"
    """accuracy: fails on a loss that is both certain and large enough; exact: on any difference;
    non-inferiority: unless a loss beyond the margin is ruled out."""
    min_effect: Size | None = None
    """accuracy: smallest loss that matters, in the unit that tables show (0.1 is 0.1 AP) or as "0.5%" of BASE."""
    margin: Size | None = None
    """non-inferiority: the loss that must be ruled out, in the same units."""
    tolerance: float = Field(default=1e-9, ge=0)
    """exact: largest absolute difference."""


class JointRule(Options):
    """How the keypoints of pose runs are watched, beside the scores."""

    check: bool = True
    """false: only scores are judged."""
    min_shift: float = Field(default=0.1, ge=0, le=100)
    """Smallest mean shift of a joint that matters, in per cent of the longer side of a person's box."""


class SpeedRule(Options):
    """How the files of ``--speed-base`` and ``--speed-cand`` are judged."""

    max_slowdown: float = Field(default=10.0, ge=0)
    """By how many per cent the least time of a benchmark may grow."""


class GateSpec(Options):
    """gate.yaml."""

    scores: dict[str, ScoreRule] = {}
    """"<metric>/<score>" -> rule; the score that ranks, in the accuracy tier, when empty."""
    joints: JointRule = JointRule()
    """Did a joint move, or is it farther from the truth?"""
    speed: SpeedRule = SpeedRule()
    """How much slower CAND may be, where there are files that say it."""
    models: tuple[str, ...] = ()
    """Only these ids; all of BASE when empty."""
    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the one-sided intervals."""
    draws: int = Field(default=OF_DIFFERENCES, ge=1)
    """Bootstrap draws."""
    seed: int = 0
    """Of the bootstrap."""


def read_spec(path: Path | None) -> GateSpec:
    """The specification in a YAML file; the default one for None.

    Raises:
        UsageError: no such file, or no YAML mapping.
        CardError: a key or value is wrong; names it.
    """
    if path is None:
        return GateSpec()
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from None
    if content is not None and not isinstance(content, dict):
        raise UsageError(f"{path} must hold a mapping with the keys {', '.join(GateSpec.model_fields)}.")
    return read_options(GateSpec, content or {}, str(path))


def requiring_equal(spec: GateSpec, margin: str) -> GateSpec:
    """The same with every score in the non-inferiority tier.

    Raises:
        UsageError: ``margin`` is neither a number nor a share in per cent.
    """
    try:
        size: float | str = margin if _PER_CENT.fullmatch(margin) else float(margin)
    except ValueError:
        size = -1.0
    if isinstance(size, float) and not 0 <= size < float("inf"):
        raise UsageError(f"--require-equal {margin!r}: give a size in the unit of the table (0.5) or of BASE (1%).")
    rules = {
        key: rule.model_copy(update={"tier": "non-inferiority", "margin": size}) for key, rule in spec.scores.items()
    }
    everything = {"*": ScoreRule(tier="non-inferiority", margin=size)}
    return spec.model_copy(update={"scores": rules or everything})


def in_score_units(size: float | str | None, info: ScoreInfo, base: float) -> float:
    """A size of the specification in the unit of the score; the default of its unit for None."""
    if isinstance(size, str):
        share = _PER_CENT.fullmatch(size)
        assert share is not None  # the pattern was checked when it was read
        return float(share[1]) / 100 * abs(base)
    if size is not None:
        return size / 100 if info.percent else size
    return POINT if info.percent else DEGREE if info.unit == "deg" else SHARE_OF_BASE * abs(base)
