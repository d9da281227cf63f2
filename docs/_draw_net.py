"""A net as an SVG drawing in the manner of the papers, every size read from the net itself.

Maps are drawn to one scale and unit layers to another. Colours are the page's own (`site.css`), so
that one drawing serves light and dark.
"""

from dataclasses import dataclass
from html import escape

from torch import nn

from classicnets.layer_table import LayerRow, summary

_TALLEST = 128  # pixels of the largest map, and of the longest unit layer
_DEEPEST = 64  # pixels of the thickest pile of maps
_LEAN = (0.7, -0.45)  # where the back of a pile goes, per pixel of thickness
_SHEETS_FROM = 2.5  # pixels per map from which each map is drawn by itself
_COLUMN, _GAP, _BAR = 64, 26, 9
_MOST_COLUMNS = 9  # with more of them, pools are written and not drawn
_WORDS = {
    "AvgPool2d": "mean",
    "MaxPool2d": "max",
    "Conv2d": "conv",
    "TableConv2d": "conv by table",
    "UnitBiasConv2d": "conv",
    "Subsample2d": "subsample",
    "Linear": "full",
    "RBFOutput": "distances",
    "AdaptiveAvgPool2d": "mean",
}


@dataclass(frozen=True)
class _Block:
    """What one layer makes: a pile of maps, or where `side` is 1 a row of units."""

    name: str
    made_by: tuple[str, ...]
    maps: int
    side: int
    window: int = 0  # pixels of the block before that one unit reads; 0 for all of it
    towers: int = 1  # piles that stand apart
    groups: int = 1  # of the convolution that makes it


