"""Results that name images by text."""

from __future__ import annotations

import pytest

from sapiens_bench.models.image_names import Ambiguous, ImageNames
from sapiens_bench.tasks.pose.types import AnnotationIndex


def names(**ids: int) -> ImageNames:
    """Images by the last part of their key, "__" for "-"."""
    keys = {f"set/{stem.replace('__', '-')}": identity for stem, identity in ids.items()}
    return ImageNames(AnnotationIndex(keys, {1: "person"}, frozenset({1})))


@pytest.mark.parametrize(
    "text",
    ["000139", "000139.jpg", "000139.PNG", "val2017/000139.jpg", "/data/coco/val2017/000139.jpg", "a\\000139.jpg"],
)
def test_a_file_name_may_have_an_ending_and_folders_in_front(text: str) -> None:
    meant, how = names(_000139=0, **{"000139": 7}).meant([text])
    assert meant == [7]
    assert "file name" in how


@pytest.mark.parametrize("text", ["val/1.jpg", "coco/val/1.jpg", "val-1", "1.jpg"])
def test_a_file_name_may_have_its_folders_or_lack_them(text: str) -> None:
    assert names(val__1=5).meant([text])[0] == [5]


def test_a_number_as_text_is_the_id_where_no_text_is_a_file_name() -> None:
    found, how = names(a=139, b=140).meant(["139", "140", "141"])
    assert (found, how) == ([139, 140, None], "the id of the image, written as text")
    assert names(a=1, **{"1": 2}).meant(["1"])[0] == [2]  # the name comes first
    assert names(a=1, b=2).meant(["a", "2"])[0] == [1, None]  # nothing is mixed
    assert names(img__1=2, img__2=1).meant(["1", "2"])[0] == [1, 2]  # the end of a name is no name


def test_a_name_of_two_images_is_refused_and_not_guessed() -> None:
    with pytest.raises(Ambiguous, match=r"'1\.jpg' may be image 3, 4: write the id"):
        names(a__1=3, b__1=4).meant(["1.jpg"])
    with pytest.raises(Ambiguous, match="may be image 3, 4"):
        ImageNames(AnnotationIndex({"s/x#3": 3, "s/x#4": 4}, {}, frozenset())).meant(["x.png"])


@pytest.mark.parametrize(("text", "image"), [("x.png", 3), ("x.jpg", 4), ("data\\x.jpg", 4), ("/a/x.png", 3)])
def test_the_ending_tells_two_files_of_one_name_apart(text: str, image: int) -> None:
    index = AnnotationIndex({"s/x#3": 3, "s/x#4": 4}, {}, frozenset(), {3: "x.png", 4: "x.jpg"})
    assert ImageNames(index).meant([text])[0] == [image]
    assert ImageNames(index).meant(["y/zx.jpg"])[0] == [None]
    for doubtful in ("x", "x.PNG"):
        with pytest.raises(Ambiguous):
            ImageNames(index).meant([doubtful])


def test_numbers_mean_themselves_and_others_nobody() -> None:
    assert names(a=1).meant([1, 2, "nobody.jpg", ""]) == ([1, None, None, None], names(a=1).meant(["b"])[1])
