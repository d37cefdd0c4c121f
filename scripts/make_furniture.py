"""Make pixelis_env/rooms/assets/furniture.npz from Sweet Home 3D's CC0 furniture set.

Needs Pixelis itself, ``BlendSwap-CC-0.sh3f`` (Debian package ``sweethome3d-furniture``) and
``fast-simplification`` (only here; the environment itself does not use it):

    apt-get install sweethome3d-furniture && pip install fast-simplification
    python scripts/make_furniture.py /usr/share/sweethome3d/furniture/BlendSwap-CC-0.sh3f

Every model is turned to z up with its front along -y, scaled to a unit box (its true size is
stored beside it), reduced by quadric edge collapse one material at a time, and coloured per face.
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pixelis_env.rooms.mesh import corner_normals

ASSETS = Path(__file__).resolve().parents[1] / "pixelis_env" / "rooms" / "assets"


@dataclass(frozen=True)
class Pick:
    """One model to take.

    Attributes:
        catalog: Its number in the set's catalogue.
        category: What we call it.
        faces: Triangles to keep, about.
        tint: Ranks of the materials (by area) that take the object's colour; () = none does.
        sampled: Colour each face from the texture image rather than by the image's mean.
    """

    catalog: int
    category: str
    faces: int
    tint: tuple[int, ...] = (0,)
    sampled: bool = False


PICKS = {
    "chair_banquet": Pick(114, "chair", 620),
    "chair_shell": Pick(31, "chair", 700),
    "chair_padded": Pick(93, "chair", 500),
    "chair_osaka": Pick(125, "chair", 560),
    "chair_cafe": Pick(171, "chair", 800, (0, 1)),
    "chair_tulip": Pick(79, "chair", 560, (0, 1)),
    "chair_office": Pick(1, "office chair", 900, (0, 2)),
    "armchair_round": Pick(86, "armchair", 700),
    "armchair_club": Pick(139, "armchair", 900, (0, 1, 2, 3)),
    "table_dining": Pick(134, "table", 520, (0, 1)),
    "table_round": Pick(27, "table", 800),
    "table_cloth": Pick(48, "table", 500),
    "desk_study": Pick(75, "desk", 700),
    "desk_plain": Pick(152, "desk", 1100),
    "sofa_two": Pick(132, "sofa", 800),
    "sofa_club": Pick(140, "sofa", 1100, (0, 1, 2, 3)),
    "sofa_corner": Pick(112, "corner sofa", 700),
    "bed_wood": Pick(3, "bed", 1300, (1, 3, 4)),
    "bed_wide": Pick(88, "bed", 1200),
    "bed_check": Pick(5, "bed", 1100),
    "bedside_table": Pick(4, "bedside table", 290),
    "bookcase_tall": Pick(6, "bookcase", 700),
    "shelf_cube": Pick(39, "shelf", 500, (0, 1, 2)),
    "shelf_narrow": Pick(61, "shelf", 500),
    "wardrobe": Pick(68, "wardrobe", 400, (0, 1, 2)),
    "cupboard": Pick(74, "cupboard", 800, ()),
    "cabinet_drawers": Pick(144, "cabinet", 400, (0, 1, 3, 5)),
    "cabinet_lower": Pick(153, "cabinet", 300, (0, 1, 3, 5)),
    "cabinet_sink": Pick(165, "sink", 800, (0, 1, 4)),
    "oven": Pick(28, "oven", 700, ()),
    "fridge_double": Pick(151, "refrigerator", 700, (0, 1)),
    "fridge_french": Pick(128, "refrigerator", 900),
    "toilet": Pick(57, "toilet", 900),
    "washbasin": Pick(62, "washbasin", 1100),
    "tv": Pick(22, "tv", 500, ()),
    "whiteboard": Pick(63, "whiteboard", 700, ()),
    "piano": Pick(30, "piano", 1100, ()),
    "bench": Pick(103, "bench", 400),
    "stool_bar": Pick(168, "stool", 400),
    "stool_shop": Pick(42, "stool", 600),
    "bin": Pick(115, "trash bin", 500),
    "crate": Pick(73, "crate", 500, ()),
    "barrel": Pick(72, "barrel", 500, (), True),
    "tray_box": Pick(105, "box", 500),
    "radiator": Pick(34, "radiator", 900),
    "speaker": Pick(44, "speaker", 500, ()),
    "lamp_desk": Pick(15, "lamp", 600, ()),
    "plant_small": Pick(77, "plant", 700, (), True),
    "plant_tall": Pick(126, "plant", 1400, (), True),
    "cactus": Pick(107, "cactus", 700, ()),
    "basketball": Pick(78, "ball", 400),
    "teddy": Pick(51, "teddy bear", 800),
    "guitar": Pick(76, "guitar", 1000),
    "rocking_horse": Pick(8, "rocking horse", 800, (), True),
    "extinguisher": Pick(82, "fire extinguisher", 700, (), True),
    "fan": Pick(47, "fan", 1000, ()),
    "coffee_maker": Pick(111, "coffee maker", 700, (2,)),
    "milk": Pick(53, "milk carton", 300, (), True),
    "handbag": Pick(120, "handbag", 600),
    "briefcase": Pick(106, "briefcase", 700),
    "cup_paper": Pick(32, "cup", 300, (1,)),
    "bottle": Pick(64, "bottle", 400),
    "headphones": Pick(69, "headphones", 600),
    "boots": Pick(141, "boots", 500),
    "potty": Pick(84, "potty", 400),
}


def catalog(archive: zipfile.ZipFile) -> dict[int, dict[str, str]]:
    """The set's catalogue: number -> fields."""
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
    rows: dict[int, dict[str, str]] = {}
    for name, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\r?$", text, re.M):
        rows.setdefault(int(number), {})[name] = value
    return rows


