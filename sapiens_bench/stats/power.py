"""How large a difference must be for a set of this size to call it out."""

from __future__ import annotations

import math
from statistics import NormalDist

from sapiens_bench.stats.ends import FEW_GROUPS
from sapiens_bench.stats.paired import PairedDifference
from sapiens_bench.stats.student import t_quantile

POWER = 0.8


def smallest_seen(found: PairedDifference) -> float:
    """The true difference that a set like this one would call out in 80 % of cases; NaN without an interval.

    NaN as well where no group differs from another, as with two rows of one model: the scatter is then unknown.

    (z of 1 - alpha / 2, plus z of the power) standard errors; the error is that of the interval, and the first z
    Student's t, as the interval has it.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.
    """
    is_few = 2 <= found.n_groups < FEW_GROUPS
    share = 0.5 + found.level / 2
    reach = t_quantile(share, found.n_groups - 1) if is_few else NormalDist().inv_cdf(share)
    if found.high == found.low:
        return math.nan
    return (found.high - found.low) / (2 * reach) * (reach + NormalDist().inv_cdf(POWER))
