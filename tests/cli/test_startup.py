"""What every call pays: help and list stay light, in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "onnxruntime",
    "pandas",
    "scipy",
    "matplotlib",
    "cv2",
    "pyarrow",
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list"], ["list", "models", "--json"], ["report", "--help"]]
)
def test_help_and_list_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import atexit, sys; sys.argv[0] = 'sapiens-bench'\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))\n"
        "from sapiens_bench.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stderr


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, sapiens_bench; print([m for m in {(*HEAVY, 'numpy', 'pydantic')!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_no_arguments_print_help_with_examples(fresh_cli: Cli) -> None:
    done = fresh_cli()
    text = done.stdout + done.stderr
    assert text.count("sapiens-bench run --task") == 2
    assert "sapiens-bench report" in text
    assert "Traceback" not in text


def test_version(fresh_cli: Cli) -> None:
    import sapiens_bench

    assert fresh_cli("--version").stdout.strip() == f"sapiens-bench {sapiens_bench.__version__}"


def test_a_terminal_without_utf8_gets_no_traceback(fresh_cli: Cli) -> None:
    done = fresh_cli("list", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert "movenet-thunder" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="a shell pipe")
def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    code = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "list"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
