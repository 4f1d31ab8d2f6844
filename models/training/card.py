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
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Name of the figure file, what the test is, and what is known of it.
TESTS = [
    ("sentiment_semeval2017", "sentiment", "SemEval-2017 task 4A, test"),
    ("sentiment_tone", "sentiment", "own support messages, held-out templates"),
    ("emotion_goemotions", "emotion", "GoEmotions test, mapped"),
    ("emotion_tone", "emotion", "own support messages, held-out templates"),
    ("intent_hint3", "intent", "HINT3 v2 test, mapped (real users of three bots; trained on what their builders wrote)"),
    ("intent_natcs", "intent", "NatCS (DSTC 11), mapped (never trained on)"),
    ("intent_nlupp_hotels", "intent", "NLU++ hotels, mapped (never trained on)"),
    ("intent_rasa_helpdesk", "intent", "Rasa helpdesk-assistant, mapped (never trained on)"),
    ("intent_hard", "intent", "own examples and near misses, held-out templates"),
    ("act_pairs", "act", "own answers to 50 turns of a bot"),
    ("act_sgd", "act", "USS-SGD user acts, mapped (never trained on)"),
    ("language", "language", "own lines, languages not seen in the fit"),
    ("examples_clinc150", "intents by example", "CLINC150 test (5 to 20 examples, 1 message in 10)"),
    ("examples_banking77", "intents by example", "banking77 test (5 to 20 examples, 1 message in 10)"),
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


def agree(folder: Path) -> None:
    """Refuses figures of `baton eval` that differ from the training framework's by more than 0.1 point in f32, or 0.3 with the engine that serves, and tells where int8 does."""
    for name, expected in load(folder, "reference").items():
        f32, served, int8 = load(folder / "f32", name), load(folder, name), load(folder / "int8", name)
        for key, value in expected.items():
            same = f32[key] is None if value is None else f32[key] is not None and abs(f32[key] - value) <= (0 if key == "rows" else 0.001)
            if not same:
                raise SystemExit(f"{name}: baton eval has {key} = {f32[key]}, the training framework {value}")
            # Bins of equal mass: two rows with nearly the same confidence that change places across an edge move the calibration error by up to two rows' share.
            most = 0.003 + (2 / expected["rows"] if key == "calibration_error" else 0)
            if value is not None and abs(served[key] - value) > most:
                raise SystemExit(f"{name}: the engine that serves has {key} = {served[key]}, the training framework {value}")
            if value is not None and abs(int8[key] - value) > 0.003:
                print(f"{name}: int8 has {key} = {int8[key]:.4f}, f32 {value:.4f}")


def engines(folder: Path) -> str:
    """What bytes lose: each test with f32 and with one and two bytes an activation, and how often their labels are those of f32."""
    rows = ["| test | figure | f32 | w8a16, as served | difference | int8 | difference |", "|---|---|---|---|---|---|---|"]
    for name, head, test in TESTS:
        if head in ("language", "intents by example"):
            continue
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"), ("macro_recall", "macro-recall")):
            f32 = load(folder / "f32", name)[key]
            others = [load(where, name)[key] for where in (folder, folder / "int8")]
            rows.append(f"| {head}: {test} | {title} | {100 * f32:.2f} | " + " | ".join(f"{100 * other:.2f} | {100 * (other - f32):+.2f}" for other in others) + " |")
    rows += ["", "| messages; labels as f32's with w8a16 and int8 | rows | sentiment | emotions, the set of them | intent |", "|---|---|---|---|---|"]
    for name, heads in load(folder, "agreement").items():
        same = " | ".join("; ".join(f"{100 * heads[head][engine]:.2f}" for engine in ("w8a16", "int8")) + " %" for head in ("sentiment", "emotion", "intent"))
        rows.append(f"| {name.removeprefix('intent_').removeprefix('sentiment_')} | {heads['sentiment']['rows']:,} | {same} |")
    return "\n".join(rows)


def larger(folder: Path, name: str) -> str:
    """Macro-F1 over the larger labels, with its interval."""
    found = load(folder, "measured")["macro_f1_of_larger_labels"][name]
    if "interval_95" not in found:
        return percent(found["value"])
    low, high = found["interval_95"]
    return f"{percent(found['value'])} ({percent(low)}–{percent(high)})"


def floors(folder: Path) -> str:
    """What simpler models reach on the same rows, beside the trained trunk."""
    simple = load(folder, "floors")
    sentiment = load(folder, "sentiment_semeval2017")
    rows = ["| test | figure | linear SVM | frozen trunk, linear head | trained trunk |", "|---|---|---|---|---|"]
    for name, _, test in TESTS:
        if name not in simple:
            continue
        key = "macro_recall" if name == "sentiment_semeval2017" else "macro_f1_of_larger_labels"
        figure = "macro-recall" if name == "sentiment_semeval2017" else "macro-F1, labels of ≥ 100 rows" if name.startswith("emotion") else "macro-F1, labels of ≥ 20 rows"
        frozen = percent(simple[name]["frozen"][key]) if "frozen" in simple[name] else "–"
        own = with_interval(sentiment, "macro_recall") if name == "sentiment_semeval2017" else larger(folder, name)
        rows.append(f"| {test} | {figure} | {percent(simple[name]['svm'][key])} | {frozen} | {own} |")
    return "\n".join(rows)


def robustness(folder: Path) -> str:
    """Figures under noise, and what they lose."""
    found = load(folder, "measured").get("robustness")
    if found is None:
        raise FileNotFoundError("robustness")
    titles = {name: test for name, _, test in TESTS}
    forms = list(next(iter(found.values())))
    rows = ["| text | " + " | ".join(titles[name] for name in found) + " |", "|---|" + "---|" * len(found)]
    for form in forms:
        cells = []
        for values in found.values():
            lost = values[form] - values["as it is"]
            cells.append(percent(values[form]) if form == "as it is" else f"{percent(values[form])} ({100 * lost:+.1f})")
        rows.append(f"| {form} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def rare(folder: Path) -> str:
    """The labels that no public set has: F1 on held-out templates, false alarms on public sentences."""
    measured = load(folder, "measured")
    alarms = measured["false_alarms"]
    sets = {"multidogo": "MultiDoGO test", "hwu64": "HWU64 test", "clinc150": "CLINC150 test"}
    rows = ["| label | F1, own held-out templates | " + " | ".join(f"false alarms per 1,000, {sets[name]} ({alarms[name]['rows']:,})" for name in alarms) + " |",
            "|---|---|" + "---|" * len(alarms)]
    for label, f1 in measured["hard_f1"].items():
        if label in next(iter(alarms.values()))["per_1000"]:
            rows.append(f"| `{label}` | {percent(f1)} | " + " | ".join(f"{found['per_1000'][label]:.1f}" for found in alarms.values()) + " |")
    talk = measured["talk_to_human"]
    rows.append(f"\n`talk_to_human`: F1 {percent(measured['hard_f1']['talk_to_human'])} on own held-out templates; over HINT3, NLU++ hotels, Rasa helpdesk and own held-out "
                f"templates together ({talk['rows']:,} rows, {talk['requests']} requests) recall {talk['recall']:.2f} at precision 0.95 (p ≥ {talk['threshold']:.2f}).")
    return "\n".join(rows)


def failures(folder: Path) -> str:
    """Sentences of public tests that get a rare label and should not; no text with a digit or of fewer than three words, which may be somebody's data."""
    rows = ["| taken for | sentences |", "|---|---|"]
    found: dict[str, list[str]] = {}
    for of_set in load(folder, "measured")["false_alarms"].values():
        for label, texts in of_set["examples"].items():
            plain = [text for text in texts if not re.search(r"\d", text) and text.count(" ") > 1]
            found.setdefault(label, []).extend(plain[:3])
    rows += [f"| `{label}` | {'; '.join(f'“{text}”' for text in texts)} |" for label, texts in sorted(found.items()) if texts]
    return "\n".join(rows)


def embedding(folder: Path) -> str:
    """Whether the sentence vector kept its use."""
    found = load(folder, "embedding")
    names = {
        "linear_head": "banking77 test, linear head, accuracy",
        "five_examples": "banking77 test, five examples an intent, mean of five draws, accuracy",
        "same_issue": "banking77 test, pairs of one issue found at 1 % of pairs of two issues",
    }
    rows = ["| figure | original trunk | trained trunk |", "|---|---|---|"]
    for key, title in names.items():
        cells = []
        for trunk in ("frozen", "trained"):
            low, high = found[trunk][key]["interval_95"]
            cells.append(f"{percent(found[trunk][key]['value'])} ({percent(low)}–{percent(high)}) %")
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    rows.append(f"\nMean cosine between the two trunks' vectors on these messages: {found['cosine_to_the_original']:.3f}.")
    return "\n".join(rows)


def survives(folder: Path) -> None:
    """Refuses a trunk whose sentence vector lost more than the interval of a figure."""
    found = load(folder, "embedding")
    for key, before in found["frozen"].items():
        low, high = found["trained"][key]["interval_95"]
        if found["trained"][key]["value"] < before["value"] - (high - low) / 2:
            raise SystemExit(f"{key}: {found['trained'][key]['value']} on the trained trunk, {before['value']} on the original")


def reliability_plot(folder: Path) -> str:
    """An SVG: stated against found probability, one line a test, in bins of equal mass."""
    size, edge = 320, 44
    colours = ("#1b6ca8", "#c8553d", "#2a9d5c", "#7b5ea7")
    titles = {name: f"{head}: {test}" for name, head, test in TESTS}
    plots = load(folder, "reliability")

    def at(x: float, y: float) -> str:
        return f"{edge + x * size:.1f},{edge + (1 - y) * size:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size + 2 * edge}" height="{size + 2 * edge + 20 * len(plots)}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<polyline points="{at(0, 0)} {at(1, 0)} {at(1, 1)} {at(0, 1)} {at(0, 0)}" fill="none" stroke="#888"/>',
        f'<polyline points="{at(0, 0)} {at(1, 1)}" stroke="#bbb" stroke-dasharray="4 4"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        lines.append(f'<text x="{edge + tick * size}" y="{edge + size + 16}" text-anchor="middle">{tick:g}</text>')
        lines.append(f'<text x="{edge - 6}" y="{edge + (1 - tick) * size + 4}" text-anchor="end">{tick:g}</text>')
    lines.append(f'<text x="{edge}" y="{edge - 14}">share right (up) against stated probability (right)</text>')
    for place, ((name, points), colour) in enumerate(zip(plots.items(), colours, strict=True)):
        lines.append(f'<polyline points="{" ".join(at(x, y) for x, y in points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{at(x, y).split(",")[0]}" cy="{at(x, y).split(",")[1]}" r="3" fill="{colour}"/>' for x, y in points]
        lines.append(f'<text x="{edge}" y="{edge + size + 40 + 20 * place}" fill="{colour}">{titles[name]}</text>')
    return "\n".join([*lines, "</svg>", ""])


def aims(folder: Path) -> str:
    """The figures that were aimed at; "not measured" where a figure file is missing."""

    def figures(name: str) -> dict:
        return load(folder, name)

    def worst_error() -> str:
        large = [name for name, _, _ in TESTS if figures(name)["rows"] >= 3000 and name != "sentiment_semeval2017"]
        errors = {name: figures(name)["calibration_error"] for name in [*large, "own_banking77"]}
        worst = max(errors, key=errors.get)
        return f"{errors[worst]:.3f} ({worst})"

    def above(name: str, svm: float, frozen: float | None) -> str:
        """The least macro-F1 that is this many points above the floors."""
        simple = figures("floors")[name]
        needed = [simple["svm"]["macro_f1_of_larger_labels"] + svm / 100]
        needed += [] if frozen is None else [simple["frozen"]["macro_f1_of_larger_labels"] + frozen / 100]
        return f"≥ {percent(max(needed))}"

    def floor(name: str) -> str:
        return percent(figures("floors")[name]["svm"]["macro_f1_of_larger_labels"])

    def rates() -> dict[str, float]:
        alarms = figures("measured")["false_alarms"].values()
        return {label: max(found["per_1000"][label] for found in alarms) for label in next(iter(alarms))["per_1000"]}

    def least_f1() -> str:
        hard = {label: figures("measured")["hard_f1"][label] for label in rates()}
        return f"{percent(min(hard.values()))} ({min(hard, key=hard.get)})"

    def lost(*names: str) -> str:
        found = figures("measured").get("robustness")
        if found is None:
            raise FileNotFoundError("robustness")
        forms = [form for form in next(iter(found.values())) if form.startswith(("a mistake", "lower case"))]
        return "; ".join(f"{100 * max(found[name]['as it is'] - found[name][form] for form in forms):.1f}" for name in names)

    rows = [
        ("SemEval-2017 test, macro-recall (label by p / prior)", "≥ 71.3", lambda: with_interval(figures("sentiment_semeval2017"), "macro_recall")),
        ("calibration error, SemEval-2017 test", "≤ 0.04", lambda: f"{figures('sentiment_semeval2017')['calibration_error']:.3f}"),
        ("calibration error, the other tests of ≥ 3,000 rows, the worst", "≤ 0.03", worst_error),
        ("emotion, labels with ≥ 100 GoEmotions test rows, macro-F1: 3 points above the SVM", lambda: above("emotion_goemotions", 3, None),
         lambda: larger(folder, "emotion_goemotions")),
        ("NatCS, labels of ≥ 20 rows, macro-F1: 8 points above the SVM, 5 above the frozen trunk", lambda: above("intent_natcs", 8, 5),
         lambda: larger(folder, "intent_natcs")),
        ("HINT3 v2 test, the same", lambda: above("intent_hint3", 8, 5), lambda: larger(folder, "intent_hint3")),
        ("HINT3 out-of-scope AUROC", "≥ 0.80", lambda: f"{figures('intent_hint3')['out_of_scope_auroc']:.3f}"),
        ("talk_to_human, held-out files with near misses: recall at precision 0.95", "≥ 0.90", lambda: f"{figures('measured')['talk_to_human']['recall']:.2f}"),
        ("legal, privacy, termination, security, distress: F1 on held-out templates, the least", "≥ 88", least_f1),
        ("– their false alarms per 1,000 sentences, the most of any label and set", "≤ 2", lambda: f"{max(rates().values()):.1f} ({max(rates(), key=rates().get)})"),
        ("banking77 test, `baton train`, accuracy", "≥ 93.5 %", lambda: with_interval(figures("own_banking77"), "accuracy") + " %"),
        ("CLINC150 in scope, `baton train`, accuracy", "≥ 95.5 %", lambda: with_interval(figures("own_clinc150"), "accuracy") + " %"),
        ("CLINC150 out-of-scope AUROC", "≥ 0.965", lambda: f"{figures('own_clinc150')['out_of_scope_auroc']:.3f}"),
        ("HWU64 test, `baton train`, accuracy", "–", lambda: with_interval(figures("own_hwu64"), "accuracy") + " %"),
        ("act, own answers to 50 turns, macro-F1", "≥ 75", lambda: with_interval(figures("act_pairs"), "macro_f1")),
        ("– message alone, SVM", "–", lambda: floor("act_pairs")),
        ("act, USS-SGD, macro-F1", "≥ 75", lambda: with_interval(figures("act_sgd"), "macro_f1")),
        ("– message alone, SVM", "–", lambda: floor("act_sgd")),
        ("loss under typing mistakes, or lower case without punctuation: SemEval macro-recall", "≤ 3", lambda: lost("sentiment_semeval2017")),
        ("– intent macro-F1, NatCS; HINT3; own", "≤ 3", lambda: lost("intent_natcs", "intent_hint3", "intent_hard")),
        ("calibration error, CLINC150: rows in scope; all rows (18 % out of scope, 1 % in the fit)", "≤ 0.03", lambda: in_scope_and_all(figures("own_clinc150"))),
        ("`baton train` on banking77 with cached features", "≤ 60 s", lambda: f"{figures('train_banking77')['fit_secs']:.0f} s"),
    ]
    table = ["| figure | aim | measured (95 % interval) |", "|---|---|---|"]
    cell = lambda value: value if isinstance(value, str) else or_missing(value)  # noqa: E731
    return "\n".join(table + [f"| {name} | {cell(aim)} | {cell(value)} |" for name, aim, value in rows])


def or_missing(figure: Callable[[], str]) -> str:
    """A figure, or that its file is not there."""
    try:
        return figure()
    except FileNotFoundError:
        return "not measured"


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
        agree(folder)
        tables = {"labels": labels(), "quality": quality(folder), "per-label": per_label(folder)}
        for name, table in (("floors", floors), ("rare", rare), ("failures", failures), ("robustness", robustness), ("embedding", embedding),
                            ("engines", engines)):
            tables[name] = or_missing(lambda table=table: table(folder))
        if tables["embedding"] != "not measured":
            survives(folder)
        write_between(ROOT / "models/baton-en/CARD.md", tables)
        (ROOT / "models/baton-en/calibration.svg").write_text(reliability_plot(folder), encoding="utf-8")
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
