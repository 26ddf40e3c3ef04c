"""The plot of benches/peers: how many times faster lsbaws is, by group and peer."""

import html
import math
import statistics

WIDTH, ROW, TITLE, LEFT, RIGHT = 860, 22, 34, 300, 70
LEAST, MOST = 0.5, 64
COLOURS = {True: "#2f7d4f", False: "#b5563c"}


def draw(bars):
    """An SVG of (group, peer, ratios): a bar from 1 to the median on a logarithmic scale, with a line over the spread."""
    titles = list(dict.fromkeys(group for group, _, _ in bars))
    height = 40 + len(titles) * TITLE + len(bars) * ROW + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="16" font-weight="bold">lsbaws: requests per second, divided by those of</text>',
    ]
    for tick in (0.5, 1, 2, 4, 8, 16, 32, 64):
        at = scale(tick)
        colour = "#444" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="38" y2="{height - 8}" stroke="{colour}"/>')
        parts.append(f'<text x="{at:.1f}" y="34" text-anchor="middle" fill="#555">{tick:g}×</text>')
    y = 42
    for title in titles:
        y += TITLE
        parts.append(f'<text x="10" y="{y - 10}" font-weight="bold">{html.escape(title)}</text>')
        for _, peer, ratios in (bar for bar in bars if bar[0] == title):
            ratio = statistics.median(ratios)
            start, end = sorted((scale(1), scale(ratio)))
            middle = y + ROW / 2 - 4
            parts.append(f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(peer)}</text>')
            parts.append(
                f'<rect x="{start:.1f}" y="{y - 2}" width="{end - start:.1f}" height="{ROW - 6}"'
                f' fill="{COLOURS[ratio >= 1]}"/>'
            )
            parts.append(
                f'<line x1="{scale(min(ratios)):.1f}" x2="{scale(max(ratios)):.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
                ' stroke="black"/>'
            )
            label = max(end, scale(max(ratios))) + 6
            parts.append(f'<text x="{label:.1f}" y="{middle + 4:.1f}">{ratio:.2f}</text>')
            y += ROW
    return "\n".join([*parts, "</svg>\n"])


def scale(ratio):
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)
