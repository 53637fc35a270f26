#!/usr/bin/env python3
"""Draws what a terminal shows as an SVG picture.

    tmux capture-pane -p -e | docs/terminal/svg.py COLUMNS [ROWS] > picture.svg

Reads text with the SGR sequences of ECMA-48 (colours, bold, faint, reverse), which
`tmux capture-pane -e` writes. Without ROWS, the picture is as high as the text.
"""

import re
import sys
from html import escape

# The palette of xterm on a dark ground, as most terminals have it.
COLORS = [
    "#000000", "#cd3131", "#0dbc79", "#e5e510", "#4d90fe", "#bc3fbc", "#11a8cd", "#e5e5e5",
    "#767676", "#f14c4c", "#23d18b", "#f5f543", "#6cb0ff", "#d670d6", "#29b8db", "#ffffff",
]  # fmt: skip
INK, GROUND = "#d4d4d4", "#1e1e1e"
# A cell, in pixels.
WIDTH, HEIGHT, SIZE, MARGIN = 8.4, 17, 14, 10
# Glyphs that are drawn as rectangles, because fonts leave gaps between them.
EIGHTHS = "▁▂▃▄▅▆▇█"
SGR = re.compile(r"\x1b\[([0-9;]*)m")
OTHER = re.compile(r"\x1b(\][^\x07]*\x07|[\[\(][0-9;?]*[A-Za-z])")


class Style:
    """What the sequences so far ask for."""

    def __init__(self):
        self.ink, self.ground = None, None
        self.bold = self.faint = self.reverse = False

    def apply(self, codes):
        codes = [int(code or 0) for code in codes.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.faint = True
            elif code == 7:
                self.reverse = True
            elif code == 22:
                self.bold = self.faint = False
            elif code == 27:
                self.reverse = False
            elif 30 <= code <= 37:
                self.ink = COLORS[code - 30]
            elif 90 <= code <= 97:
                self.ink = COLORS[code - 82]
            elif code == 39:
                self.ink = None
            elif 40 <= code <= 47:
                self.ground = COLORS[code - 40]
            elif code == 49:
                self.ground = None
            elif code in (38, 48) and codes[:1] == [5]:
                index = codes[1]
                del codes[:2]
                color = COLORS[index] if index < 16 else INK
                if code == 38:
                    self.ink = color
                else:
                    self.ground = color

    def colors(self):
        ink, ground = self.ink or INK, self.ground or GROUND
        return (ground, ink) if self.reverse else (ink, ground)


def runs(line, style):
    """Text of one style each, with the column that it begins at."""
    column = 0
    for at, part in enumerate(SGR.split(OTHER.sub(lambda it: it[0] if SGR.match(it[0]) else "", line))):
        if at % 2:
            style.apply(part)
        elif part:
            yield column, part, style.colors(), style.bold, style.faint
            column += len(part)


def draw(lines, columns, rows):
    width = columns * WIDTH + 2 * MARGIN
    height = rows * HEIGHT + 2 * MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="DejaVu Sans Mono, Menlo, Consolas, '
        f'monospace" font-size="{SIZE}">'
    )
    yield f'<rect width="100%" height="100%" rx="6" fill="{GROUND}"/>'
    style = Style()
    for row, line in enumerate(lines[:rows]):
        top = MARGIN + row * HEIGHT
        for column, text, (ink, ground), bold, faint in runs(line, style):
            left = MARGIN + column * WIDTH
            if ground != GROUND:
                yield (
                    f'<rect x="{left:g}" y="{top:g}" width="{len(text) * WIDTH:g}" '
                    f'height="{HEIGHT}" fill="{ground}"/>'
                )
            for offset, glyph in enumerate(text):
                x = left + offset * WIDTH
                if glyph in EIGHTHS:
                    part = HEIGHT * (EIGHTHS.index(glyph) + 1) / 8
                    yield (
                        f'<rect x="{x:g}" y="{top + HEIGHT - part:g}" width="{WIDTH:g}" '
                        f'height="{part:g}" fill="{ink}"/>'
                    )
                elif glyph == "─":
                    yield (
                        f'<rect x="{x:g}" y="{top + HEIGHT / 2:g}" width="{WIDTH:g}" '
                        f'height="1" fill="{ink}"/>'
                    )
            for word in re.finditer(r"[^\s─▁-█]+(?: [^\s─▁-█]+)*", text):
                extra = (' font-weight="bold"' if bold else "") + (' opacity="0.6"' if faint else "")
                yield (
                    f'<text x="{left + word.start() * WIDTH:g}" y="{top + HEIGHT - 4:g}" '
                    f'textLength="{len(word[0]) * WIDTH:g}" fill="{ink}"{extra} '
                    f'xml:space="preserve">{escape(word[0])}</text>'
                )
    yield "</svg>"


def main():
    lines = sys.stdin.read().rstrip("\n").split("\n")
    columns = int(sys.argv[1])
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else len(lines)
    print("\n".join(draw(lines, columns, rows)))


if __name__ == "__main__":
    main()
