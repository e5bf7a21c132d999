"""Plots take the colours of the page, are the same each time, and show any name as text."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from sapiens_bench.report import figures
from sapiens_bench.report.figures import Curve, Estimate, Figure

NAMES = ["plain", '<b onload="x">&"', "$\\frac$ {{x}}", "_hidden", "\u202eevil\x1b[31m", "x" * 200, ""]
NAN = float("nan")


def curve(name: str, *values: float) -> Curve:
    return Curve(name, np.arange(len(values), dtype=float), np.array(values, float), 0)


MAKERS = {
    "forest": lambda names: figures.forest("k", "t", "u", {"": [Estimate(n, 0.5, 0.4, 0.6) for n in names]}),
    "forest without a number": lambda names: figures.forest("k", "t", "u", {"g": [Estimate(n, NAN) for n in names]}),
    "dots": lambda names: figures.dots("k", "t", "u", names, [(n, [1.0] * len(names)) for n in names]),
    "equal dots": lambda names: figures.dots("k", "t", "u", names, [(n, [0.0] * len(names)) for n in names]),
    "lines": lambda names: figures.lines("k", "t", "x", "y", [curve(n, 1, 2, 3) for n in names]),
    "empty lines": lambda names: figures.lines("k", "t", "x", "y", [curve(n) for n in names], diagonal=True),
    "stacked": lambda names: figures.stacked("k", "t", "%", names, {n: [1.0] * len(names) for n in names}),
    "scatter": lambda names: figures.scatter("k", "t", "x", "y", [(10.0, Estimate(n, 1.0)) for n in names]),
}


def parsed(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.svg)


@pytest.mark.parametrize("maker", MAKERS)
def test_any_name_is_text_and_nothing_else(maker: str) -> None:
    root = parsed(MAKERS[maker](NAMES))
    texts = "".join(root.itertext())
    assert "<b" in texts
    assert "{{x}}" in texts
    assert not {name for each in root.iter() for name in each.attrib if name.startswith("on")}
    assert "\u202e" not in texts
    assert "\x1b" not in texts


@pytest.mark.parametrize("maker", MAKERS)
def test_colours_are_those_of_the_page_and_ids_those_of_the_plot(maker: str) -> None:
    figure = MAKERS[maker](["a", "b"])
    assert "var(--" in figure.svg
    assert "<style" not in figure.svg
    assert all(each.attrib["id"].startswith("k-") for each in parsed(figure).iter() if "id" in each.attrib)
    assert figure == MAKERS[maker](["a", "b"])


def test_points_that_are_links_lead_to_cases() -> None:
    linked = Curve("m", np.array([0.0, 1.0]), np.array([1.0, 2.0]), 0, ((0.0, 1.0, "r0-case-7"),))
    svg = figures.lines("k", "t", "x", "y", [linked]).svg
    assert svg.count('href="#r0-case-7"') == 1


def test_a_name_cannot_become_a_link_or_a_colour_outside_text() -> None:
    name = 'xlink:href="case:a" id="z" #1b1f24'
    root = parsed(figures.forest("k", "t", "u", {"": [Estimate(name, 1.0)]}))
    assert not [e for e in root.iter() if e.tag.endswith("}a")]
