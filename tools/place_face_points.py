"""Write ``sapiens_bench/embedded/surface_points.csv``: points of face and body on the kit's surface.

python tools/place_face_points.py, then python tools/draw_face_points.py FOLDER to look at them

Every point is a place on the template (the mean body): where a ray meets the surface, or the nearest point of it. The
person's left side is placed, the right side is its mirror image. Curves of eyes and mouth are read off the surface
itself: the edge of the eyeball as seen from the front, the painted lips, the seam between them; brows, iris and pupil
follow the formulas that paint them (render/shade.py). Where names of the 308-point set leave a choice, docs/study.md
says what was chosen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.hair import EYE_Z
from sapiens_bench.render.human_kit import BODY, LEFT_EYE, RIGHT_EYE, Doubles, Ints, load_kit, triangles
from sapiens_bench.render.rasterise import Hits, rasterise
from sapiens_bench.render.surface_points import FIELDS, FILE

KIT = load_kit()
V = KIT.mean_V3
BODY_F = triangles(KIT.quads(BODY))
FACE_F = np.concatenate([BODY_F, triangles(np.concatenate([KIT.quads(LEFT_EYE), KIT.quads(RIGHT_EYE)]))])
EYE = np.array([0.0311, -0.1309, 0.8834])  # centre of the left eyeball, as render/shade.py has it
IRIS_COS, PUPIL_COS = 0.915, 0.981  # middle of the painted borders
PX = 4096
Points = dict[str, tuple[Ints, Doubles]]  # name -> (three vertices, three weights)


def camera(toward: Doubles, centre: Doubles, size_m: float, px: int = PX) -> Camera:
    """Almost parallel rays: from ``toward``, 60 m away."""
    forward = -toward / np.linalg.norm(toward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    focal = px / size_m * 60.0
    K = np.array([[focal, 0, (px - 1) / 2], [0, focal, (px - 1) / 2], [0, 0, 1]])
    return Camera(K, R, -R @ (centre - forward * 60.0), px, px)


class View:
    """What one camera sees of the template."""

    def __init__(self, toward: Doubles, centre: Doubles, size_m: float, faces: Ints = FACE_F) -> None:
        self.camera, self.faces = camera(toward, centre, size_m), faces
        self.hits: Hits = rasterise(V, faces, self.camera)

    def at(self, point: Doubles) -> tuple[Ints, Doubles]:
        """The surface on the ray through a point."""
        (u, v), _ = (part[0] for part in self.camera.project(np.asarray(point)[None]))
        y, x = round(float(v)), round(float(u))
        face = int(self.hits.face_HW[y, x])
        if face < 0:
            raise SystemExit(f"no surface behind {point}")
        return self.faces[face], self.hits.barycentric_HW3[y, x]

    def is_eye(self) -> NDArray[np.bool_]:
        return np.asarray(self.hits.face_HW >= len(BODY_F))

    def value(self, field_V: Doubles) -> Doubles:
        """A field of the vertices at every pixel; NaN where nothing is."""
        out = np.full(self.hits.face_HW.shape, np.nan)
        seen = self.hits.face_HW >= 0
        corners = self.faces[self.hits.face_HW[seen]]
        out[seen] = (field_V[corners] * self.hits.barycentric_HW3[seen]).sum(1)
        return out

    def column(self, x_m: float) -> int:
        return round(float(self.camera.project(np.array([[x_m, -0.15, EYE_Z]]))[0][0, 0]))

    def height(self, row: float) -> float:
        """World z of a row."""
        c = self.camera
        return float(c.centre[2] - (row - c.K[1, 2]) / c.K[1, 1] * 60.0)


def nearest(point: Doubles) -> tuple[Ints, Doubles]:
    """The point of the body's surface that is nearest."""
    p = np.asarray(point, np.float64)
    near = BODY_F[(np.abs(V[BODY_F] - p) < 0.06).all((1, 2))]
    best: tuple[float, Ints, Doubles] = (np.inf, near[0], np.zeros(3))
    for face in near:
        weight = _on_triangle(p, *V[face])
        d = float(((weight @ V[face] - p) ** 2).sum())
        if d < best[0]:
            best = (d, face, weight)
    return best[1], best[2]


