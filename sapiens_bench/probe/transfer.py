"""Where a head may start from: an earlier probe's checkpoint, or a finished head, that of another trunk included.

A finished head (``*.safetensors``) has its normalisation layers folded into its convolutions, and is trained on without
them. If it was fitted on another trunk, only the 1 x 1 convolutions that read the maps are replaced: they are fitted by
least squares, so that the new trunk's maps say, as well as a linear map can, what the other's said. A level that the
other head does not have begins as one that changes nothing.

Axes: B views, C channels, P cells.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sapiens_bench.errors import UsageError
from sapiens_bench.models.parts.dense_head import DenseHead, Level
from sapiens_bench.models.parts.head_file import Head, load_head
from sapiens_bench.models.parts.trunks import SHIPPED, Trunk, open_trunk
from sapiens_bench.probe.feed import ProbeData, views_at

ROWS = 48  # pictures whose maps are compared
CELLS = 1000  # of each picture and level, at most
RIDGE = 1e-3  # relative to a channel's own square


def start_from(prepared: ProbeData, head: Head, given: Path, seed: int) -> None:
    """Give ``head`` the weights of an earlier one: a folder of a probe, or a head's file.

    Raises:
        UsageError: nothing there, or a head of another plan. CheckpointRejected: a damaged file.
    """
    if given.suffix != ".safetensors":
        _go_on(head, _checkpoint(given, seed), given)
        return
    if not given.is_file():
        raise UsageError(f"--start-from {given} is not there; give a head's file or the --out folder of a probe.")
    about, old, own_trunk = load_head(given)
    same = replace(about.plan, taps=()) == replace(prepared.plan, taps=())
    if not isinstance(head, DenseHead) or not isinstance(old, DenseHead) or not same:
        raise UsageError(
            f"--start-from {given}: a head of another plan ({about.plan.outputs}, width {about.plan.width})."
        )
    head.fold()
    old.to(prepared.device)
    if about.trunk == prepared.trunk.identity and about.plan == prepared.plan:
        head.load_state_dict(old.state_dict())
        return
    if own_trunk or about.backbone not in SHIPPED or about.input_hw != prepared.request.input_hw:
        raise UsageError(
            f"--start-from {given}: of {about.backbone} at {about.input_hw[0]}x{about.input_hw[1]}. A head is taken "
            "over from another trunk only if that is shipped, at the same --input."
        )
    other = open_trunk(about.backbone, input_hw=about.input_hw, device=prepared.device)
    _take_over(head, old)
    _fit_laterals(prepared, head, old, other)


def _go_on(head: Head, state: dict[str, Tensor], given: Path) -> None:
    """The weights of a checkpoint; one that itself began with a head's file has its normalisation folded.

    Raises:
        UsageError: they are of a head of another plan.
    """
    if isinstance(head, DenseHead) and not any(".norm." in name for name in state):
        head.fold()
    try:
        head.load_state_dict(state)
    except RuntimeError:  # names and shapes, by the dozen
        raise UsageError(f"--start-from {given}: its checkpoint is of a head of another plan.") from None


def _take_over(head: DenseHead, old: DenseHead) -> None:
    """All of the old head but what reads maps; levels that it has not do nothing."""
    kept = {
        name: tensor
        for name, tensor in old.state_dict().items()
        if name in head.state_dict() and not name.endswith((".mean", ".deviation")) and ".lateral." not in name
    }
    head.load_state_dict(kept, strict=False)
    for name, level in head.levels.items():
        if name not in old.levels:
            assert isinstance(level, Level)
            for layer in (level.lateral, level.block.second.conv):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@torch.no_grad()
def _fit_laterals(prepared: ProbeData, head: DenseHead, old: DenseHead, other: Trunk) -> None:
    rows = prepared.train_rows[:: max(1, len(prepared.train_rows) // ROWS)][:ROWS]
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in head.levels if name in old.levels}
    generator = torch.Generator().manual_seed(0)
    for row in rows:
        image = views_at(prepared, [row], 0, row)["image"]
        new_maps, old_maps = prepared.trunk(image), other(image)
        for name, found in pairs.items():
            x, y = _standardised(head, name, new_maps), _standardised(old, name, old_maps)
            level = old.levels[name]
            assert isinstance(level, Level)
            y = level.lateral(y)
            x, y = (each.flatten(2)[0].T for each in (x, y))  # [P, C]
            chosen = torch.randperm(len(x), generator=generator)[:CELLS].to(x.device)
            found.append((x[chosen], y[chosen]))
    for name, found in pairs.items():
        weight, bias = least_squares(torch.cat([x for x, _ in found]), torch.cat([y for _, y in found]))
        level = head.levels[name]
        assert isinstance(level, Level)
        assert level.lateral.bias is not None
        level.lateral.weight.copy_(weight[:, :, None, None])
        level.lateral.bias.copy_(bias)


def _standardised(head: DenseHead, name: str, maps: list[Tensor]) -> Tensor:
    level = head.levels[name]
    assert isinstance(level, Level)
    chosen = [m for m, tap in zip(maps, head.plan.taps, strict=True) if name == f"stride{tap.stride}"]
    return (torch.cat([m.float() for m in chosen], 1) - level.mean) / level.deviation


def least_squares(x_PC: Tensor, y_PD: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [D, C] and bias [D] of the linear map from x to y with the least squared error, slightly shrunk."""
    mean_x, mean_y = x_PC.mean(0), y_PD.mean(0)
    x, y = (x_PC - mean_x).double(), (y_PD - mean_y).double()
    gram = x.T @ x
    gram.diagonal().mul_(1 + RIDGE).add_(1e-6)
    weight = torch.linalg.solve(gram, x.T @ y).T.float()
    return weight, mean_y - weight @ mean_x


def _checkpoint(folder: Path, seed: int) -> dict[str, Tensor]:
    """The head of an earlier probe's last checkpoint.

    Raises:
        UsageError: none there.
    """
    path = folder / f"seed-{seed}" / "checkpoint.pt"
    if not path.is_file():
        raise UsageError(f"--start-from {folder}: {path} is not there; give the --out folder of an earlier probe.")
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["module"]
    return {name.removeprefix("head."): tensor for name, tensor in state.items() if not name.startswith("backbone.")}
