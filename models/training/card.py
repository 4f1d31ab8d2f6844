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


def share(found: dict, unit: str = "%") -> str:
    """A share with its 95 % interval, in percent or per 1,000."""
    if found["share"] is None:
        return "–"
    scale = 100 if unit == "%" else 1000
    low, high = (scale * value for value in found["interval_95"])
    return f"{scale * found['share']:.1f} ({low:.1f}–{high:.1f}) {unit}".strip()


def trigger_aims(folder: Path) -> str:
    """Alarms where there should be none, and requests for a person found."""
    rows = ["| figure | aim | measured (95 % interval) | on the development split, where thresholds were chosen |", "|---|---|---|---|"]
    talks, dev = load(folder, "triggers_eval_multidogo"), load(folder, "triggers_dev_multidogo")
    count = f"{talks['conversations']:,} conversations"
    rows.append(f"| MultiDoGO test, {count} without the four labels: immediate | ≤ 1 % | {share(talks['immediate'])} | {share(dev['immediate'])} |")
    rows.append(f"| the same: soft | ≤ 3 % | {share(talks['soft'])} | {share(dev['soft'])} |")
    for name, title in (("hwu64", "HWU64 test"), ("clinc150", "CLINC150 test")):
        found, dev = load(folder, f"triggers_eval_{name}"), load(folder, f"triggers_dev_{name}")
        cells = (share(part["immediate"], "per 1,000") for part in (found, dev))
        rows.append(f"| {title}, {found['conversations']:,} sentences: immediate | ≤ 2 per 1,000 | {' | '.join(cells)} |")
        by = ", ".join(f"{trigger} {part['count']}" for trigger, part in found["triggers"].items() if part["count"])
        rows.append(f"| – of these, by trigger | | {by} | |")
    rest = load(folder, "triggers_eval_clinc150_rest")
    title = f"CLINC150 test without report_fraud and report_lost_card, {rest['conversations']:,} sentences: immediate"
    rows.append(f"| {title} | – | {share(rest['immediate'], 'per 1,000')} | |")
    return "\n".join(rows)


def trigger_classes(folder: Path) -> str:
    """Precision and recall of each class with 20 labelled rows."""
    rows = ["| set (never trained on) | class | labelled rows | precision | recall |", "|---|---|---|---|---|"]
    sets = [
        ("triggers_hint3", "HINT3 v2 test, as its bots answered"),
        ("triggers_hint3_by_text", "HINT3 v2 test, rows of CHAT_WITH_AGENT that say so"),
        ("triggers_natcs", "NatCS"),
        ("triggers_nlupp_hotels", "NLU++ hotels"),
        ("triggers_rasa_helpdesk", "Rasa helpdesk-assistant"),
    ]
    for name, title in sets:
        for category, found in load(folder, name)["categories"].items():
            if name == "triggers_hint3_by_text" and category != "talk_to_human":
                continue
            rows.append(f"| {title} | `{category}` | {found['labelled']} | {share(found['precision'])} | {share(found['recall'])} |")
    return "\n".join(rows)


def trigger_worst(folder: Path) -> str:
    """The ten conversations of MultiDoGO's test that would be handed over first."""
    rows = ["| conversation | turn | trigger | because |", "|---|---|---|---|"]
    for alarm in load(folder, "triggers_eval_multidogo")["worst"]:
        rows.append(f"| {alarm['conversation']} | {alarm['turn']} | {alarm['trigger']} | {alarm['because']} |")
    return "\n".join(rows)


def same_issue(folder: Path) -> str:
    """The threshold, where it was chosen and on the test."""
    chosen = load(folder, "same_issue_train_banking77")["chosen"]
    test = load(folder, "same_issue_eval_banking77")["thresholds"]
    there = next(at for at in test if at["threshold"] == chosen["threshold"])
    rows = ["| banking77 | cosine from | pairs of one issue found | pairs of two issues taken for one |", "|---|---|---|---|"]
    for title, at in (("train, where it was chosen", chosen), ("test", there)):
        rows.append(f"| {title} | {at['threshold']} | {percent(at['same_issue'])} % | {percent(at['different_issues'])} % |")
    return "\n".join(rows)


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
    parser.add_argument("--figures", type=Path, help="folder that measure.sh wrote")
    parser.add_argument("--triggers", type=Path, help="folder that triggers.sh wrote")
    arguments = parser.parse_args()
    if arguments.figures is None and arguments.triggers is None:
        parser.error("give --figures or --triggers")
    if folder := arguments.figures:
        write_between(ROOT / "models/baton-en/CARD.md", {"labels": labels(), "quality": quality(folder), "per-label": per_label(folder)})
        write_between(ROOT / "docs/figures.md", {"aims": aims(folder), "quality": quality(folder)})
    if folder := arguments.triggers:
        sections = {
            "trigger-aims": trigger_aims(folder),
            "trigger-classes": trigger_classes(folder),
            "trigger-worst": trigger_worst(folder),
            "same-issue": same_issue(folder),
        }
        write_between(ROOT / "docs/figures.md", sections)


if __name__ == "__main__":
    main()
