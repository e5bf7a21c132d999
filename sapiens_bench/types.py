"""The records that cross module boundaries, and the protocols that plug-ins implement.

Axes: N people or boxes, K keypoints, D detections, H height, W width, B batch. Pixel coordinates have their origin at
the CENTRE of the top-left pixel unless a name says ``edge``. Camera: x right, y down, z forward, metres. Normals:
x right, y up, z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from sapiens_bench.errors import SampleFault

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What a model may see of one image. It never holds ground truth (ground-truth boxes are given by protocol)."""

    key: str  # the sample's stable name; lets stored predictions be found, carries no label
    image_HW3: NDArray[np.uint8]  # RGB, original size; read-only: the next model gets the same array
    boxes_xyxy_px: NDArray[np.float32]  # [N, 4], original image, N may be 0; one full-image box for dense tasks
    box_scores: NDArray[np.float32]  # [N]; 1.0 for ground-truth boxes
    intrinsics: NDArray[np.float64] | None = None  # [3, 3] in pixels, when the data set has them
    box_categories: NDArray[np.int64] | None = None  # [N], category ids of the boxes where several are scored


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set."""

    index: int  # position in the adapter's fixed order; the sort key of all rows
    key: str  # stable name, e.g. "hi4d/<pair>/<action>/<camera>/<frame>"
    group: str  # the independent unit for statistics: subject, sequence, scan, or the key itself
    input: ModelInput
    target: Any  # the task's target type; only metrics see it
    # what the data set knows about the picture, by which scores may be split ("attr/<name>" in its row): numbers, words
    about: Mapping[str, float | str] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """A data set under one protocol: random access that keeps no pixels in memory.

    ``adapter[i]`` raises ``SampleFault`` (side ``input``) for an image or label at fault. Calls may come from several
    threads at once. ``keys[i]`` and ``groups[i]`` are known without opening the image, so that a faulty image still has
    its row. ``manifest_sha256`` covers annotations and file list: two adapters that could yield other samples differ.
    """

    keys: Sequence[str]
    groups: Sequence[str]
    manifest_sha256: str

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class KnowsFiles(Protocol):
    """An adapter that can tell when a file behind a sample changes: such a sample is then scored again on resume."""

    def identity(self, index: int) -> str:
        """One text for the files behind a sample (``store.files.file_identity``); "" when unknown. Opens nothing."""
        ...


@runtime_checkable
class KnowsSizes(Protocol):
    """An adapter that knows how large a picture is without opening it."""

    def pixels(self, index: int) -> int:
        """Height times width; 0 when unknown."""
        ...


@runtime_checkable
class KnowsPeople(Protocol):
    """An adapter that knows each person of a sample without opening its picture."""

    def person_boxes(self, index: int) -> NDArray[np.floating]:
        """Outer edges of everybody who is scored, xyxy px [N, 4]; raises SampleFault for a label at fault."""
        ...


@runtime_checkable
class Materialised(Protocol):
    """An adapter whose files are made on this machine (rendered, extracted) before the first image is read."""

    def materialise(self, indices: Sequence[int], workers: int, progress: Callable[[int, int], None]) -> None:
        """Make what is missing for ``indices``; resumable; calls ``progress(done, total)`` from the calling thread."""
        ...


class Prepared(NamedTuple):
    """One image, ready for the device."""

    tensors: dict[str, NDArray[Any]]  # each [n, ...]; n crops of this image, may be 0; same keys for every image
    geometry: Any  # whatever finish needs to get back to original pixels


@runtime_checkable
class Model(Protocol):
    """A network with its pre- and post-processing.

    The arrays of an input are read-only: copy what you change. ``prepare`` and ``finish`` work on one image, on the
    CPU, possibly in several threads at once. ``forward`` gets the crops of several images packed along the first axis,
    already on the model's device, under ``torch.inference_mode``; it must treat every crop independently of its
    neighbours. A model with a true attribute ``is_reentrant`` says that ``forward`` may run in several threads at once;
    on a CPU its crops then do. An attribute ``on_host`` names tensors that ``forward`` reads as numbers (sizes): they
    stay in the host's memory, where reading them does not wait for the device. It is not called for zero crops:
    ``finish`` then gets ``outputs == {}``. An attribute ``notes``, a tuple of sentences, may say what a user should
    know about how it ran.
    """

    def prepare(self, x: ModelInput) -> Prepared: ...
    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]: ...
    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class ScoreInfo:
    """The facts of one score, kept in one place."""

    title: str  # column head, e.g. "AP", "AbsRel"
    unit: str  # "" (a share, shown x100 as %), "m", "deg", "px"
    higher_is_better: bool
    minimum: float  # range of possible values
    maximum: float
    decimals: int  # digits printed
    source: str  # paper and equation, or the implementation matched
    percent: bool = False  # print value x 100
    headline: bool = False  # shown in the short table


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is known exactly of a rendered picture; a task that can make its target of it has its first data set."""

    image_HW3: NDArray[np.uint8]  # RGB
    depth_HW_m: NDArray[np.float32]  # along the optical axis; NaN off people
    normals_HW3: NDArray[np.float32]  # unit, x right, y up, z towards the viewer; NaN off people
    labels_HW: NDArray[np.uint8]  # body28
    mask_HW: NDArray[np.bool_]  # pixels of people
    intrinsics: NDArray[np.float64]  # [3, 3] pixels; pinhole, pixel centres at integers
    # Worked out only for tasks that ask for it (``TaskKind.needs_surface``), since it is stored apart:
    alpha_HW: NDArray[np.float32] | None = None  # share of people in the pixel, 0..1, with the weights of the colour
    albedo_HW3: NDArray[np.float32] | None = None  # base colour of people, linear 0..1; NaN where alpha is 0


