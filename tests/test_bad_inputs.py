"""The hostile corpus, through the entry points a run uses: pictures, annotations, arrays, stored predictions."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from sapiens_bench.adapters.coco.keypoints import CocoKeypoints
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol, ModelCard
from sapiens_bench.errors import CheckpointRejected, DataError, SampleFault
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import DENSE_PREDICTIONS
from sapiens_bench.models.dense_results import DenseResults
from sapiens_bench.models.predictions import Predictions
from sapiens_bench.models.stored_options import StoredPosesOptions
from sapiens_bench.pixels.codecs import load_npy, load_npz, read_rgb
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.tasks.pose.types import AnnotationIndex
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
from sapiens_bench.types import ModelInput, Task


class Corpus(NamedTuple):
    root: Path
    cases: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Cases of one kind, at least one."""
        found = [case for case in self.cases if case["kind"] == kind]
        assert found
        return found

    def canary_is_quiet(self) -> bool:
        """No payload ran."""
        return not (self.root / "canary" / "EXECUTED").exists()


@pytest.fixture(scope="session")
def corpus(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    script = shared / "tools/make_bad_inputs.py"
    spec = importlib.util.spec_from_file_location("make_bad_inputs", script)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    root = tmp_path_factory.mktemp("bad")
    made = maker.Corpus(root)
    maker.images(made, False)
    maker.annotations(made)
    maker.arrays(made, str(root / "canary/EXECUTED"))
    return Corpus(root, made.cases)


# A network's answer for one picture as it is, (1, 1, H, W) or (3, H, W): refused when the corpus was made, read now.
UNAMBIGUOUS = {"depth_three_dims", "normal_channels_first"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def test_every_picture_has_its_outcome(corpus: Corpus) -> None:
    wrong = []
    for case in corpus.of("image"):
        name = case["file"].removeprefix("images/")
        try:
            image = read_rgb(name, root=corpus.root / "images", sha256=case.get("sha256_expected"))
            outcome = "ok"
            assert image.dtype == np.uint8
            assert image.ndim == 3
            if "mean_8bit" in case:
                assert abs(image.mean() - case["mean_8bit"]) < 0.5
            for key, policy in (("size", "ignore"), ("size_stored", "ignore"), ("size_transposed", "apply")):
                if key in case:
                    turned = read_rgb(name, root=corpus.root / "images", exif=policy)  # type: ignore[arg-type]
                    assert [turned.shape[1], turned.shape[0]] == case[key]
        except SampleFault as fault:
            outcome = "row_error" if fault.code.startswith("image.") else fault.code
        if outcome != case["expect"]:
            wrong.append((case["id"], outcome, case["expect"]))
    assert wrong == []
    assert corpus.canary_is_quiet()


def opened(coco: ModuleType, corpus: Corpus, catalog: Catalog, annotations: str) -> CocoKeypoints:
    options = {"annotations": annotations, "images": "images", "boxes": "gt"}
    protocol = EvalProtocol(task="pose", title="gt", space="coco17", options=options, default=True)
    card = catalog.dataset("coco-val2017")
    return CocoKeypoints(coco.context(card, protocol, corpus.root, space=catalog.space("coco17")))


def test_every_annotation_file_has_its_outcome(coco: ModuleType, corpus: Corpus, catalog: Catalog) -> None:
    wrong = []
    for case in corpus.of("annotation"):
        faults: list[str] = []
        try:
            data = opened(coco, corpus, catalog, case["file"])
            for i in range(len(data)):
                try:
                    data[i]
                except SampleFault as fault:
                    faults.append(fault.code)
            outcome = "row_error" if faults else "ok"
            assert len(faults) <= 1
        except DataError as error:
            outcome = "reject_dataset" if Path(case["file"]).name in str(error) else "the file is not named"
        # "escape": accepted here; the report's tests show that output is escaped.
        if outcome != case["expect"].replace("escape", "ok"):
            wrong.append((case["id"], outcome, case["expect"]))
    assert wrong == []
    assert corpus.canary_is_quiet()


def dense_task(name: str, catalog: Catalog) -> Task:
    """The task of the default protocol of the first data set that has it."""
    for card in catalog.datasets.values():
        chosen = card.default_protocol(name)
        if chosen is not None and (name != "seg" or card.protocols[chosen].space == "body28"):
            protocol = card.protocols[chosen]
            return task_for(protocol, None if protocol.space is None else catalog.space(protocol.space))
    raise AssertionError(name)


def judged(case: dict[str, Any], array: np.ndarray, catalog: Catalog) -> str:
    """Outcome of an array that could be read, as the stored prediction of its task."""
    kind = case["id"].partition("_")[0].replace("npy", "depth")
    mask, ramp = np.ones((24, 32), bool), np.linspace(1, 3, 768, dtype=np.float32).reshape(24, 32)
    prediction: Any
    target: Any
    if kind == "depth":
        numbers = array.astype(np.float32) if array.dtype.kind in "fiu" else array
        prediction, target = DepthPrediction(numbers, "metric_depth"), DepthTarget(ramp, mask)
    elif kind == "normal":
        facing = np.zeros((24, 32, 3), np.float32)
        facing[..., 2] = 1
        prediction, target = NormalPrediction(array), NormalTarget(facing, mask)
    else:
        prediction, target = SegPrediction(array), SegTarget(np.zeros((24, 32), np.uint8))
    image = ModelInput(
        case["id"], np.zeros((24, 32, 3), np.uint8), np.zeros((1, 4), np.float32), np.ones(1, np.float32)
    )
    task = dense_task(kind, catalog)
    safe, fault = task.check(prediction, image, target)
    for metric in task.metrics:
        metric.measure(target, safe)  # whatever was stored, measuring it does not raise
    return "ok" if fault is None else "row_error"


def test_every_array_has_its_outcome(corpus: Corpus, catalog: Catalog) -> None:
    wrong = []
    for case in corpus.of("array"):
        if case["id"] == "seg_all_ignore":
            continue  # a label, not a prediction: the label-map adapter's tests have it
        path = corpus.root / case["file"]
        try:
            array = load_npz(path) if path.suffix == ".npz" else load_npy(path)
            outcome = judged(case, array, catalog) if isinstance(array, np.ndarray) else "ok"
        except DataError as error:
            outcome = "reject_file" if path.name in str(error) else "the file is not named"
        if outcome != case["expect"]:
            wrong.append((case["id"], outcome, case["expect"]))
    assert wrong == []
    assert corpus.canary_is_quiet()


def test_every_array_has_its_outcome_as_a_stored_prediction(corpus: Corpus, catalog: Catalog) -> None:
    """What is refused as a file costs one sample here: a folder holds one file for each."""
    wrong = []
    ramp = np.linspace(1, 3, 768, dtype=np.float32).reshape(24, 32)
    facing = np.dstack([ramp * 0, ramp * 0, ramp * 0 + 1])
    targets: dict[str, Any] = {
        "depth": DepthTarget(ramp, np.ones((24, 32), bool)),
        "normal": NormalTarget(facing, np.ones((24, 32), bool)),
        "seg": SegTarget(np.zeros((24, 32), np.uint8)),
    }
    for case in corpus.of("array"):
        if case["id"] == "seg_all_ignore":
            continue
        name = case["id"].partition("_")[0]
        name = name if name in targets else "depth"
        kind = {"depth_kind": "metric_depth"} if name == "depth" else {}
        options: Any = read_options(DENSE_PREDICTIONS[name], kind, "test")
        results, task = DenseResults(corpus.root / "arrays", name, options), dense_task(name, catalog)
        image = ModelInput(
            case["id"], np.zeros((24, 32, 3), np.uint8), np.zeros((1, 4), np.float32), np.ones(1, np.float32)
        )
        try:
            given = results.prediction(f"set/{Path(case['file']).stem}", (24, 32))
            safe, fault = task.check(given, image, targets[name])
            for metric in task.metrics:
                metric.measure(targets[name], safe)
        except SampleFault as raised:
            fault = raised
            assert Path(case["file"]).name in fault.detail
        outcome = "ok" if fault is None else "reject_file" if fault.code == "pred.unreadable" else "row_error"
        assert fault is None or fault.side == "prediction"
        expected = "ok" if case["id"] in UNAMBIGUOUS else case["expect"]
        if outcome != expected and {outcome, expected} != {"reject_file", "row_error"}:
            wrong.append((case["id"], outcome, expected))
    assert wrong == []
    assert corpus.canary_is_quiet()


def stored(corpus: Corpus, catalog: Catalog, file: str, index: AnnotationIndex) -> Predictions:
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1",
                "id": "stored",
                "title": "stored",
                "task": "pose",
                "licence": {"name": "CC0-1.0"},
                "wrapper": "predictions",
                "space": "coco17",
                "trained_on": "nothing",
                "variants": [{"id": "stored", "title": "stored"}],
            }
        )
    )
    space, options = catalog.space("coco17"), StoredPosesOptions()
    return Predictions(
        ModelContext(card, card.variants[0], corpus.root / file, {}, "cpu", "fp32", space, options, index=index)
    )


