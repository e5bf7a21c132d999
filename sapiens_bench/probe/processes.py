"""A training in several processes, one a GPU: what they tell each other. Alone, every function here changes nothing.

Each process takes its part of a step's batch; gradients, batch statistics and the counts that losses are divided by are
those of the whole batch, so that the weights are those of one process with that batch, up to rounding. Processes are
found and joined by Hugging Face accelerate, from the environment that ``accelerate launch`` or ``launch.py`` made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sapiens_bench.errors import UsageError

NEEDS_ACCELERATE = "Training in several processes needs accelerate: pip install 'sapiens-vision-bench[probe]'."
PATIENCE = timedelta(days=1)  # the others wait while the first one renders pictures
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
T = TypeVar("T")
_state: Any = None  # accelerate's, while this process is one of several


def launched() -> bool:
    """Whether this process was started as one of several."""
    return all(os.environ.get(name) for name in LAUNCHED) and os.environ["WORLD_SIZE"] != "1"


@contextmanager
def joined(device: str) -> Iterator[str]:
    """While within, this process works with the others it was launched with. Gives the device to use.

    Raises:
        UsageError: accelerate is not installed, or has no way to join processes on the device.
    """
    global _state
    if not launched():
        yield device
        return
    try:
        from accelerate import PartialState
    except ImportError:
        raise UsageError(NEEDS_ACCELERATE) from None
    cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    if state.num_processes < 2:
        raise UsageError(f"accelerate does not join processes on --device {device}. Use cuda or cpu.")
    _state = state
    try:
        yield "cpu" if cpu else str(state.device)
        state.wait_for_everyone()
    finally:
        _state = None
        state.destroy_process_group()


def count() -> int:
    """Processes that train together."""
    return 1 if _state is None else int(_state.num_processes)


def index() -> int:
    """Number of this process among them."""
    return 0 if _state is None else int(_state.process_index)


def is_main() -> bool:
    """Whether this process writes files and shows how far it is."""
    return _state is None or bool(_state.is_main_process)


@contextmanager
def main_first() -> Iterator[None]:
    """One process of each machine makes what lies on its disk, then the others find it there."""
    if _state is None:
        yield
        return
    with _state.local_main_process_first():
        yield


def part(n: int) -> slice:
    """This process's part of a batch of n.

    Raises:
        UsageError: n cannot be divided among them.
    """
    size, rest = divmod(n, count())
    if rest:
        raise UsageError(f"A batch of {n} cannot be divided among {count()} processes. Choose another --batch-size.")
    return slice(size * index(), size * (index() + 1))


def from_main(make: Callable[[], T]) -> T:
    """What the first process makes, in all of them."""
    if _state is None:
        return make()
    from accelerate.utils import broadcast_object_list

    made: list[T] = broadcast_object_list([make() if is_main() else None])
    return made[0]


def same_as_main(module: nn.Module) -> None:
    """Give every process the weights and buffers of the first."""
    if _state is None:
        return
    from accelerate.utils import broadcast

    for tensor in module.state_dict().values():
        tensor.copy_(broadcast(tensor.detach().clone().contiguous()))


def summed(x: Tensor) -> Tensor:
    """Sum over processes, without gradient."""
    if _state is None:
        return x
    from accelerate.utils import reduce

    found: Tensor = reduce(x.detach().clone().contiguous(), "sum")
    return found


def averaged(x: Tensor) -> Tensor:
    """Mean over processes, without gradient."""
    return x if _state is None else summed(x) / count()


def mean_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients."""
    if _state is None:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    mean = averaged(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    for gradient, found in zip(gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(found.view_as(gradient))


def mean_over(total: Tensor, n: Tensor) -> Tensor:
    """``total / n``, 0 for nothing, such that the mean over processes is that of the whole batch.

    Args:
        total: sum over this process's part. n: what it is the sum of, without gradient.
    """
    if _state is None:
        return total / n.clamp_min(1)
    return total * count() / summed(n).clamp_min(1)


class _Mean(torch.autograd.Function):
    """Mean over processes, with gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return averaged(x)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        return averaged(gradient[0])


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' parts, which must be of one size; on any device.

    ``torch.nn.SyncBatchNorm`` is the same for GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or count() == 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        mean = _mean(x.float().mean((0, 2, 3)))
        centred = x.float() - mean[:, None, None]
        variance = _mean((centred**2).mean((0, 2, 3)))
        n = x.numel() / x.shape[1] * count()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight / torch.sqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def _mean(x: Tensor) -> Tensor:
    found: Tensor = _Mean.apply(x)
    return found


def share_statistics(module: nn.Module) -> None:
    """Have the batch normalisation of a module look at all processes' parts."""
    if _state is None:
        return
    for each in module.modules():
        if type(each) is nn.BatchNorm2d:
            each.__class__ = SharedBatchNorm  # same state, another way to count
