"""Draws docs/cost.svg: microseconds a token against the length of the messages, batches of about 256 tokens, one core.

cost_plot.py [--kernel w8a16-amx] [--criterion target/criterion] [--out docs/cost.svg]

Reads what `cargo bench --profile release --bench encoder` left. Beside the measured passes stand the linear part (the pass of short messages without its attention) plus
the attention as it was measured by itself; the largest difference between the two is printed. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LAYERS = 6
# Messages and their tokens.
SHAPES = ((16, 15), (8, 32), (4, 64), (2, 128), (1, 256))
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 60, 20, 40, 50


def main() -> None:
    """Reads, compares, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--kernel", default="w8a16-amx")
    parser.add_argument("--criterion", type=Path, default=root / "target" / "criterion")
    parser.add_argument("--out", type=Path, default=root / "docs" / "cost.svg")
    arguments = parser.parse_args()

    def microseconds(name: str) -> float:
        """Of one call."""
        estimates = json.loads((arguments.criterion / name / "new" / "estimates.json").read_text(encoding="utf-8"))
        return estimates["median"]["point_estimate"] / 1e3

    passes, attention = {}, {}
    for count, tokens in SHAPES:
        of = f"{count}x{tokens}"
        passes[tokens] = microseconds(f"pass/{arguments.kernel}/{of}") / (count * tokens)
        attention[tokens] = LAYERS * microseconds(f"step/Attend/{of}") / (count * tokens)
    shortest = min(passes)
    linear = passes[shortest] - attention[shortest]
    expected = {tokens: linear + of for tokens, of in attention.items()}
    for tokens in passes:
        print(f"{tokens} tokens: {passes[tokens]:.1f} us a token, of it attention {attention[tokens]:.1f}; linear part and attention {expected[tokens]:.1f}")
    worst = max(abs(passes[tokens] / expected[tokens] - 1) for tokens in passes)
    print(f"largest difference {100 * worst:.0f} %")
    arguments.out.write_text(drawn(passes, expected, linear, arguments.kernel), encoding="utf-8")


def drawn(passes: dict[int, float], expected: dict[int, float], linear: float, kernel: str) -> str:
    """The plot."""
    most_tokens, most = max(passes), 10 * (int(max(*passes.values(), *expected.values()) / 10) + 1)

    def at(tokens: float, cost: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * tokens / most_tokens
        return f"{x:.1f},{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * cost / most:.1f}"

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{LEFT}" y="20">Microseconds a token on one core ({kernel}), batches of about 256 tokens</text>']
    for cost in range(0, most + 1, 10):
        start, end = at(0, cost), at(most_tokens, cost)
        lines.append(f'<path d="M{start} L{end}" stroke="#ddd"/><text x="{LEFT - 8}" y="{float(start.split(",")[1]) + 4}" text-anchor="end">{cost}</text>')
    for tokens in passes:
        x = at(tokens, 0).split(",")[0]
        lines.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tokens}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">tokens of a message</text>')
    flat = {tokens: linear for tokens in passes}
    for points, colour, dash, name, y in ((passes, "#0b6", "", "measured", 60), (expected, "#06b", "6 4", "linear part and attention", 76), (flat, "#999", "2 3", "linear part", 92)):
        path = " L".join(at(tokens, cost) for tokens, cost in points.items())
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        lines.append(f'<path d="M{LEFT + 20},{y - 4} h30" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/><text x="{LEFT + 56}" y="{y}">{name}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