@dataclass
class Material:
    """A colour 0..1 and, where it has one, its texture image."""

    rgb: np.ndarray
    image: np.ndarray | None = None
    opacity: float = 1.0


def materials(archive: zipfile.ZipFile, folder: str, name: str) -> dict[str, Material]:
    """Read an MTL file; a texture's mean takes the place of the diffuse colour."""
    found: dict[str, Material] = {}
    current = Material(np.full(3, 0.7))
    for line in archive.read(f"{folder}/{name}").decode("latin-1").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "newmtl":
            current = found[line.split(None, 1)[1].strip()] = Material(np.full(3, 0.7))
        elif words[0] == "Kd":
            current.rgb = np.array([float(w) for w in words[1:4]])
        elif words[0] == "d":
            current.opacity = float(words[-1])
        elif words[0] == "map_Kd":
            path = f"{folder}/{line.split(None, 1)[1].strip()}"
            if path not in archive.namelist():
                continue
            data = archive.read(path)
            image = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), float) / 255
            weight = image[..., 3:] + 1e-6
            current.rgb = (image[..., :3] * weight).sum((0, 1)) / weight.sum()
            current.image = image[..., :3]
    return found


def read_obj(
    archive: zipfile.ZipFile, path: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int], list[Material]]:
    """Triangles of an OBJ file.

    Returns:
        Vertices (V, 3), faces (F, 3), texture coordinates (F, 3, 2; NaN where absent), the
        material number of each face, and the materials.
    """
    folder = path.rsplit("/", 1)[0]
    points: list[list[float]] = []
    coords: list[list[float]] = []
    faces: list[list[int]] = []
    uvs: list[list[list[float]]] = []
    owner: list[int] = []
    library: dict[str, Material] = {}
    order: list[str] = []
    current = 0
    for line in archive.read(path).decode("latin-1").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            points.append([float(w) for w in words[1:4]])
        elif words[0] == "vt":
            coords.append([float(w) for w in words[1:3]])
        elif words[0] == "mtllib":
            library.update(materials(archive, folder, line.split(None, 1)[1].strip()))
        elif words[0] == "usemtl":
            name = line.split(None, 1)[1].strip()
            if name not in order:
                order.append(name)
            current = order.index(name)
        elif words[0] == "f":
            corner, tex = [], []
            for word in words[1:]:
                part = word.split("/")
                at = int(part[0])
                corner.append(at - 1 if at > 0 else len(points) + at)
                if len(part) > 1 and part[1]:
                    at = int(part[1])
                    tex.append(coords[at - 1 if at > 0 else len(coords) + at])
                else:
                    tex.append([np.nan, np.nan])
            for k in range(1, len(corner) - 1):
                faces.append([corner[0], corner[k], corner[k + 1]])
                uvs.append([tex[0], tex[k], tex[k + 1]])
                owner.append(current)
    used = [library.get(name, Material(np.full(3, 0.7))) for name in order]
    return np.array(points), np.array(faces), np.array(uvs), owner, used


