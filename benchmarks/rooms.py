"""The rooms of robot_rl and the arrows between them, counted in the source; ``--draw FILE`` draws them.

    python benchmarks/rooms.py [--draw docs/rooms.svg] [ROOT]

A room is a folder or module right under ``ROOT/robot_rl``; an arrow goes from a room to another one that it imports,
lazily or not. Floors are numbered from below: a room stands one above the highest that it imports. Rooms that import
each other, in however many steps, stand on one floor.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import defaultdict
from pathlib import Path
from xml.sax.saxutils import escape

PACKAGE = "robot_rl"
WIDTH, HEIGHT = 118, 34  # [px] of a room
BETWEEN, STOREY = 34, 92  # [px] between rooms of a floor, and from floor to floor
FONT = "font-family='sans-serif' font-size='13'"


def arrows_of(root: Path) -> dict[str, set[str]]:
    """Room → the other rooms that it imports."""
    package = root / PACKAGE
    arrows: dict[str, set[str]] = {}
    for path in sorted(package.iterdir()):
        room = path.stem
        if room.startswith("_") or not (path.is_dir() or path.suffix == ".py"):
            continue
        files = path.rglob("*.py") if path.is_dir() else (path,)
        arrows[room] = {name for file in files for name in _imported(file)} - {room}
    return {room: theirs & set(arrows) for room, theirs in arrows.items()}


def _imported(file: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}


def floors_of(arrows: dict[str, set[str]]) -> dict[str, int]:
    """Room → its floor, counted from 0."""
    reach = {room: _reachable(room, arrows) for room in arrows}
    floors: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in floors:
            circle = {other for other in reach[room] if room in reach[other]} | {room}
            below = {name for member in circle for name in arrows[member]} - circle
            height = max((floor(name) + 1 for name in below), default=0)
            floors.update(dict.fromkeys(circle, height))
        return floors[room]

    for room in arrows:
        floor(room)
    return floors


def _reachable(room: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [room]
    while ahead:
        for name in arrows[ahead.pop()] - found:
            found.add(name)
            ahead.append(name)
    return found


def draw(arrows: dict[str, set[str]], floors: dict[str, int]) -> str:
    """An SVG: one row a floor, the lowest at the bottom."""
    rows: dict[int, list[str]] = defaultdict(list)
    for room in sorted(arrows):
        rows[floors[room]].append(room)
    widest = max(len(row) for row in rows.values())
    width = widest * (WIDTH + BETWEEN) + BETWEEN
    height = (max(rows) + 1) * STOREY
    places = {}
    for number, row in rows.items():
        left = (width - len(row) * (WIDTH + BETWEEN) + BETWEEN) / 2
        for i, room in enumerate(row):
            places[room] = (left + i * (WIDTH + BETWEEN), height - number * STOREY - HEIGHT - 24)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' {FONT}>",
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0L8 4L0 8z' fill='#667'/></marker></defs>",
        "<rect width='100%' height='100%' fill='#fff'/>",
    ]
    for room, theirs in sorted(arrows.items()):
        x, y = places[room]
        for other in sorted(theirs):
            u, v = places[other]
            parts.append(
                f"<path d='M{x + WIDTH / 2:.0f} {y + HEIGHT:.0f} C{x + WIDTH / 2:.0f} {y + HEIGHT + 34:.0f} "
                f"{u + WIDTH / 2:.0f} {v - 34:.0f} {u + WIDTH / 2:.0f} {v - 2:.0f}' fill='none' stroke='#99a' "
                "stroke-width='1.1' marker-end='url(#tip)'/>"
            )
    for room, (x, y) in sorted(places.items()):
        parts += [
            f"<rect x='{x:.0f}' y='{y:.0f}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='#eef3fa' stroke='#357'/>",
            f"<text x='{x + WIDTH / 2:.0f}' y='{y + 22:.0f}' text-anchor='middle' fill='#123'>{escape(room)}</text>",
        ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1], metavar="ROOT")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="write an SVG")
    arguments = parser.parse_args()
    arrows = arrows_of(arguments.root)
    floors = floors_of(arrows)
    mutual = sorted({tuple(sorted((a, b))) for a, theirs in arrows.items() for b in theirs if a in arrows[b]})
    counts = {"rooms": len(arrows), "floors": max(floors.values()) + 1, "arrows": sum(map(len, arrows.values()))}
    print(json.dumps({"benchmark": "rooms", **counts, "mutual": mutual}))
    if arguments.draw:
        arguments.draw.write_text(draw(arrows, floors), encoding="utf-8")


if __name__ == "__main__":
    main()
