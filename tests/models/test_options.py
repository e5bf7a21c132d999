"""The options of every wrapper and detector: declared once, strict, explained, readable without a network library."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.errors import CardError
from sapiens_bench.models import WRAPPERS, options
from sapiens_bench.models.detectors import DETECTORS
from sapiens_bench.models.options import OF_THE_TASK, OPTIONS, has_option, options_class
from sapiens_bench.models.sapiens2_load import SIZES as SAPIENS2_SIZES
from sapiens_bench.models.sapiens_net import SIZES as SAPIENS_V1_SIZES
from sapiens_bench.models.vitpose_convert import DATASETS
from sapiens_bench.models.vitpose_convert import SIZES as VITPOSE_SIZES

HEAVY = ("torch", "torchvision", "transformers", "onnxruntime", "onnx", "timm", "cv2", "scipy")


def classes() -> set[type[Options]]:
    found: set[type[Options]] = set()
    for kind in OPTIONS.values():
        found |= {kind} if isinstance(kind, type) else set(kind.values())
    return found


def read(wrapper: str, task: str, **given: Any) -> Options:
    kind = options_class(wrapper, task)
    assert kind is not None
    return read_options(kind, given, "model m")


def test_every_wrapper_and_detector_declares_its_options() -> None:
    assert set(OPTIONS) | OF_THE_TASK == set(WRAPPERS) | set(DETECTORS)
    assert not set(OPTIONS) & OF_THE_TASK


def test_every_option_has_a_sentence_and_every_class_is_used() -> None:
    for kind in classes():
        assert [name for name, field in kind.model_fields.items() if not field.description] == [], kind
    declared = {value for value in vars(options).values() if isinstance(value, type) and issubclass(value, Options)} - {
        Options
    }
    unused = {kind for kind in declared if not any(issubclass(used, kind) for used in classes())}
    assert unused == set()


def test_every_card_of_the_package_gives_options_that_its_wrapper_reads() -> None:
    catalog = Catalog.load()
    for entry in catalog.models.values():
        if entry.card.wrapper not in OF_THE_TASK:
            read(entry.card.wrapper, entry.card.task, **entry.variant.options)
    for detector in catalog.detectors.values():
        read(detector.card.wrapper, "", **detector.variant.options)
    assert len(catalog.models) > 60
    assert len(catalog.detectors) >= 2


def test_sizes_named_by_options_are_those_that_the_loaders_know() -> None:
    assert set(get_args(options.SapiensV1Size)) == set(SAPIENS_V1_SIZES)
    assert set(get_args(options.Sapiens2Size)) == set(SAPIENS2_SIZES)
    assert set(get_args(options.VitPoseSize)) == set(VITPOSE_SIZES)
    read("vitpose", "pose", dataset_index=len(DATASETS) - 1)
    with pytest.raises(CardError, match="dataset_index"):
        read("vitpose", "pose", dataset_index=len(DATASETS))


@pytest.mark.parametrize(
    ("wrapper", "task", "given", "says"),
    [
        ("movenet", "pose", {"pading": 2}, "unknown key; did you mean 'padding'?"),
        ("movenet", "pose", {"padding": -1}, "greater than 0 (found -1)"),
        ("blazepose", "pose", {"passes": 2}, "valid keys: padding"),
        ("selfie", "seg", {"threshold": "0.5"}, "valid number (found '0.5')"),
        ("simcc", "pose", {"split_ratio": True}, "'split_ratio'"),
        ("simcc", "pose", {"score": "max"}, "'min' or 'mean' (found 'max')"),
        ("simcc", "pose", {"flip_test": 1}, "valid boolean (found 1)"),
        ("vitpose", "pose", {"codec": "dark"}, "'udp' or 'plain' (found 'dark')"),
        ("vitpose", "pose", {"heads": 0}, "greater than or equal to 1"),
        ("sapiens_v1", "pose", {"pipeline": "fast"}, "'full' or 'lite' (found 'fast')"),
        ("sapiens_v1", "normal", {"flip": True}, "valid keys: axis_sign, heads"),
        ("sapiens_v1", "normal", {"axis_sign": [1, 1]}, "axis_sign"),
        ("sapiens_v1", "seg", {"flip_test": True}, "unknown key"),  # it would do nothing there
        ("sapiens2", "normal", {"size": "2b"}, "'0.1b', '0.4b', '0.8b', '1b' or '5b'"),
        ("sapiens2", "pose", {"pipeline": "lite"}, "unknown key"),
        ("sapiens2", "depth", {"depth_kind": "metric_depth"}, "'scale_invariant_depth'"),
        ("depth_anything", "depth", {}, "'depth_kind': is missing; one of 'metric_depth', 'scale_invariant_depth', "),
        ("depth_anything", "depth", {"depth_kind": "near"}, "(found 'near')"),
        ("depth_anything", "depth", {"depth_kind": "metric_depth", "multiple": 0}, "greater than or equal to 1"),
        ("onnx", "normal", {"axis_sign": 1}, "axis_sign"),
        ("onnx", "normal", {"interpolation": "best"}, "'linear', 'cubic' or 'area'"),
        ("onnx", "pose", {}, "'output': is missing; one of 'heatmap', 'simcc', 'coords'."),
        ("onnx", "pose", {"output": "heatmap", "score": "mean"}, "'score' goes with output: simcc"),
        ("onnx", "pose", {"output": "coords"}, "needs 'units', pixel or share"),
        ("onnx", "pose", {"output": "heatmap", "blur_kernel": 10}, "must be odd"),
        ("exported", "seg", {"output": "labels"}, "'logits'"),
        ("floors", "seg", {}, "'rule': is missing"),
        ("torchvision", "", {"max_boxes": 0}, "greater than or equal to 1"),
        ("rtdetr", "", {"score_threshold": "high"}, "valid number (found 'high')"),
    ],
)
def test_wrong_options_are_named_with_what_is_right(wrapper: str, task: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError) as caught:
        read(wrapper, task, **given)
    assert str(caught.value).startswith("model m")
    assert says in str(caught.value)


def test_the_kind_of_depth_has_one_name_and_the_old_one_still_works() -> None:
    named = {
        (wrapper, task)
        for wrapper, kind in OPTIONS.items()
        if not isinstance(kind, type)
        for task, one in kind.items()
        if "depth_kind" in one.model_fields
    }
    assert {task for _, task in named} == {"depth"}
    assert not any("kind" in kind.model_fields for kind in classes())
    new, old = (
        read("predictions", "depth", depth_kind="metric_depth"),
        read("predictions", "depth", kind="metric_depth"),
    )
    assert new == old
    with pytest.raises(CardError, match="did you mean 'depth_kind'"):
        read("depth_anything", "depth", kind="metric_depth")


def test_a_wrapper_says_which_tasks_it_does() -> None:
    with pytest.raises(CardError, match="'pifuhd' does normal, not depth"):
        options_class("pifuhd", "depth")
    with pytest.raises(CardError, match="'onnx' does pose, seg, depth, normal, not matting"):
        options_class("onnx", "matting")
    assert options_class("./mine.py:Mine", "matting") is None


def test_only_wrappers_with_two_pipelines_take_the_option() -> None:
    tasks = ("pose", "seg", "depth", "normal")
    takers = {w for w in WRAPPERS for t in tasks if t in _tasks(w) and has_option(w, t, "pipeline")}
    assert takers == {"sapiens_v1"}


def _tasks(wrapper: str) -> set[str]:
    kind = OPTIONS.get(wrapper)
    return set(kind) if kind is not None and not isinstance(kind, type) else {"pose"}


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*(n for n in {HEAVY!r} if n in sys.modules))"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_options_are_read_without_any_network_library() -> None:
    assert _loaded("import sapiens_bench.models.options") == set()


def test_importing_a_wrapper_imports_torch_at_most() -> None:
    """Each library is loaded when a network of it is built; one interpreter for all shows that none does it early."""
    modules = sorted({target.partition(":")[0] for target in WRAPPERS.values()})
    lines = "\n".join(f"import {module}" for module in (*modules, "sapiens_bench.models.detectors"))
    assert _loaded(lines) <= {"torch", "cv2"}


def test_a_movenet_loads_no_library_of_other_families() -> None:
    code = "from sapiens_bench.engine.run import load_model\nload_model('movenet-lightning')"
    assert _loaded(code) <= {"torch", "cv2"}
