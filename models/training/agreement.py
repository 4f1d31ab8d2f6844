"""How often a message gets the labels that f32 gives it, with two bytes and with one an activation.

agreement.py --data DATA --out OUT [--baton PROGRAM]

All engines score the same files with `baton score`; OUT receives `agreement.json`: for each file and head, rows that all answered and for each engine the share of them
with the label of f32 (for emotions the same set of labels). Standard library only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

FILES = ("intent_natcs", "intent_hint3", "intent_rasa_helpdesk", "banking77", "sentiment_semeval2017")
ENGINES = ("w8a16", "int8")
# Rows of each file, from its first.
ROWS_MAX = 3000


def answers(baton: Path, table: Path, engine: str, folder: Path) -> list[dict]:
    """One object of signals a row."""
    scored = folder / f"{engine}.jsonl"
    subprocess.run([baton, "score", "--engine", engine, "--input", table, "--text-column", "text", "--output", scored], check=True, stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]


def label(row: dict, head: str) -> object:
    """The label of a head, its set of emotions, or None where it gave none for want of language or text."""
    said = row["baton"].get(head)
    if not isinstance(said, dict) or "absent" in said:
        return None
    return tuple(said["present"]) if "present" in said else (said.get("label"),)


def main() -> None:
    """Writes agreement.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for the figures")
    parser.add_argument("--baton", type=Path, default=Path(__file__).resolve().parent.parent.parent / "target" / "release" / "baton", metavar="PROGRAM")
    arguments = parser.parse_args()
    found: dict[str, dict] = {}
    for name in FILES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            lines = (arguments.data / "eval" / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
            table = folder / "rows.csv"
            table.write_text("".join(lines[: ROWS_MAX + 1]), encoding="utf-8")
            scored = [answers(arguments.baton, table, engine, folder) for engine in ("candle", *ENGINES)]
        for head in ("sentiment", "emotion", "intent"):
            rows = [tuple(label(row, head) for row in of) for of in zip(*scored, strict=True)]
            told = [row for row in rows if None not in row]
            same = {engine: sum(row[0] == row[at] for row in told) / len(told) for at, engine in enumerate(ENGINES, 1)}
            found.setdefault(name, {})[head] = {"rows": len(told), **same}
        print(name, found[name])
    (arguments.out / "agreement.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
