"""Where and with what a run was made: for run.json, never for a decision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sapiens_bench
from sapiens_bench.engine.device import cpu_facts
from sapiens_bench.engine.threads import usable_cores

_PACKAGES = (
    "numpy", "opencv-python-headless", "onnxruntime", "pillow", "pyarrow", "pycocotools", "pydantic", "safetensors",
    "sapiens-vision-bench", "scipy", "timm", "torch", "torchvision", "transformers",
)  # fmt: skip


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def cores() -> int:
    """CPU cores this process may use."""
    return usable_cores()


def packages() -> dict[str, str]:
    """Versions of the packages that can move a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: str) -> dict[str, Any]:
    """CPU, memory and GPUs of this machine, and the device used."""
    import psutil

    facts: dict[str, Any] = {
        "device": device,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_facts().get("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }
    if "torch" not in sys.modules:  # results made elsewhere are scored without it
        return facts
    import torch

    facts["torch_threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        facts["cuda"] = torch.version.cuda
    return facts


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the source tree this package runs from; empty when it is installed elsewhere."""
    root = Path(sapiens_bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return {}
    return {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
