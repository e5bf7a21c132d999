"""The options of every wrapper and detector: declared once, strict, explained, readable without a network library."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any, get_args

import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import Options, read_options
from sapiens_bench.errors import CardError
from sapiens_bench.models import WRAPPERS, options
from sapiens_bench.models.detectors import DETECTORS
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.models.sapiens2_load import SIZES as SAPIENS2_SIZES
from sapiens_bench.models.sapiens_net import SIZES as SAPIENS_V1_SIZES
from sapiens_bench.models.vitpose_convert import DATASETS
from sapiens_bench.models.vitpose_convert import SIZES as VITPOSE_SIZES
from sapiens_bench.tasks import task_kind, task_names

HEAVY = ("torch", "torchvision", "transformers", "onnxruntime", "onnx", "timm", "cv2", "scipy")


def by_task() -> dict[tuple[str, str], type[Options]]:
    """Every (wrapper, task) that there is, with its class."""
    found: dict[tuple[str, str], type[Options]] = {}
    for wrapper, declared in OPTIONS.items():
        for task in task_names():
            with contextlib.suppress(CardError):
                kind = options_class(declared, task_kind(task))
                assert kind is not None
                found[wrapper, task] = kind
    return found


def read(wrapper: str, task: str, **given: Any) -> Options:
    kind = options_class(OPTIONS[wrapper], task_kind(task))
    assert kind is not None
    return read_options(kind, given, "model m")


def test_every_wrapper_and_detector_declares_its_options() -> None:
    assert set(OPTIONS) == set(WRAPPERS) | set(DETECTORS)
    assert {wrapper for wrapper, _ in by_task()} == set(OPTIONS)


def test_every_option_has_a_sentence_and_every_class_is_used() -> None:
    used = set(by_task().values())
    for kind in used:
        assert [name for name, field in kind.model_fields.items() if not field.description] == [], kind
    declared = {value for value in vars(options).values() if isinstance(value, type) and issubclass(value, Options)} - {
        Options
    }
    assert {kind for kind in declared if not any(issubclass(one, kind) for one in used)} == set()


def test_every_card_of_the_package_gives_options_that_its_wrapper_reads() -> None:
    catalog = Catalog.load()
    for entry in catalog.models.values():
        if not entry.id.startswith("saved-maps"):  # its folder is asked for on the command line
            read(entry.card.wrapper, entry.card.task, **entry.variant.options)
    for detector in catalog.detectors.values():
        read(detector.card.wrapper, "pose", **detector.variant.options)
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
        ("depth_anything", "depth", {}, "'depth_kind': is missing. What the network's numbers mean"),
        ("depth_anything", "depth", {"depth_kind": "near"}, "(found 'near')"),
        ("depth_anything", "depth", {"depth_kind": "metric_depth", "multiple": 0}, "greater than or equal to 1"),
        ("onnx", "normal", {"axis_sign": 1}, "axis_sign"),
        ("onnx", "normal", {"interpolation": "best"}, "'linear', 'cubic' or 'area'"),
        ("onnx", "pose", {}, "One of 'heatmap', 'simcc', 'coords'."),
        ("onnx", "pose", {"output": "heatmap", "score": "mean"}, "'score' goes with output: simcc"),
        ("onnx", "pose", {"output": "coords"}, "needs 'units', pixel or share"),
        ("onnx", "pose", {"output": "heatmap", "blur_kernel": 10}, "must be odd"),
        ("exported", "seg", {"output": "labels"}, "'logits'"),
        ("floors", "seg", {}, "'rule': is missing"),
        ("torchvision", "pose", {"max_boxes": 0}, "greater than or equal to 1"),
        ("rtdetr", "pose", {"score_threshold": "high"}, "valid number (found 'high')"),
    ],
)
def test_wrong_options_are_named_with_what_is_right(wrapper: str, task: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(CardError) as caught:
        read(wrapper, task, **given)
    assert str(caught.value).startswith("model m")
    assert says in str(caught.value)


def test_the_kind_of_depth_has_one_name_and_the_old_one_still_works() -> None:
    assert {task for (_, task), kind in by_task().items() if "depth_kind" in kind.model_fields} == {"depth"}
    assert not any("kind" in kind.model_fields for kind in by_task().values())
    new, old = (
        read("predictions", "depth", depth_kind="metric_depth"),
        read("predictions", "depth", kind="metric_depth"),
    )
    assert new == old
    with pytest.raises(CardError, match="did you mean 'depth_kind'"):
        read("depth_anything", "depth", kind="metric_depth")


def test_a_wrapper_says_which_tasks_it_does() -> None:
    with pytest.raises(CardError, match="does normal, not depth"):
        options_class(OPTIONS["pifuhd"], task_kind("depth"))
    with pytest.raises(CardError, match="does seg, matting, not depth"):
        options_class(OPTIONS["selfie"], task_kind("depth"))
    assert options_class(None, task_kind("matting")) is None


def test_only_wrappers_with_two_pipelines_take_the_option() -> None:
    takers = {place for place, kind in by_task().items() if "pipeline" in kind.model_fields}
    assert takers == {("sapiens_v1", task) for task in ("pose", "seg", "depth", "normal")}


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*(n for n in {HEAVY!r} if n in sys.modules))"],
        capture_output=True, text=True, timeout=300,
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
    code = "from sapiens_bench.api import load_model\nload_model('movenet-lightning')"
    assert _loaded(code) <= {"torch", "cv2"}
