"""Pose networks in a file of their own kind, described wholly by their card: what ONNX and torch programs share.

Which tensors of the file's answer are meant is told by their shapes, or by names where several would do.
Axes: B crops, K keypoints, X and Y bins, h x w heatmap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.card_options import CardPoseOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.decoders import Coordinates, Decoder, PlainHeatmaps, SimccVectors, UdpHeatmaps
from sapiens_bench.models.parts.top_down import Framing, TopDown, plain_crop, udp_crop

Kind = Literal["heatmap", "simcc", "coords"]
Shapes = Mapping[str, tuple[int, ...]]  # name of an output -> its shape for one crop


class CardPoses(TopDown):
    """A network of which only the card says what it computes."""

    def __init__(self, context: ModelContext, spec: InputSpec) -> None:
        chosen: CardPoseOptions = context.options
        is_udp = chosen.output == "heatmap" and chosen.codec != "plain"
        framing = Framing(udp_crop if is_udp else plain_crop, chosen.padding)
        super().__init__(context, spec, framing, decoder_of(chosen, spec.width), chosen.flip_test)

    def chosen_outputs(self, shapes: Shapes, chosen: CardPoseOptions, path: Path) -> list[str]:
        """Names of the outputs that the decoder reads, in its order.

        Raises:
            CardError: the card names outputs that are not there.
            CheckpointRejected: no output, or more than one choice, fits what the card says.
        """
        names = chosen.output_names
        if unknown := [name for name in names if name not in shapes]:
            raise CardError(f"{self.name}: option output_names has {unknown[0]!r}; {path} has {', '.join(shapes)}.")
        among = {name: shapes[name] for name in names} if names else shapes
        found = pick(among, chosen, self.n_keypoints, self.input_wh)
        if found is not None:
            return found
        given = ", ".join(f"{name} {list(shape)}" for name, shape in among.items()) or "nothing"
        raise CheckpointRejected(
            f"{path} answers with {given}. {self._needed(chosen)}{_advice(shapes, chosen.output, self.n_keypoints)}"
        )

    def _needed(self, chosen: CardPoseOptions) -> str:
        k, (width, height) = self.n_keypoints, self.input_wh
        if chosen.output == "heatmap":
            return f"{k} keypoints as heatmaps need one map [1, {k}, h, w]."
        if chosen.output == "coords":
            return f"{k} keypoints as coordinates need [1, {k}, 2] (and scores [1, {k}]) or [1, {k}, 3]."
        bins = [round(side * chosen.split_ratio) for side in (width, height)]
        return (
            f"{k} keypoints and {chosen.split_ratio:g} bins per pixel need [1, {k}, {bins[0]}] for x and "
            f"[1, {k}, {bins[1]}] for y."
        )


def decoder_of(chosen: CardPoseOptions, width: int) -> Decoder:
    """What becomes of the kind of answer that the card names."""
    if chosen.output == "simcc":
        return SimccVectors(chosen.split_ratio, chosen.score)
    if chosen.output == "coords":
        return Coordinates(chosen.units or "pixel", width)
    if chosen.codec == "plain":
        return PlainHeatmaps()
    return UdpHeatmaps("vitpose" if chosen.codec == "udp_vitpose" else "mmpose1", chosen.blur_kernel)


def pick(shapes: Shapes, chosen: CardPoseOptions, n_keypoints: int, input_wh: tuple[int, int]) -> list[str] | None:
    """The outputs that hold the answer, or None when there are none or more than one choice.

    Where x and y vectors are equally long, the order of a file tells nothing: they must be called simcc_x and simcc_y,
    or be named in order by the card.
    """
    if chosen.output == "heatmap":
        found = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] == n_keypoints]
        return found if len(found) == 1 else None
    if chosen.output == "coords":
        return _positions(shapes, n_keypoints)
    bins = [round(side * chosen.split_ratio) for side in input_wh]
    x, y = ([name for name, shape in shapes.items() if shape[1:] == (n_keypoints, size)] for size in bins)
    ordered = chosen.output_names or ("simcc_x", "simcc_y")
    if len(ordered) == 2 and ordered[0] in x and ordered[1] in y:
        return list(ordered)
    return [x[0], y[0]] if len(x) == len(y) == 1 and x != y and not chosen.output_names else None


def _positions(shapes: Shapes, n_keypoints: int) -> list[str] | None:
    found = [n for n, s in shapes.items() if len(s) == 3 and s[1] == n_keypoints and s[2] in (2, 3)]
    if len(found) != 1:
        return None
    scores = [n for n, s in shapes.items() if s[1:] in ((n_keypoints,), (n_keypoints, 1))]
    if shapes[found[0]][2] == 3 or not scores:
        return found
    return [*found, *scores] if len(scores) == 1 else None


def looks_like(shapes: Shapes, n_keypoints: int) -> Kind | None:
    """The kind of answer that these outputs could be, from their shapes alone."""
    if any(len(s) == 4 and s[1] == n_keypoints for s in shapes.values()):
        return "heatmap"
    flat = [s for s in shapes.values() if len(s) == 3 and s[1] == n_keypoints]
    if any(s[2] in (2, 3) for s in flat):
        return "coords"
    return "simcc" if len(flat) >= 2 else None


def _advice(shapes: Shapes, output: Kind, n_keypoints: int) -> str:
    likely = looks_like(shapes, n_keypoints)
    if likely is None:
        return " Another keypoint set, or no pose network: look at the card's 'space'."
    if likely != output:
        return f" This looks like 'wrapper: onnx' (or 'exported') with the option output: {likely}."
    return " Say which of them with the option output_names." if len(shapes) > 1 else ""
