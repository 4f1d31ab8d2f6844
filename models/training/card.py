"""Measured figures -> the tables of the model card and of docs/figures.md.

In: the JSON files that measure.sh wrote, taxonomy.toml, and the two documents with marker lines `<!-- NAME -->` and `<!-- /NAME -->`. Out: the same
documents with everything between the markers written anew. Text outside the markers is nobody's but the author's.
Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Name of the figure file, what the test is, and what is known of it.
TESTS = [
    ("sentiment_semeval2017", "sentiment", "SemEval-2017 task 4A, test"),
    ("emotion_goemotions", "emotion", "GoEmotions test, mapped"),
    ("intent_hint3", "intent", "HINT3 v2 test, mapped (real users; never trained on)"),
    ("intent_natcs", "intent", "NatCS (DSTC 11), mapped (never trained on)"),
    ("intent_nlupp_hotels", "intent", "NLU++ hotels, mapped (never trained on)"),
    ("intent_rasa_helpdesk", "intent", "Rasa helpdesk-assistant, mapped (never trained on)"),
    ("act_multidogo", "act", "MultiDoGO test, mapped"),
    ("language", "language", "own lines, languages not seen in the fit"),
    ("examples_hwu64", "intents by example", "HWU64 train (5 to 20 examples, 1 message in 10)"),
    ("examples_banking77", "intents by example", "banking77 train (5 to 20 examples, 1 message in 10)"),
]


def load(folder: Path, name: str) -> dict:
    """One figure file."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def percent(value: float | None) -> str:
    """0.931 -> 93.1."""
    return "–" if value is None else f"{100 * value:.1f}"


def with_interval(figures: dict, key: str) -> str:
    """A figure with its 95 % interval, in percent."""
    low, high = figures["interval_95"][key]
    return f"{percent(figures[key])} ({percent(low)}–{percent(high)})"


def in_scope_note(figures: dict) -> str:
    """The calibration error over the rows in scope, where the test has others."""
    value = figures["calibration_error_in_scope"]
    return "" if value is None else f"; in scope {value:.3f}"


def quality(folder: Path) -> str:
    """The table of all heads."""
    lines = [
        "| head | test | rows | accuracy | macro-F1 | macro-recall | calibration error (if perfect) | out-of-scope AUROC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, head, test in TESTS:
        figures = load(folder, name)
        auroc = figures["out_of_scope_auroc"]
        cells = [
            head,
            test,
            f"{figures['rows']:,}",
            *(with_interval(figures, key) for key in ("accuracy", "macro_f1", "macro_recall")),
            f"{figures['calibration_error']:.3f} ({figures['calibration_error_if_perfect']:.3f})" + in_scope_note(figures),
            "–" if auroc is None else f"{auroc:.3f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def per_label(folder: Path) -> str:
    """One table a shipped head and test, labels with rows only."""
    parts = []
    for name, head, test in TESTS:
        if head == "intents by example":
            continue
        rows = ["| label | rows | precision | recall | F1 |", "|---|---|---|---|---|"]
        for label, score in load(folder, name)["per_label"].items():
            if score["rows"]:
                cells = [f"`{label}`", str(score["rows"]), *(percent(score[key]) for key in ("precision", "recall", "f1"))]
                rows.append("| " + " | ".join(cells) + " |")
        parts.append(f"**{head}: {test}**\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def labels() -> str:
    """The taxonomy: definition, examples, near misses."""
    taxonomy = tomllib.loads((HERE / "taxonomy.toml").read_text(encoding="utf-8"))["labels"]
    rows = ["| label | definition | examples | near misses |", "|---|---|---|---|"]
    for label, entry in taxonomy.items():
        examples = "; ".join(f"“{text}”" for text in entry["examples"])
        near = "; ".join(f"“{miss['text']}” (`{miss['label']}`)" for miss in entry["near_misses"])
        rows.append(f"| `{label}` | {entry['definition']} | {examples} | {near} |")
    return "\n".join(rows)


def aims(folder: Path) -> str:
    """The figures that were aimed at."""
    own = {name: load(folder, f"own_{name}") for name in ("banking77", "clinc150", "hwu64")}
    sentiment = load(folder, "sentiment_semeval2017")
    large = [name for name, _, _ in TESTS if load(folder, name)["rows"] >= 3000 and name != "sentiment_semeval2017"]
    errors = {name: load(folder, name)["calibration_error"] for name in large}
    errors["own_banking77"] = own["banking77"]["calibration_error"]
    worst = max(errors, key=errors.get)
    clinc = own["clinc150"]
    seconds = load(folder, "train_banking77")["fit_secs"]
    rows = [
        ("banking77 test, linear head, accuracy", "≥ 92.5 %", with_interval(own["banking77"], "accuracy") + " %"),
        ("CLINC150 in scope, accuracy", "≥ 95.0 %", with_interval(clinc, "accuracy") + " %"),
        ("CLINC150 out-of-scope AUROC", "≥ 0.95", f"{clinc['out_of_scope_auroc']:.3f}"),
        ("HWU64 test, linear head, accuracy", "–", with_interval(own["hwu64"], "accuracy") + " %"),
        ("SemEval-2017 test, macro-recall (label by p / prior)", "≥ 66.0", with_interval(sentiment, "macro_recall")),
        ("calibration error, SemEval-2017 test", "≤ 0.04", f"{sentiment['calibration_error']:.3f}"),
        ("calibration error, CLINC150: rows in scope; all rows (18 % out of scope, 1 % in the fit)", "≤ 0.03", in_scope_and_all(clinc)),
        ("calibration error, the other tests of ≥ 3,000 rows, the worst", "≤ 0.03", f"{errors[worst]:.3f} ({worst})"),
        ("`baton train` on banking77 with cached features", "≤ 60 s", f"{seconds:.0f} s"),
    ]
    table = ["| figure | aim | measured (95 % interval) |", "|---|---|---|"]
    return "\n".join(table + [f"| {name} | {aim} | {value} |" for name, aim, value in rows])


def in_scope_and_all(figures: dict) -> str:
    """Both calibration errors of a test with rows out of scope."""
    return f"{figures['calibration_error_in_scope']:.3f}; {figures['calibration_error']:.3f}"


def write_between(path: Path, sections: dict[str, str]) -> None:
    """Replaces what stands between each pair of markers; every section must have its place."""
    text = path.read_text(encoding="utf-8")
    for name, content in sections.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{path}: no place for {name}")
        text = pattern.sub(lambda found: found.group(1) + content + "\n" + found.group(2), text)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Writes both documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, required=True, help="folder that measure.sh wrote")
    folder = parser.parse_args().figures
    write_between(ROOT / "models/baton-en/CARD.md", {"labels": labels(), "quality": quality(folder), "per-label": per_label(folder)})
    write_between(ROOT / "docs/figures.md", {"aims": aims(folder), "quality": quality(folder)})


if __name__ == "__main__":
    main()