def draw(model: nn.Module) -> str:
    """Draw a net of this library."""
    blocks = _blocks(model)
    scale = _TALLEST / max(block.side for block in blocks)
    thickness = min(5.0, _DEEPEST / max(block.maps for block in blocks if block.side > 1))
    longest = max(block.maps // block.towers for block in blocks if block.side == 1)
    two = max(block.towers for block in blocks)
    middle = (_TALLEST / 2 + 16) * (1 if two == 1 else 1.3)
    bottom = 2 * middle + 10
    gap = _GAP if len(blocks) < _MOST_COLUMNS else _GAP / 2
    parts: list[str] = []
    lines: list[str] = []
    before: list[_Face] = []
    right = 6.0
    for number, block in enumerate(blocks):
        faces = [_face(block, right, y, scale, thickness, longest) for y in _heights(block, middle)]
        wide = faces[0].side_x + (faces[0].lean_x if block.side > 1 else 0)
        shift = max(0.0, (_COLUMN - wide) / 2)
        faces = [face.moved(shift) for face in faces]
        for face in faces:
            parts += face.shapes
        for i, target in enumerate(faces):
            if block.groups > 1 or len(before) == 1:
                lines += _rays(before[i % len(before)], target, block, scale)
            else:
                for source in before:
                    lines += _rays(source, target, block, scale)
        centre = right + max(wide, _COLUMN) / 2
        size = f"{block.maps}" if block.side == 1 else f"{block.maps} @ {block.side}x{block.side}"
        parts.append(_text(centre, bottom, block.name, "name"))
        parts.append(_text(centre, bottom + 16, size, "size"))
        for row, word in enumerate(block.made_by):
            parts.append(_text(centre, bottom + 36 + 14 * row, word, "how"))
        before = faces
        right += max(wide, _COLUMN) + (gap if number + 1 < len(blocks) else 6)
    most = max(len(block.made_by) for block in blocks)
    tall = bottom + 30 + 14 * most
    said = ", ".join(f"{block.name} {block.maps} x {block.side} x {block.side}" for block in blocks)
    return "\n".join(
        [
            f'<div class="drawing"><svg viewBox="0 0 {right:.0f} {tall:.0f}" role="img" '
            f'style="min-width:{right * 0.8:.0f}px;max-width:{right * 1.15:.0f}px" '
            f'aria-label="{escape(type(model).__name__)}: {escape(said)}">',
            *parts,
            *lines,
            "</svg></div>",
        ]
    )


def _blocks(model: nn.Module) -> list[_Block]:
    rows = [row for row in summary(model).rows if row.type in _WORDS]
    merge = len(rows) >= _MOST_COLUMNS
    groups = [getattr(model.get_submodule(row.name), "groups", 1) for row in rows]
    towers = max(groups)
    groups = [  # a pool never mixes maps
        towers if "Pool" in row.type else number for row, number in zip(rows, groups, strict=True)
    ]
    maps, side, _ = model.input_shape
    blocks = [_Block("input", (), maps, side)]
    pooled: list[tuple[int, int]] = []  # window and stride of the pools since the last block
    words: list[str] = []
    for number, row in enumerate(rows):
        layer = model.get_submodule(row.name)
        maps, side = row.output_shape[0], (*row.output_shape, 1)[1]
        last = number + 1 == len(rows)
        next_is_unit = not last and len(rows[number + 1].output_shape) == 1
        window = _one(getattr(layer, "kernel_size", 0))
        words += _words(row, layer, window)
        if merge and "Pool" in row.type and not next_is_unit:
            pooled.append((window, _one(layer.stride)))
            continue
        if row.type == "AdaptiveAvgPool2d" and blocks[-1].side == side:
            words = words[: -len(_words(row, layer, window))]
            continue
        for size, stride in reversed(pooled):
            window = (window - 1) * stride + size
        name = row.name.rsplit(".", 1)[-1]
        name = "" if name.isdigit() else name.upper() if len(name) == 2 else name
        apart = 1 if last else towers
        blocks.append(
            _Block(name, tuple(words), maps, side, window if side > 1 else 0, apart, groups[number])
        )
        pooled, words = [], []
    return blocks


def _words(row: LayerRow, layer: nn.Module, window: int) -> list[str]:
    words = [_WORDS[row.type]]
    if row.type == "AdaptiveAvgPool2d":
        return words
    if window:
        words[-1] += f" {window}x{window}" if len(words[-1]) < 6 else ""
        if len(_WORDS[row.type]) >= 6:
            words.append(f"{window}x{window}")
        stride = _one(getattr(layer, "stride", 1))
        if stride not in (1, window):
            words.append(f"stride {stride}")
    return words


def _one(value: int | tuple[int, int]) -> int:
    return value[0] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class _Face:
    """The front of a drawn block and the shapes that make all of it."""

    x: float
    y: float
    side_x: float
    side_y: float
    lean_x: float
    lean_y: float
    shapes: tuple[str, ...]

    def moved(self, shift: float) -> "_Face":
        group = (f'<g transform="translate({shift:.1f} 0)">', *self.shapes, "</g>")
        return _Face(
            self.x + shift, self.y, self.side_x, self.side_y, self.lean_x, self.lean_y, group
        )


def _heights(block: _Block, middle: float) -> list[float]:
    """The middles of a block's piles, from the top."""
    if block.towers == 1:
        return [middle]
    return [middle - _TALLEST * 0.42, middle + _TALLEST * 0.42]


def _face(
    block: _Block, x: float, middle: float, scale: float, thickness: float, longest: int
) -> _Face:
    maps = block.maps // block.towers
    if block.side == 1:
        tall = max(4.0, _TALLEST * maps / longest * (1 if block.towers == 1 else 0.6))
        bar = _box("unit", x, middle - tall / 2, _BAR, tall)
        return _Face(x, middle - tall / 2, _BAR, tall, 0, 0, (bar,))
    side = block.side * scale
    deep_x, deep_y = (maps * thickness * lean for lean in _LEAN)
    y = middle - side / 2 - deep_y / 2
    if thickness >= _SHEETS_FROM or maps <= 3:
        steps = range(maps - 1, -1, -1)
        shapes = [
            _box("map", x + deep_x * i / maps, y + deep_y * i / maps, side, side) for i in steps
        ]
    else:
        top = [(x, y), (x + deep_x, y + deep_y), (x + side + deep_x, y + deep_y), (x + side, y)]
        flank = [top[3], top[2], (top[2][0], top[2][1] + side), (x + side, y + side)]
        shapes = [_polygon(top), _polygon(flank), _box("map", x, y, side, side)]
    return _Face(x, y, side, side, deep_x, deep_y, tuple(shapes))


def _rays(source: _Face, target: _Face, block: _Block, scale: float) -> list[str]:
    """From what one unit reads to that unit; from a whole layer to a whole layer otherwise."""
    if not block.window:
        starts = (source.y, source.y + source.side_y)
        ends = (target.y, target.y + target.side_y)
        return [
            _line(source.x + source.side_x, start, target.x, end)
            for start, end in zip(starts, ends, strict=True)
        ]
    window = min(block.window * scale, source.side_x)
    at = 0.62
    left = source.x + (source.side_x - window) * at
    top = source.y + (source.side_y - window) * at
    unit_x, unit_y = target.x + target.side_x * at, target.y + target.side_y * at
    return [
        _box("window", left, top, window, window),
        _line(left + window, top, unit_x, unit_y),
        _line(left + window, top + window, unit_x, unit_y),
    ]


def _box(kind: str, x: float, y: float, wide: float, tall: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'


def _polygon(corners: list[tuple[float, float]]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polygon class="edge" points="{points}"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="ray" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