class Metric(Protocol):
    """Two pure functions: one image -> sums and counts; rows (and image weights) -> scores.

    A metric may have ``unscored``, names of columns that ``aggregate`` does not look at: they are then not read for it.
    """

    name: str  # prefix of its row columns, "<name>/<column>"
    scores: Mapping[str, ScoreInfo]  # score key -> facts, in table order
    version: int  # raised whenever a score can change

    def measure(self, target: Any, prediction: Any) -> dict[str, int | float | NDArray[Any]]:
        """Sums and counts of ONE image; keys without the prefix; arrays are 1-D (or scalars)."""
        ...

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        """Sort and flatten ``rows`` once; the result maps image weights (how often each row was drawn) to scores.

        ``rows`` holds only rows that enter the metric, in index order, columns with the prefix. Weights are int64 [n]
        or None for all ones. Undefined scores are NaN. The result may offer many weightings at once as well:
        ``batch(weights [B, n] of any integer type, keys or None) -> {key: float64 [B]}`` (stats/sums.py, Aggregate);
        without it a bootstrap calls it once per draw.
        """
        ...


@runtime_checkable
class MeasuresMany(Protocol):
    """A metric that measures many images faster together than one by one; a run keeps their predictions until then."""

    def measure_many(
        self, targets: Sequence[Any], predictions: Sequence[Any]
    ) -> list[dict[str, int | float | NDArray[Any]]]:
        """One row per image, each equal to that of ``Metric.measure`` to the last bit and type."""
        ...


class MapCodec(Protocol):
    """A task's dense predictions as one picture file each (``--save-maps``)."""

    def encode(self, prediction: Any, target: Any, names: Sequence[str]) -> bytes:
        """The PNG file of a prediction that passed the task's check; ``names`` are those of the label set, if any."""
        ...

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> Any:
        """The prediction of such a file called ``name``; raises SampleFault on side ``prediction``."""
        ...


@dataclass(frozen=True, slots=True)
class Noise:
    """What the noisy oracle does to a perfect prediction."""

    Options: type[Any]  # the noise's strengths, an ``Options`` class
    add: Callable[[Any, Any, np.random.Generator, Any], Any]  # (prediction, target, draws, options) -> prediction


@dataclass(frozen=True, slots=True)
class Floor:
    """A prediction that needs no learning."""

    answer: Callable[[NDArray[Any]], Any]  # person mask, bool [H, W] (or the picture, see below) -> prediction
    needs_mask: bool = False  # False: only the shape of the mask is looked at
    needs_picture: bool = False  # True: ``answer`` gets the picture instead, uint8 RGB [H, W, 3]


class Choices(NamedTuple):
    """One prediction scored under everything a card might have declared about it."""

    errors: dict[str, float]  # choice -> error
    declared: str  # the choice that stands for the card as it is
    floor: float  # error of what needs no model


class Convention(Protocol):
    """What a card declares about its model's numbers and could have declared otherwise: axes, direction of depth."""

    unit: str  # of the errors

    def choices(self, prediction: Any, target: Any) -> Choices: ...

    def correction(self, best: str, options: Mapping[str, Any]) -> str:
        """What to write into the card so that ``best`` is declared; ``options`` holds every option there is, as now."""
        ...

    def doubt(self, targets: Sequence[Any]) -> str:
        """Why the truth itself, and not the model, may be declared wrongly; "" where nothing speaks for that."""
        ...


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """How a task's maps lie in folders: what ``score --task NAME`` and ``predictions:FOLDER`` read."""

    # Of folders of truth; its options hold ``pictures``, whether pictures are opened. "": truth is not read so.
    adapter: str
    suffixes: tuple[str, ...]  # endings of files of predictions, ``.npy`` ...; the first counts where there are several
    Options: type[Any]  # an ``Options`` class: what is declared about predictions
    # (file, height and width of its picture, options) -> prediction; raises SampleFault
    read: Callable[[Path, tuple[int, int], Any], Any]
    endings: tuple[str, ...] = ("",)  # what a file may be called behind its sample's name: "_alpha"
    protocols: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # name -> scoring; the first is the default