def weld(
    points: np.ndarray, faces: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge vertices within a cell (m); drop the faces that vanish and unused vertices.

    Returns:
        Vertices, faces and the numbers of the faces kept.
    """
    key = np.round(points / cell).astype(np.int64)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    kept = np.nonzero(
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )[0]
    used, compact = np.unique(faces[kept], return_inverse=True)
    return points[first][used], compact.reshape(-1, 3), kept


def shrink(points: np.ndarray, faces: np.ndarray, goal: int) -> tuple[np.ndarray, np.ndarray]:
    """Reduce one part to about `goal` faces: edge collapse, after welding where it gets stuck."""
    import fast_simplification

    span = float(np.ptp(points, 0).max())
    for cells in (4000, 250, 120, 60):
        some, tri, _ = weld(points, faces, span / cells)
        if len(tri) > goal:
            some, tri = fast_simplification.simplify(
                some.astype(np.float32), tri.astype(np.int32), target_count=goal, agg=4.0
            )
        if len(tri) <= 1.25 * goal:
            break
    return np.asarray(some, float), np.asarray(tri)


def face_colors(
    uvs: np.ndarray, owner: np.ndarray, used: list[Material], sampled: bool
) -> np.ndarray:
    """Colour of each face, 0..1 (F, 3)."""
    colors = np.array([m.rgb for m in used])[owner]
    if not sampled:
        return colors
    grid = [(a / 6, b / 6) for a in range(1, 6) for b in range(1, 6 - a)]
    weights = np.array([[1 - a - b, a, b] for a, b in grid])
    for number, material in enumerate(used):
        rows = np.nonzero((owner == number) & ~np.isnan(uvs).any((1, 2)))[0]
        if material.image is None or not len(rows):
            continue
        at = np.einsum("wk,fkc->fwc", weights, uvs[rows]) % 1.0
        high, wide = material.image.shape[:2]
        texel = material.image[
            np.minimum((1 - at[..., 1]) * high, high - 1).astype(int),
            np.minimum(at[..., 0] * wide, wide - 1).astype(int),
        ]
        colors[rows] = texel.mean(1)
    return colors


def reduce_model(
    archive: zipfile.ZipFile, row: dict[str, str], pick: Pick
) -> dict[str, np.ndarray]:
    """One catalogue model as small arrays."""
    points, faces, uvs, owner_list, used = read_obj(archive, row["model"].lstrip("/"))
    owner = np.array(owner_list)
    if "modelRotation" in row:
        turn = np.array([float(w) for w in row["modelRotation"].split()]).reshape(3, 3)
        points = points @ turn.T
    points = np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1)
    size = np.array([float(row[k]) for k in ("width", "depth", "height")]) / 100
    low, high = points[faces].min((0, 1)), points[faces].max((0, 1))
    points = (points - (low + high) / 2) / (high - low)
    metric = points * size
    # Panes of glass would hide what stands behind them: the renderer has no transparency.
    keep = np.array([m.opacity for m in used])[owner] >= 0.5
    faces, uvs, owner = faces[keep], uvs[keep], owner[keep]
    colors = face_colors(uvs, owner, used, pick.sampled)
    share = min(1.0, pick.faces / len(faces))
    out_points, out_faces, out_colors, out_owner = [], [], [], []
    base = 0
    for number in np.unique(owner):
        rows = np.nonzero(owner == number)[0]
        part_points, part_faces, kept = weld(metric, faces[rows], 2e-5)
        rows = rows[kept]
        old_center = part_points[part_faces].mean(1)
        if share < 1 and len(part_faces) > 24:
            goal = max(12, round(len(part_faces) * share))
            part_points, part_faces = shrink(part_points, part_faces, goal)
        if not len(part_faces):
            continue
        center = part_points[part_faces].mean(1)
        nearest = np.array([((old_center - c) ** 2).sum(1).argmin() for c in center])
        out_points.append(part_points)
        out_faces.append(part_faces + base)
        out_colors.append(colors[rows][nearest])
        out_owner.append(np.full(len(part_faces), number))
        base += len(part_points)
    metric, faces = np.concatenate(out_points), np.concatenate(out_faces)
    color, owner = np.concatenate(out_colors), np.concatenate(out_owner)
    normals = corner_normals(metric, faces)
    unit = metric / size
    low, high = unit[faces].min((0, 1)), unit[faces].max((0, 1))
    unit = ((unit - (low + high) / 2) / (high - low)).clip(-0.5, 0.5)
    tri = metric[faces]
    area = np.linalg.norm(np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]), axis=1)
    ranked = sorted(np.unique(owner), key=lambda m: -area[owner == m].sum())
    tint = np.isin(owner, [ranked[k] for k in pick.tint if k < len(ranked)])
    return {
        "size": size * (high - low),
        "points": np.round((unit + 0.5) * 65535).astype(np.uint16),
        "faces": faces.astype(np.uint16),
        "colors": np.round(color.clip(0, 1) * 255).astype(np.uint8),
        "tint": tint,
        "normals": np.round(normals * 127).astype(np.int8),
    }


def main() -> None:
    """Reduce every pick and write the npz and its table of provenance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sh3f", type=Path, help="path of BlendSwap-CC-0.sh3f")
    parser.add_argument("--out", type=Path, default=ASSETS / "furniture.npz")
    args = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    names, categories, table = [], [], []
    with zipfile.ZipFile(args.sh3f) as archive:
        rows = catalog(archive)
        for name, pick in PICKS.items():
            row = rows[pick.catalog]
            model = reduce_model(archive, row, pick)
            for key, value in model.items():
                arrays[f"{name}/{key}"] = value
            names.append(name)
            categories.append(pick.category)
            size = " x ".join(f"{v * 100:.0f}" for v in model["size"])
            table.append(
                f"| {name} | {pick.category} | {row['name']} (`{row['id']}`) | {row['creator']} "
                f"| {size} | {len(model['faces'])} |"
            )
            print(table[-1])
    arrays["names"], arrays["categories"] = np.array(names), np.array(categories)
    np.savez_compressed(args.out, **arrays)
    faces = sum(len(arrays[f"{n}/faces"]) for n in names)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {len(names)} models, {faces} faces")
    text = (ASSETS / "PROVENANCE.md").read_text()
    head = text.split("<!-- table -->")[0]
    lines = [
        "| model | category | source model | creator | size, cm | triangles |",
        "|---|---|---|---|---|---|",
        *table,
    ]
    (ASSETS / "PROVENANCE.md").write_text(head + "<!-- table -->\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