# Results made elsewhere are judged as the field's own evaluation judges them: what is not found is a miss and no fault,
# what is given twice is a false positive, and results of foreign images are left out and said.
AS_RESULTS = {"pred_missing_image": "said", "pred_duplicate": "said", "pred_unknown_image": "said"}


def test_every_stored_prediction_has_its_outcome_and_none_raises_the_score(
    coco: ModuleType, corpus: Corpus, catalog: Catalog
) -> None:
    import pyarrow as pa

    data = opened(coco, corpus, catalog, "annotations/ann_ok.json")
    protocol = catalog.dataset("coco-val2017").protocols["gt-box"]
    task = task_for(protocol, catalog.space("coco17"))
    wrong, scores = [], {}
    for case in corpus.of("predictions"):
        rows, codes = [], []
        try:
            model = stored(corpus, catalog, case["file"], data.index)
        except CheckpointRejected as error:
            if case["expect"] != "reject_file" or Path(case["file"]).name not in str(error):
                wrong.append((case["id"], str(error), case["expect"]))
            continue
        for i in range(len(data)):
            sample = data[i]
            prepared = model.prepare(sample.input)
            assert prepared.tensors == {}
            try:
                prediction, fault = task.check(model.finish({}, prepared.geometry), sample.input, sample.target)
            except SampleFault as raised:
                prediction, fault = task.miss(sample.target), raised
            if fault is not None:
                assert fault.side == "prediction"
                codes.append(fault.code)
            values = {f"{m.name}/{k}": v for m in task.metrics for k, v in m.measure(sample.target, prediction).items()}
            rows.append({"index": i, "key": sample.key, **values})
        metric = task.metrics[0]
        scores[case["id"]] = metric.aggregate(pa.Table.from_pylist(rows))(None)["AP"]
        outcome = "row_error" if codes else "said" if model.notes else "ok"
        if outcome != AS_RESULTS.get(case["id"], case["expect"]):
            wrong.append((case["id"], outcome, case["expect"]))
    assert wrong == []
    assert scores["pred_ok"] == pytest.approx(1.0)
    assert scores["pred_all_nan"] == 0.0
    lowered = ("one_nan", "inf", "score_nan", "score_missing", "16_kpts", "133_kpts", "unknown_image", "missing_image")
    assert {name: scores[f"pred_{name}"] < 1.0 for name in lowered} == dict.fromkeys(lowered, True)
    assert max(scores.values()) <= scores["pred_ok"]
    assert corpus.canary_is_quiet()