@dataclass(frozen=True, slots=True)
class TaskKind:
    """Everything about a task that does not depend on a protocol: the object a task's folder (or plug-in) exports."""

    name: str
    title: str  # "2D human pose"
    what: str  # one clause for lists and help: what is predicted, and by which scores it is judged
    Scoring: type[Any]  # an ``Options`` class: the keys of a protocol's ``scoring``
    # (scoring, the protocol's SpaceCard or None) -> the task as that protocol scores it
    make: Callable[[Any, Any], Task]
    codec: MapCodec | None = None  # None: predictions are small and stand beside the rows
    noise: Noise | None = None  # None: there is no noisy oracle
    floors: Mapping[str, Floor] = field(default_factory=dict)  # rule named by a floor's card -> floor
    convention: Convention | None = None
    of_scene: Callable[[Scene], Any] | None = None  # the target of a rendered picture; None: it cannot be made of that
    needs_surface: bool = False  # ``of_scene`` looks at alpha and albedo of the scene
    stored: StoredMaps | None = None  # None: no folder of files is read for this task beside those of adapters/dense
    is_whole_image: bool = True  # one full-image box for each picture; False: a box for each person
    crops_per_image: int = 1  # about how many, for estimates


@dataclass(frozen=True, slots=True)
class Task:
    """What is predicted, how it is checked, and how it is scored, for one protocol of one data set."""

    kind: TaskKind
    metrics: tuple[Metric, ...]
    headline: str  # "<metric name>/<score key>" that ranks the table
    # (prediction, input) -> (prediction that is safe to measure, the first fault found or None).
    # Runs before any metric. A prediction of the wrong type or shape becomes the worst honest one.
    check: Callable[[Any, ModelInput, Any], tuple[Any, SampleFault | None]]
    miss: Callable[[Any], Any]  # target -> the prediction that scores as a miss (used when the model raised)
    perfect: Callable[[Any], Any]  # target -> the prediction that scores best (the oracle)
    names: tuple[str, ...] = ()  # of the set that is scored in, where there is one
    # (prediction in the model's keypoint or label set, index [K_target] of source entries) -> prediction in the task's
    # set. None where predictions are not indexed by a set (depth, normal). The index holds -1 only where
    # ``partial_maps`` is set: as a rule a part of a set is a protocol of its own.
    remap: Callable[[Any, NDArray[np.int64]], Any] | None = None
    partial_maps: bool = False  # the protocol scores entries that the model's set does not have as misses
    # (prediction, boxes [N, 4], box scores [N]) -> the perfect prediction of a model that is driven by those boxes;
    # None where predictions do not follow boxes
    per_box: Callable[[Any, NDArray[np.float32], NDArray[np.float32]], Any] | None = None
    # target -> numbers about an image by which scores may be split ("attr/<name>" in its row); they depend on the truth
    # alone. None: nothing is told.
    attributes: Callable[[Any], Mapping[str, float]] | None = None
    # target -> outer edges of the people in it, xyxy px [N, 4]: what samples are selected by. A task of whole pictures
    # gives one box around all of them. None: not known.
    person_boxes: Callable[[Any], NDArray[np.floating]] | None = None
    # prediction <-> small arrays worth keeping beside the rows (pose); None where predictions are large
    to_columns: Callable[[Any], dict[str, NDArray[Any]]] | None = None
    from_columns: Callable[[dict[str, NDArray[Any]]], Any] | None = None

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name


@dataclass(frozen=True, slots=True)
class Cell:
    """One task, data set, protocol and model variant: one line of one table."""

    task: str
    dataset: str
    protocol: str
    model: str
    n_samples: int
    shard_size: int
    fingerprint: str  # store/fingerprint.py; decides whether rows may be mixed

    @property
    def folder(self) -> str:
        """Path of the cell's shards below ``rows/`` or ``preds/``."""
        return f"{self.task}/{self.dataset}/{self.protocol}/{self.model}"


@dataclass(frozen=True, slots=True)
class Interval:
    """A score with its bootstrap interval."""

    value: float
    low: float  # NaN when it cannot be computed (a single group, an undefined score)
    high: float
    level: float = 0.95
    n_groups: int = 0
    method: str = field(default="bootstrap over groups")