def _on_triangle(p: Doubles, a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """Barycentrics of the nearest point of a triangle: of the plane, else of the nearest edge."""
    edges = np.stack([b - a, c - a], 1)
    beta, gamma = np.linalg.lstsq(edges, p - a, rcond=None)[0]
    if beta >= 0 and gamma >= 0 and beta + gamma <= 1:
        return np.array([1 - beta - gamma, beta, gamma])
    found = []
    for i, (s, e) in enumerate(((a, b), (b, c), (c, a))):
        t = float(np.clip((p - s) @ (e - s) / max(float((e - s) @ (e - s)), 1e-30), 0, 1))
        weight = np.zeros(3)
        weight[i], weight[(i + 1) % 3] = 1 - t, t
        found.append(weight)
    return min(found, key=lambda w: float(((w @ np.stack([a, b, c]) - p) ** 2).sum()))


# where things are, millimetres on the template ------------------------------------------------------------------------


def mm(x: float, z: float) -> Doubles:
    return np.array([x, -150.0, z]) / 1000


MIDLINE = {
    "center_of_glabella": 901.0, "center_of_nose_root": 884.0, "midpoint_1_of_nose_bridge": 876.5,
    "midpoint_2_of_nose_bridge": 869.0, "midpoint_3_of_nose_bridge": 861.5, "tip_of_nose_bridge": 854.0,
    "tip_of_nose": 845.5, "bottom_center_of_nose": 832.3, "center_of_labiomental_groove": 795.5, "tip_of_chin": 781.0,
}  # fmt: skip
BRIDGE = {27: 884.0, 28: 871.0, 29: 858.0, 30: 845.5}
JAW = ((73, -76, 882), (71.5, -77, 865), (70, -79, 848), (67, -83, 831), (61, -92, 813), (51, -109, 795),
       (37, -128, 780), (20, -143, 771.5))  # fmt: skip
NOSE = {"l_outer_corner_of_nose": (18.2, 842.0), "inner_corner_of_l_nostril": (6.2, 835.8),
        "outer_corner_of_l_nostril": (13.6, 835.8), "upper_corner_of_l_nostril": (10.0, 838.8)}  # fmt: skip
EYE_INNER, EYE_OUTER = (18.3, 879.6), (44.2, 881.4)
MOUTH = (24.6, 809.5)
EAR = {  # (back, up) from the middle of the side view
    "top_connecting_point_of_helix": (-14.3, 17.4), "point_1_of_inner_helix": (-9.6, 13.3),
    "point_2_of_inner_helix": (-6.3, 16.6), "point_3_of_inner_helix": (-0.9, 19.0),
    "point_4_of_inner_helix": (4.4, 19.0), "point_5_of_inner_helix": (8.6, 16.2),
    "point_6_of_inner_helix": (11.9, 10.8), "point_7_of_inner_helix": (13.1, 5.4),
    "point_8_of_inner_helix": (12.7, 0.0), "start_of_antihelix": (4.4, -7.8), "midpoint_2_of_antihelix": (6.9, -3.6),
    "midpoint_1_of_antihelix": (8.2, 1.3), "midpoint_3_of_antihelix": (8.2, 6.3), "end_of_antihelix": (6.5, 11.2),
    "top_end_of_superior_crus": (1.2, 17.4), "top_end_of_inferior_crus": (-6.3, 8.7),
    "midpoint_1_of_inferior_crus": (0.0, 9.6), "highest_point_of_antitragus": (-4.2, -11.9),
    "bottom_point_of_tragus": (-12.9, -12.7), "protruding_point_of_tragus": (-11.2, -4.9),
    "top_point_of_tragus": (-13.3, -0.3), "start_point_of_crus_of_helix": (-5.4, 0.1),
    "deepest_point_of_concha": (3.6, -3.6), "tip_of_ear_lobe": (-5.4, -28.4),
    "midpoint_between_22_15": (7.7, -14.3), "bottom_connecting_point_of_ear_lobe": (-17.8, -26.3),
}  # fmt: skip


def face_points() -> Points:
    """Every point of the face, both sides."""
    front = View(np.array([0.0, -1, 0]), np.array([0, -0.13, 0.84]), 0.17)
    middle = {name: front.at(mm(0, z)) for name, z in MIDLINE.items()}
    middle |= {f"face-{i}": front.at(mm(0, z)) for i, z in BRIDGE.items()}
    middle["face-8"] = nearest(np.array([0, -0.152, 0.7685]))
    middle["face-33"] = middle["bottom_center_of_nose"]
    left = {name: front.at(mm(*at)) for name, at in NOSE.items()}
    left |= {f"face-{16 - i}": nearest(np.array(at) / 1000) for i, at in enumerate(JAW)}
    left |= {"face-35": front.at(mm(13.2, 834.2)), "face-34": front.at(mm(6.6, 833.6))}
    left |= _brow(front) | _eye_lines(front) | _irises() | _ear()
    lips_middle, lips_left = _lips(front)
    return _both_sides(middle | lips_middle, left | lips_left)


def _brow(front: View) -> Points:
    def line(x: float, sign: float) -> tuple[Ints, Doubles]:
        m = x / 1000
        arch = 0.0225 - 2.6 * (m - 0.034) ** 2 - 0.12 * max(m - 0.04, 0)
        thick = max(0.0048 - 0.055 * max(m - 0.03, 0), 5e-4)
        return front.at(mm(x, 1000 * (EYE_Z + arch + sign * thick)))

    inner, outer = 12.0, 58.0
    at = [inner + (outer - inner) * share for share in (0.25, 0.5, 0.75)]
    points = {"upper_startpoint_of_l_eyebrow": line(inner, 1), "lower_startpoint_of_l_eyebrow": line(inner, -1),
              "end_of_l_eyebrow": line(outer, 0)}  # fmt: skip
    for number, x in zip((2, 1, 3), at):  # of the left brow 2 lies inside and 3 outside, as the flip pairs have it
        points[f"upper_midpoint_{number}_of_l_eyebrow"] = line(x, 1)
        points[f"lower_midpoint_{number}_of_l_eyebrow"] = line(x, -1)
    for number, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        points[f"face-{22 + number}"] = line(inner + (outer - inner) * share, 0.6 if share < 1 else 0)
    return points


# share of the way from the inner to the outer end -> number of the midpoint; the centre is 0
LEFT_ORDER = {0.125: 3, 0.25: 1, 0.375: 4, 0.5: 0, 0.625: 5, 0.75: 2, 0.875: 6}


def _name(line: str, number: int) -> str:
    return f"l_centerpoint_of_{line}" if number == 0 else f"l_midpoint_{number}_of_{line}"


def _eye_lines(front: View) -> Points:
    """Lash lines at the edge of the eyeball; eyelid and crease lines at a distance that shrinks to the ends."""
    is_eye = front.is_eye()
    (x0, z0), (x1, z1) = EYE_INNER, EYE_OUTER

    def edge(share: float, upper: bool) -> tuple[float, float]:
        x = x0 + (x1 - x0) * share
        rows = np.flatnonzero(is_eye[:, front.column(x / 1000)])
        level = z0 + (z1 - z0) * share
        if not len(rows):
            return x, level
        return x, 1000 * front.height(rows[0] - 0.5 if upper else rows[-1] + 0.5)

    points: Points = {}
    lines = (("upper_lash_line", True, 0.25), ("upper_eyelid_line", True, 2.2), ("upper_crease_line", True, 5.0),
             ("lower_lash_line", False, 0.25), ("lower_eyelid_line", False, 3.2))  # fmt: skip
    for line, upper, away in lines:
        for share, number in LEFT_ORDER.items():
            x, z = edge(share, upper)
            fall = away if away < 1 else away * (0.45 + 0.55 * np.sin(np.pi * share))
            points[_name(line, number)] = front.at(mm(x, z + (fall if upper else -fall)))
        if line.endswith("lash_line"):
            points[f"l_inner_end_of_{line}"], points[f"l_outer_end_of_{line}"] = (
                front.at(mm(*EYE_INNER)), front.at(mm(x1 + 0.5, z1)))  # fmt: skip
        elif line.endswith("eyelid_line"):
            points[f"l_outer_end_of_{line}"] = front.at(mm(x1 + 2.0, z1 + (1.2 if upper else -1.6)))
    points |= {"face-42": front.at(mm(*EYE_INNER)), "face-45": front.at(mm(x1 + 0.5, z1))}
    for index, share, upper in ((43, 0.33, True), (44, 0.67, True), (46, 0.67, False), (47, 0.33, False)):
        x, z = edge(share, upper)
        points[f"face-{index}"] = front.at(mm(x, z + (0.25 if upper else -0.25)))
    return points


def _irises() -> Points:
    """On the eyeball itself, lids or no lids; hours as whoever looks at the face reads them."""
    ball = View(np.array([0.0, -1, 0]), EYE, 0.034, triangles(KIT.quads(LEFT_EYE)))
    points = {"l_center_of_iris": ball.at(EYE), "l_center_of_pupil": ball.at(EYE)}
    radius = float(np.sqrt(((V[np.unique(KIT.quads(LEFT_EYE))] - EYE) ** 2).sum(1)).mean())
    hours = {"3": 0, "midpoint_1": 45, "12": 90, "midpoint_4": 135, "9": 180, "midpoint_3": 225, "6": 270,
             "midpoint_2": 315}  # fmt: skip
    for what, cosine in (("iris", IRIS_COS), ("pupil", PUPIL_COS)):
        r = radius * np.sqrt(1 - cosine**2)
        for name, degrees in hours.items():
            a = np.deg2rad(degrees)
            points[f"l_border_of_{what}_{name}"] = ball.at(EYE + r * np.array([np.cos(a), 0, np.sin(a)]))
    return points


def _ear() -> Points:
    toward = np.array([1.0, -0.15, 0.0])
    centre = np.array([0.09, -0.05, 0.862])
    side = View(toward, centre, 0.09, BODY_F)
    back, up = side.camera.R[0], np.array([0.0, 0.0, 1.0])
    return {f"l_{name}": side.at(centre + back * a / 1000 + up * b / 1000) for name, (a, b) in EAR.items()}


def _lips(front: View) -> tuple[Points, Points]:
    """Outer lines where the painted lip ends, inner lines beside the seam; the middle, then the left half."""
    from sapiens_bench.render.person import _lower_lip

    mask, lower = front.value(KIT.masks["lips"]), front.value(_lower_lip())
    rows = np.arange(mask.shape[0])
    near = np.abs(np.array([front.height(r) for r in rows]) - 0.81) < 0.016

    def heights(x: float) -> dict[str, float]:
        column = front.column(x / 1000)
        lip = np.flatnonzero(near & (mask[:, column] > 0.5))
        below = lip[lower[lip, column] > 0.5]
        seam = below[0] - 0.5
        return {"upper_outer_lip": 1000 * front.height(lip[0]), "lower_outer_lip": 1000 * front.height(lip[-1]),
                "upper_inner_lip": 1000 * front.height(seam) + 0.5,
                "lower_inner_lip": 1000 * front.height(seam) - 0.5}  # fmt: skip

    corner_x, corner_z = MOUTH
    middle: Points = {}
    left: Points = {"l_outer_corner_of_mouth": front.at(mm(*MOUTH)), "face-54": front.at(mm(*MOUTH)),
                    "l_inner_corner_of_mouth": front.at(mm(corner_x - 1.6, corner_z + 0.2)),
                    "face-64": front.at(mm(corner_x - 1.6, corner_z + 0.2))}  # fmt: skip
    at = {share: heights(corner_x * share) for share in (0.0, 0.25, 0.3, 0.33, 0.5, 0.6, 0.66, 0.75)}
    named = ("lower_outer_lip", "upper_inner_lip", "lower_inner_lip")
    centres = {"upper_outer_lip": "center_of_cupid_bow"} | {line: f"center_of_{line}" for line in named}
    for line, centre in centres.items():
        middle[centre] = front.at(mm(0, at[0.0][line]))
        for share, number in ((0.25, 5), (0.5, 2), (0.75, 6)):  # the left half; 4, 1, 3 mirror them
            left[f"midpoint_{number}_of_{line}"] = front.at(mm(corner_x * share, at[share][line]))
    ibug = {51: ("upper_outer_lip", 0.0), 52: ("upper_outer_lip", 0.3), 53: ("upper_outer_lip", 0.66),
            57: ("lower_outer_lip", 0.0), 56: ("lower_outer_lip", 0.33), 55: ("lower_outer_lip", 0.66),
            62: ("upper_inner_lip", 0.0), 63: ("upper_inner_lip", 0.33), 66: ("lower_inner_lip", 0.0),
            65: ("lower_inner_lip", 0.33)}  # fmt: skip
    for index, (line, share) in ibug.items():
        (middle if share == 0 else left)[f"face-{index}"] = front.at(mm(corner_x * share, at[share][line]))
    return middle, left


# bodies --------------------------------------------------------------------------------------------------------------


def body_points() -> Points:
    """Elbows, shoulder tops and neck of the 308-point set."""
    elbow, shoulder, wrist = (KIT.head(f"{bone}.L") for bone in ("lowerarm01", "upperarm01", "wrist"))
    upper, fore = (elbow - shoulder) / np.linalg.norm(elbow - shoulder), (wrist - elbow) / np.linalg.norm(wrist - elbow)
    hinge = np.cross(upper, fore)
    outside = np.cross(upper + fore, hinge)
    outside *= np.sign(outside @ (upper - fore)) / np.linalg.norm(outside)
    left = {
        "left_olecranon": nearest(elbow + outside * 0.045),
        "left_cubital_fossa": nearest(elbow - outside * 0.045),
        "left_acromion": nearest(shoulder + np.array([0.005, 0.0, 0.055])),
    }
    throat = nearest(np.array([0.0, -0.12, float(shoulder[2]) + 0.075]))  # the notch above the breast bone
    return _both_sides({"neck": throat}, left)


# both sides ----------------------------------------------------------------------------------------------------------


def mirrored_name(name: str) -> str:
    """The name of the mirror image; of numbered midpoints and of iBUG's points by the sets' own flip pairs."""
    from sapiens_bench.cards.catalog import Catalog

    spaces = Catalog.load().spaces
    for space in (spaces["goliath308"], spaces["coco-wholebody133"]):
        if name in space.names:
            return str(space.names[space.flip_index[space.names.index(name)]])
    raise SystemExit(f"{name} is in neither set")


def _both_sides(middle: Points, left: Points) -> Points:
    mirror = cKDTree(V * np.array([-1.0, 1, 1])).query(V)[1]
    out = dict(middle)
    for name, (vertices, weights) in left.items():
        other = mirrored_name(name)
        if other in out or other == name:
            raise SystemExit(f"{name}: its mirror image {other} is there already")
        out |= {name: (vertices, weights), other: (mirror[vertices], weights)}
    return out


def write(points: Points, path: Path) -> None:
    """CSV, in the order of the names of both sets."""
    from sapiens_bench.cards.catalog import Catalog

    spaces = Catalog.load().spaces
    names = dict.fromkeys([*spaces["coco-wholebody133"].names, *spaces["goliath308"].names])
    if strange := set(points) - set(names):
        raise SystemExit(f"unknown names: {sorted(strange)}")
    lines = [",".join(FIELDS)]
    for name in (n for n in names if n in points):
        vertices, weights = points[name]
        whole = np.rint(np.asarray(weights) * 10_000).astype(int)
        whole[whole.argmax()] += 10_000 - whole.sum()
        lines.append(",".join([name, *map(str, vertices.tolist()), *(f"{w / 10_000:.4f}" for w in whole)]))
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    points = face_points() | body_points()
    write(points, Path(__file__).parent.parent / "sapiens_bench" / "embedded" / FILE)
    print(f"{len(points)} points written; look at them: python tools/draw_face_points.py FOLDER")


if __name__ == "__main__":
    main()
