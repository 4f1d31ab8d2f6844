#!/usr/bin/env python3
"""Draws each note of this folder as an agent would see it, 1280 and 400 pixels wide.

The pages are near to the helpdesks, not copies of them: the private note's box with its colour, font and the rules for headings and lists. Chatwoot's
Markdown is read as Chatwoot does, with links made of whatever looks like one (markdown-it with linkify), so that a link that a customer planted would show.

Needs Chromium (Debian: chromium) and the Python packages markdown-it-py, linkify-it-py and Pillow. CHROMIUM names another browser.
"""

import html
import os
import pathlib
import re
import subprocess
import tempfile

from markdown_it import MarkdownIt
from PIL import Image, ImageChops

HERE = pathlib.Path(__file__).resolve().parent
WIDTHS = (1280, 400)
# Pixels; what is empty below the note is cut away.
HEIGHT = 2400
# Chromium makes no window narrower.
NARROWEST = 500

# Name, who writes, the note's colour, its border, font size in pixels, rules of its own.
HELPDESKS = {
    "zendesk": ("Zendesk", "Internal note", "#fff8ed", "#f5d5a9", 14, "h4 { font-size: 14px }"),
    "freshdesk": ("Freshdesk", "added a private note", "#fef5e7", "#f8d9a0", 13, "h4 { font-size: 15px }"),
    "intercom": ("Intercom", "Note", "#fff4d1", "#fbe7a1", 14, "h2 { font-size: 16px }"),
    "chatwoot": ("Chatwoot", "Private note", "#fff7d6", "#f1df9b", 14, "h3 { font-size: 16px }"),
    "zammad": ("Zammad", "internal", "#fdf6e3", "#f39804", 14, "h4 { font-size: 16px }"),
}

PAGE = """<!doctype html><meta charset="utf-8"><style>
html, body {{ margin: 0; background: #f3f4f6 }}
body {{ width: {width}px; font: {size}px/1.45 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: #1f2933 }}
main {{ padding: 16px }}
.by {{ margin: 0 0 6px; font-size: 12px; color: #616e7c }}
.by b {{ color: #1f2933 }}
.note {{ max-width: 820px; box-sizing: border-box; background: {colour}; border: 1px solid {border}; border-radius: 8px; padding: 12px 16px; overflow-wrap: anywhere }}
.note p {{ margin: 0 0 8px }}
h2, h3, h4 {{ margin: 12px 0 4px; line-height: 1.3 }}
ul {{ margin: 0 0 8px; padding-left: 20px }}
li {{ margin: 1px 0 }}
a {{ color: #c00; font-weight: bold }}
{rules}
</style><main><p class="by"><b>Baton</b> · {kind} · {name}</p><div class="note">{note}</div></main>"""


def body_of(helpdesk):
    """The note as HTML."""
    if helpdesk == "chatwoot":
        markdown = (HERE / "chatwoot.md").read_text(encoding="utf-8")
        reader = MarkdownIt("default", {"html": False, "linkify": True, "typographer": True, "breaks": True})
        return reader.enable(["linkify", "replacements", "smartquotes"]).render(markdown)
    return (HERE / f"{helpdesk}.html").read_text(encoding="utf-8")


def page_of(helpdesk, width):
    name, kind, colour, border, size, rules = HELPDESKS[helpdesk]
    note = body_of(helpdesk)
    if re.search(r"<(a|img|script|iframe)\b", note):
        raise SystemExit(f"{helpdesk}: the note has a link or worse")
    look = {"colour": colour, "border": border, "size": size, "rules": rules}
    return PAGE.format(width=width, name=html.escape(name), kind=html.escape(kind), note=note, **look)


def without_empty_end(picture, width):
    """Cut to the width, and below the note."""
    picture = picture.convert("RGB").crop((0, 0, width, picture.height))
    background = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    box = ImageChops.difference(picture, background).getbbox()
    return picture.crop((0, 0, width, min(picture.height, box[3] + 16)))


def draw(helpdesk, width, folder):
    page, raw = folder / "page.html", folder / "raw.png"
    page.write_text(page_of(helpdesk, width), encoding="utf-8")
    browser = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars"]
    window = [f"--window-size={max(width, NARROWEST)},{HEIGHT}", f"--user-data-dir={folder}", f"--screenshot={raw}"]
    subprocess.run([*browser, *window, page.as_uri()], check=True, stderr=subprocess.DEVNULL)
    picture = without_empty_end(Image.open(raw), width)
    # 32 colours are enough for text on paper, and small.
    picture.quantize(32).save(HERE / f"{helpdesk}-{width}.png", optimize=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for helpdesk in HELPDESKS:
            for width in WIDTHS:
                draw(helpdesk, width, pathlib.Path(folder))


if __name__ == "__main__":
    main()
