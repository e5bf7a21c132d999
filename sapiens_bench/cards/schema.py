"""The shape of every card. Unknown keys are refused; nothing here opens a data set, a weight file or the network."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Rgb = tuple[int, int, int]
WeightFormat = Literal["safetensors", "pth", "torchscript", "export", "onnx", "hf", "graph", "predictions"]


class Card(BaseModel):
    """Strict and immutable: ``"17"`` is not 17, ``no`` is not a name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


def relative_path(value: str) -> str:
    """The path if it is relative, POSIX, stays below its root and fits a file system; raises ValueError otherwise."""
    parts = value.split("/")
    if not value or "\\" in value or "\0" in value or ":" in value or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"{value!r:.120} must be a relative path below its root, with forward slashes and no '..'")
    if len(value) > 1000 or any(len(part.encode(errors="surrogatepass")) > 255 for part in parts):
        raise ValueError(f"{value!r:.60}... is longer than file systems allow (255 bytes a name)")
    return value


RelativePath = Annotated[str, AfterValidator(relative_path)]


class Licence(Card):
    name: str  # SPDX id where there is one
    url: str | None = None
    commercial: bool | None = None  # None: not stated by the source
    may_redistribute: bool | None = None
    note: str = ""


class Paper(Card):
    title: str
    year: int
    url: str = ""


class HubFile(Card):
    """A file (or, without ``file``, a model folder) on the Hugging Face hub."""

    repo: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    ]
    file: RelativePath | None = None
    revision: RelativePath = "main"  # a commit where one is known, so that the bytes cannot change


class Get(Card):
    """How weights come to a machine. ``how`` is always there: the sentence a person is shown."""

    how: str
    embedded: bool = False  # shipped inside sapiens_bench/embedded
    hub: HubFile | None = None
    url: str | None = None
    archive_member: RelativePath | None = None  # the url is a zip or tar: path, or just the name, of the file inside

    @field_validator("url")
    @classmethod
    def _https_only(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none")
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"{value!r:.120}: downloads are https only, without a user name")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Get:
        if self.archive_member is not None and self.url is None:
            raise ValueError("archive_member needs the url of the archive")
        if self.url is not None and self.hub is not None:
            raise ValueError("give either hub or url")
        return self


class Weights(Card):
    file: RelativePath  # name below --weights-root, or below sapiens_bench/embedded; a folder name for format "hf"
    format: WeightFormat
    sha256: Sha256 | None  # must be written; null: the publisher's hash is not known to us, tables say "not pinned"
    size_bytes: Annotated[int, Field(gt=0)] | None = None
    get: Get
    also: dict[RelativePath, Sha256 | None] = {}  # further files the wrapper needs, name beside the first -> hash
    ignore_keys: tuple[str, ...] = ()  # state-dict keys that may be left over, by exact name


MAX_INPUT_SIDE = 16384  # pixels


class InputSpec(Card):
    height: Annotated[int, Field(gt=0, le=MAX_INPUT_SIDE)]
    width: Annotated[int, Field(gt=0, le=MAX_INPUT_SIDE)]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in 0..255 units, after channel ordering
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: Literal["rgb", "bgr"] = "rgb"


class Variant(Card):
    """One row of a table."""

    id: Name  # unique over all model cards
    title: str
    weights: Weights | None = None  # None: needs none (floors, oracle)
    options: dict[str, Any] = {}  # passed to the wrapper, which checks them
    space: Name | None = None  # overrides the family's
    input: InputSpec | None = None
    published_as: tuple[str, ...] = ()  # row names in results/published, exact
    published_in: tuple[Name, ...] = ()  # published entries those names count for; empty: every entry
    # part of `--models all`; a list: only where a protocol scores in one of these sets
    in_all: bool | tuple[Name, ...] = True
    trained_on: str | None = None  # overrides the family's
    params_m: float | None = None  # millions; shown until measured
    # 1e9 multiply-adds of one pass at the card's input size, attention products among them
    gmacs: Annotated[float, Field(gt=0)] | None = None
    # which of the two are the authors' own numbers, by their own way of counting; the others were counted here, as
    # `profile --counts` counts, on the library's class at the published configuration
    printed: tuple[Literal["params_m", "gmacs"], ...] = ()


class ModelCard(Card):
    """A model family for one task."""

    schema_: Literal["model/1"] = Field(alias="schema")
    id: Name
    title: str
    task: Name
    kind: Literal["network", "floor", "diagnostic"] = "network"  # diagnostic (oracle) is never part of "all"
    licence: Licence
    paper: Paper | None = None
    wrapper: str  # key of WRAPPERS, an entry point, or ./file.py:Class beside a card given with --cards
    # What is known of our wrapper. golden: compared with the authors' or the library's own code on tiny random weights,
    # by `verify golden` or a test; shape: it runs on files of the published form, and nobody compared; quoted: no
    # network of ours, printed numbers or stored results alone. None: not said, or nothing to compare.
    verified: Literal["golden", "shape", "quoted"] | None = None
    space: Name | None = None  # keypoint or label set of the raw output; None where the task has none
    input: InputSpec | None = None
    trained_on: str  # shown in the table: "COCO, AI Challenger", "synthetic-humans train", "nothing"
    in_domain: tuple[str, ...] = ()  # ids of data sets the family was trained on
    notes: str = ""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]

    def space_of(self, variant: Variant) -> str | None:
        """Name of the keypoint or label set of a variant's raw output."""
        return variant.space or self.space


class DetectorCard(Card):
    """A family of person detectors: what makes boxes for top-down models. It is no row of a table."""

    schema_: Literal["detector/1"] = Field(alias="schema")
    id: Name
    title: str
    licence: Licence
    paper: Paper | None = None
    wrapper: Name  # key of models.detectors.DETECTORS
    trained_on: str
    notes: str = ""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]


class EvalProtocol(Card):
    """How a data set is scored for one task. Cells are compared only inside one protocol."""

    task: Name
    title: str
    space: Name | None = None  # the set the score is computed in
    options: dict[str, Any] = {}  # for the adapter (split, boxes ...)
    scoring: dict[str, Any] = {}  # for the task (nms, score rule, alignment ...)
    published: tuple[str, ...] = ()  # ids of published (table, dataset, protocol) entries that may stand beside it
    caveat: str = ""  # footnote of every table, e.g. "paper-protocol, our split"
    fallback: Name | None = None  # of a default: used, under its own name, when this one finds none of its files
    default: bool = False  # used when no --protocol is given; exactly one per task


class DatasetCard(Card):
    schema_: Literal["dataset/1"] = Field(alias="schema")
    id: Name
    title: str
    licence: Licence
    paper: Paper | None = None
    get: str  # what a person must do to obtain it
    adapter: str  # key of ADAPTERS, an entry point, or ./file.py:Class under --cards
    embedded: bool = False  # needs no --data-root
    layout: tuple[RelativePath, ...] = ()  # globs, each of which must match below the root
    checksums: dict[RelativePath, Sha256] = {}
    exif: Literal["ignore", "apply"] = "ignore"
    protocols: Annotated[dict[Name, EvalProtocol], Field(min_length=1)]
    notes: str = ""

    @model_validator(mode="after")
    def _one_default_per_task(self) -> DatasetCard:
        for task in {p.task for p in self.protocols.values()}:
            defaults = [n for n, p in self.protocols.items() if p.task == task and p.default]
            if len(defaults) != 1:
                raise ValueError(
                    f"task {task!r} needs exactly one protocol with 'default: true', found {len(defaults)}"
                )
        for name, protocol in self.protocols.items():
            other = self.protocols.get(protocol.fallback or name)
            if other is None or other.task != protocol.task:
                raise ValueError(f"fallback {protocol.fallback!r} of {name!r} is no protocol of the same task")
        return self

    def default_protocol(self, task: str) -> str | None:
        """Name of the task's default protocol, or None when the data set has no such task."""
        return next((n for n, p in self.protocols.items() if p.task == task and p.default), None)


class SpaceCard(Card):
    """A keypoint set or a label set."""

    schema_: Literal["space/1"] = Field(alias="schema")
    id: Name
    title: str
    kind: Literal["keypoints", "labels"]
    source: str
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    flip_index: tuple[int, ...] = ()  # index of each entry's mirror image (itself when it has none)
    sigmas: tuple[float, ...] = ()  # OKS standard deviations, keypoints only
    groups: dict[str, tuple[int, ...]] = {}  # scored parts, e.g. body, foot, face; indices into names
    skeleton: tuple[tuple[int, int], ...] = ()
    colours: tuple[Rgb, ...] = ()
    ignore_index: int | None = None  # labels: number in a file that is no class but not scored; None: 255

    @model_validator(mode="after")
    def _consistent(self) -> SpaceCard:
        n = len(self.names)
        if len(set(self.names)) != n:
            raise ValueError("names repeat")
        flip = self.flip_index
        if flip and (len(flip) != n or any(not 0 <= j < n or flip[j] != i for i, j in enumerate(flip))):
            raise ValueError("flip_index must have one entry per name and be its own inverse")
        if self.ignore_index is not None and (self.kind != "labels" or 0 <= self.ignore_index < n):
            raise ValueError(f"ignore_index is for labels, and no label of 0..{n - 1}; found {self.ignore_index}")
        if self.kind == "keypoints" and len(self.sigmas) != n:
            raise ValueError(f"{n} keypoints need {n} sigmas, found {len(self.sigmas)}")
        indices = [i for group in self.groups.values() for i in group] + [i for pair in self.skeleton for i in pair]
        if any(not 0 <= i < n for i in indices):
            raise ValueError(f"an index lies outside 0..{n - 1}")
        return self


class SpaceMapCard(Card):
    """An explicit map between two sets, by name. Keypoints: target -> source. Labels: source -> target."""

    schema_: Literal["space-map/1"] = Field(alias="schema")
    id: Name
    source: Name
    target: Name
    provenance: str
    approximate: bool = False  # tables mark the row
    pairs: dict[str, str]  # keypoints: target name -> source name; labels: source name -> target name or "ignore"


class PublishedValue(Card):
    value: float | str | None
    confidence: Literal["verified", "single-source", "derived", "conflicting"]
    source: tuple[str, ...]
    note: str = ""


class PublishedEntry(Card):
    """One data set and protocol of a published table, with every row as printed."""

    id: Name  # what EvalProtocol.published names
    dataset: str
    protocol: str  # as the paper describes it
    metrics: dict[str, str]  # our score key ("whole/AP", "abs_rel") -> key in values
    units: dict[str, str] = {}  # key in values -> unit as printed
    directions: dict[str, str] = {}  # key in values -> up, down or none
    row_attributes: dict[str, dict[str, str]] = {}  # row -> what is printed beside its scores (input size ...)
    scale: dict[str, float] = {}  # our score = printed value x scale (0.01 where the paper prints per cent); default 1
    rows: dict[str, dict[str, PublishedValue | None]]  # row name as printed -> key -> value; null = not recovered


class PublishedTable(Card):
    schema_: Literal["published/1"] = Field(alias="schema")
    id: Name
    paper: str
    table: str
    caption: str
    sources: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    entries: Annotated[tuple[PublishedEntry, ...], Field(min_length=1)]
