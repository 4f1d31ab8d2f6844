"""Measures a model package in the training framework: the reference for `baton eval`, and the figures that need more than one head's table.

evaluate.py --data DATA --out OUT [--package models/baton-en]

The package's own weights, dequantised, run in PyTorch (parity.py), and everything is computed anew from heads.json, apart from Baton. OUT receives

* `reference.json`: per test the same figures as `baton eval` (card.py holds them against each other and refuses a difference over 0.1 point);
* `measured.json`: macro-F1 over the labels with at least MIN_ROWS rows; recall of talk_to_human at precision 0.95; false alarms of the rare labels; robustness;
* `reliability.json`: stated against found probability, in bins of equal mass.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

import noise
import parity
from export import OUT_OF_SCOPE, log_odds, softmax
from prepare import Mapping, HERE, normalise
from train import Encoding

MIN_ROWS, MIN_EMOTION_ROWS = 20, 100
BINS, RESAMPLES = 15, 1000
RARE = ("legal_threat", "privacy_request", "cancel_or_close", "security_concern", "distress")
# test, head, file, separator of its labels
TESTS = (
    ("sentiment_semeval2017", "sentiment", "sentiment_semeval2017"),
    ("sentiment_tone", "sentiment", "tone"),
    ("emotion_goemotions", "emotion", "emotion_goemotions"),
    ("emotion_tone", "emotion", "tone"),
    ("intent_hint3", "intent", "intent_hint3"),
    ("intent_natcs", "intent", "intent_natcs"),
    ("intent_nlupp_hotels", "intent", "intent_nlupp_hotels"),
    ("intent_rasa_helpdesk", "intent", "intent_rasa_helpdesk"),
    ("intent_hard", "intent", "hard"),
    ("act_pairs", "act", "act_pairs"),
    ("act_sgd", "act", "act_sgd"),
)
LABEL_COLUMN = {"sentiment_tone": "sentiment", "emotion_tone": "emotions"}
ROBUSTNESS = ("sentiment_semeval2017", "intent_natcs", "intent_hint3", "intent_hard")
TYPO_SHARE = 0.15
# Rows of each test that robustness is measured on, at most.
ROBUSTNESS_ROWS = 3000
# Other words than those of noise.py, which training has seen.
BEFORE = ("Good evening,", "hiya", "greetings,", "Hello dear team,", "morning all.", "oh and", "Excuse me,", "hola")
AFTER = ("kind regards", "tia", "Many thanks.", "looking forward to your answer", "tyvm", "- sent from my phone", "Best wishes", "ta")


def least_rows(test: str) -> int:
    """Rows that a label needs to count among the larger ones of a test."""
    return MIN_EMOTION_ROWS if test == "emotion_goemotions" else MIN_ROWS


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


class Package:
    """A package that answers batches of texts."""

    def __init__(self, folder: Path) -> None:
        """`folder`: config.json, tokenizer.json, model.safetensors, heads.json, heads.safetensors."""
        threads = torch.get_num_threads()
        self.package = parity.load_package(folder)
        # parity.py runs on one thread, for its last digit; here it is speed that counts.
        torch.set_num_threads(threads)
        self.package.trunk.set_attn_implementation("sdpa")
        self.heads = {head.spec["name"]: head for head in self.package.heads}
        self.encoding = Encoding(folder / "tokenizer.json", torch.device("cpu"))
        self.encoding.tokenizer.enable_truncation(self.package.max_seq_len)

    def vectors(self, texts: list[str], spec: dict) -> np.ndarray:
        """What a head reads of each text [texts, inputs], float32."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        rows: list[np.ndarray | None] = [None] * len(texts)
        with torch.inference_mode():
            for start in range(0, len(order), 64):
                part = order[start : start + 64]
                ids, mask = self.encoding([texts[at] for at in part])
                read = self.package.trunk(input_ids=ids, attention_mask=mask, output_hidden_states=spec.get("layer") is not None)
                last = read.last_hidden_state if spec.get("layer") is None else read.hidden_states[spec["layer"]]
                weights = mask.unsqueeze(-1).to(last.dtype)
                mean = (last * weights).sum(1) / weights.sum(1)
                vector = {"mean": mean, "cls": last[:, 0], "cls_mean": torch.cat([last[:, 0], mean], 1)}[spec["pooling"]]
                if spec["normalize"]:
                    vector = torch.nn.functional.normalize(vector, dim=1)
                for at, one in zip(part, vector.numpy(), strict=True):
                    rows[at] = one
        return np.stack(rows)

    def answer(self, name: str, texts: list[str], turns: list[str] | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Calibrated probabilities [texts, labels], and p(in scope) where the head has it."""
        head = self.heads[name]
        x = self.vectors(texts, head.spec).astype(np.float64)
        if turns is not None:
            unique = sorted(set(turns))
            y = self.vectors(unique, head.spec).astype(np.float64)[[unique.index(turn) for turn in turns]]
            x = np.concatenate([x, y, np.abs(x - y), x * y], 1)
        z = x @ head.weight.T + head.bias
        u = z / np.array(head.spec["temperature"]) + np.array(head.spec["bias"])
        p = softmax(u) if head.spec["kind"] == "single_label" else 1 / (1 + np.exp(-u))
        scope = head.spec.get("scope")
        if scope is None:
            return p, None
        outside = head.spec["labels"].index(scope["out_of_scope_label"])
        kept = [at for at in range(p.shape[1]) if at != outside]
        largest = z[:, kept].max(1)
        features = [log_odds(p[:, kept].max(1)), largest + np.log(np.exp(z[:, kept] - largest[:, None]).sum(1)), log_odds(p[:, outside])]
        return p, 1 / (1 + np.exp(-(np.stack(features, 1) @ np.array(scope["weights"]) + scope["bias"])))


def f1_scores(truth: np.ndarray, said: np.ndarray, labels: int) -> list[float]:
    """F1 of each label from indices (single label) or from booleans [rows, labels]."""
    scores = []
    for at in range(labels):
        t, s = (truth == at, said == at) if truth.ndim == 1 else (truth[:, at], said[:, at])
        scores.append(float(2 * (t & s).sum() / max(1, t.sum() + s.sum())))
    return scores


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """p(a value of `inside` is larger than one of `outside`), ties counting half."""
    both = np.concatenate([inside, outside])
    order = both.argsort(kind="stable")
    ranks = np.empty(len(both))
    _, first, counts = np.unique(both[order], return_index=True, return_counts=True)
    for start, count in zip(first, counts, strict=True):
        ranks[order[start : start + count]] = start + (count + 1) / 2
    return float((ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def bins(confidence: np.ndarray) -> list[np.ndarray]:
    """Rows in the order of their confidence, cut where Baton cuts."""
    order, rows = confidence.argsort(kind="stable"), len(confidence)
    return [order[at * rows // BINS : (at + 1) * rows // BINS] for at in range(BINS)]


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of stated and found probability over bins of equal mass."""
    parts = bins(confidence)
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts if len(part)) / len(confidence))


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """[stated, found] of each bin of equal mass."""
    return [[round(float(confidence[part].mean()), 4), round(float(right[part].mean()), 4)] for part in bins(confidence)]


def interval(figure: Callable[[np.ndarray], float], rows: int) -> list[float]:
    """95 % interval of a figure over bootstrap resamples of the rows."""
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    return [round(float(np.percentile(values, q)), 5) for q in (2.5, 97.5)]


class Test:
    """A test file, as a head answers it."""

    def __init__(self, package: Package, data: Path, name: str, head: str, file: str, change: Callable[[str], str] | None = None,
                 sample: int | None = None) -> None:
        """`change` is put on every text before it is read; of a larger test, only a sample of this many rows is."""
        self.name, self.head = name, head
        self.spec = package.heads[head].spec
        self.labels: list[str] = self.spec["labels"]
        rows = rows_of(data / "eval" / f"{file}.csv")
        self.texts = [row["text"] for row in rows]
        if sample is not None and len(rows) > sample:
            rows = random.Random(0).sample(rows, sample)
            self.texts = [row["text"] for row in rows]
        read = self.texts if change is None else [change(text) for text in self.texts]
        turns = [row["bot"] for row in rows] if self.spec["input"] == "pair" else None
        self.p, self.in_scope = package.answer(head, read, turns)
        column = LABEL_COLUMN.get(name, "label")
        self.outside = self.labels.index(OUT_OF_SCOPE) if OUT_OF_SCOPE in self.labels else None
        if self.spec["kind"] == "multi_label":
            self.truth = np.array([[label in row[column].split("|") for label in self.labels] for row in rows])
            self.said = self.p >= np.array(self.spec["thresholds"])
            return
        self.truth = np.array([self.labels.index(row[column]) for row in rows])
        weighed = self.p / np.array(self.spec["priors"]).clip(ODDS_CLAMP_PRIOR) if self.spec["decision"] == "prior_ratio" else self.p
        self.answered = weighed.argmax(1)
        if self.outside is not None:
            weighed = weighed.copy()
            weighed[:, self.outside] = -1
        self.said = weighed.argmax(1)

    def inside(self) -> np.ndarray:
        """Rows in scope."""
        return np.ones(len(self.truth), bool) if self.outside is None or self.truth.ndim == 2 else self.truth != self.outside

    def macro_f1(self, least: int = 1, rows: np.ndarray | None = None) -> float:
        """Over the labels with at least this many rows in the whole test."""
        held = self.inside()
        truth, said = self.truth[held], self.said[held]
        counts = truth.sum(0) if truth.ndim == 2 else np.bincount(truth, minlength=len(self.labels))
        if rows is not None:
            truth, said = truth[rows], said[rows]
        scores = f1_scores(truth, said, len(self.labels))
        return float(np.mean([score for score, count in zip(scores, counts, strict=True) if count >= least]))

    def macro_recall(self, rows: np.ndarray | None = None) -> float:
        """Over the labels that have rows."""
        held = self.inside()
        truth, said = self.truth[held], self.said[held]
        if rows is not None:
            truth, said = truth[rows], said[rows]
        if truth.ndim == 2:
            return float(np.mean([said[truth[:, at], at].mean() for at in range(len(self.labels)) if truth[:, at].any()]))
        return float(np.mean([(said[truth == at] == at).mean() for at in range(len(self.labels)) if (truth == at).any()]))

    def accuracy(self) -> float:
        """Rows in scope with the right label, or with exactly the right labels."""
        held = self.inside()
        right = self.said == self.truth
        return float((right.all(1) if right.ndim == 2 else right)[held].mean())

    def confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability of the answer and whether it is right; for emotions of every label."""
        if self.truth.ndim == 2:
            return self.p.ravel(), self.truth.ravel()
        return self.p[np.arange(len(self.p)), self.answered], self.answered == self.truth

    def calibration(self) -> float:
        """Calibration error; for emotions the mean over the labels."""
        if self.truth.ndim == 2:
            return float(np.mean([calibration_error(self.p[:, at], self.truth[:, at]) for at in range(len(self.labels))]))
        return calibration_error(*self.confidence())

    def figures(self) -> dict:
        """The figures of `baton eval`."""
        held = self.inside()
        both = self.in_scope is not None and not held.all()
        return {
            "rows": len(self.truth),
            "accuracy": self.accuracy(),
            "macro_f1": self.macro_f1(),
            "macro_recall": self.macro_recall(),
            "calibration_error": self.calibration(),
            "out_of_scope_auroc": auroc(self.in_scope[held], self.in_scope[~held]) if both else None,
        }


ODDS_CLAMP_PRIOR = 1e-6


def talk_to_human(tests: Iterable[Test]) -> dict:
    """The largest recall of talk_to_human at a precision of 0.95, over all rows of the tests together."""
    scores, truth = [], []
    for test in tests:
        at = test.labels.index("talk_to_human")
        scores.append(test.p[:, at])
        truth.append(test.truth == at)
    p, right = np.concatenate(scores), np.concatenate(truth)
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(p) + 1)
    good = np.flatnonzero(precision >= 0.95)
    found = {"rows": len(p), "requests": int(right.sum())}
    if not len(good):
        return found | {"recall": 0.0, "threshold": 1.0}
    return found | {"recall": float(hits[good[-1]] / right.sum()), "threshold": float(p[order[good[-1]]])}


def false_alarms(package: Package, data: Path) -> dict:
    """Sentences per 1,000 whose intent is a rare label although their origin's label is not mapped to it; origins' `drop` counts as not mapped."""
    mapping = Mapping(HERE / "mapping.csv", package.heads["intent"].spec["labels"])
    spec = package.heads["intent"].spec
    result = {}
    for source, file in (("multidogo", "conversations_multidogo"), ("hwu64", "sentences_hwu64"), ("clinc150", "sentences_clinc150")):
        rows = [row for row in rows_of(data / "eval" / f"{file}.csv") if normalise(row["text"])]
        p, in_scope = package.answer("intent", [row["text"] for row in rows])
        said = [spec["labels"][at] for at in p.argmax(1)]
        alarms: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        for row, label, scope in zip(rows, said, in_scope, strict=True):
            if label in RARE and scope >= spec["scope"]["threshold"] and label not in {mapping.table[source].get(one) for one in row["label"].split("|")}:
                alarms[label] += 1
                examples.setdefault(label, []).append(row["text"])
        result[source] = {"rows": len(rows), "per_1000": {label: 1000 * alarms[label] / len(rows) for label in RARE},
                          "examples": {label: found[:10] for label, found in examples.items()}}
    return result


def noisy_forms() -> dict[str, Callable[[str], str]]:
    """What robustness is measured with; each text has its own generator, so the noise of a text does not depend on the others. Capitals alone are left out: the
    tokenizer has none."""

    def seeded(change: Callable[[str, random.Random], str]) -> Callable[[str], str]:
        return lambda text: change(text, random.Random(text)) or text

    return {
        f"a mistake in {TYPO_SHARE:.0%} of the words of 4 or more letters": seeded(lambda text, rng: noise.with_typos(text, TYPO_SHARE, rng)),
        "lower case, no punctuation": seeded(lambda text, rng: noise.unpunctuated(text.lower()) if normalise(text) else text),
        "chat abbreviations, no apostrophes": seeded(lambda text, rng: noise.shortened(text, 0.7, rng)),
        "greeting before, closing after": seeded(lambda text, rng: f"{rng.choice(BEFORE)} {text} {rng.choice(AFTER)}"),
        "handle before, link and emoji after": seeded(lambda text, rng: f"@user {text} http {rng.choice('🙂😅🤔👀📦')}"),
        "mistakes, lower case, no punctuation and abbreviations together": seeded(
            lambda text, rng: noise.shortened(noise.with_typos(noise.unpunctuated(text.lower()), TYPO_SHARE, rng), 0.7, rng)),
    }


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for the figures")
    parser.add_argument("--package", type=Path, default=HERE.parent / "baton-en", metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="no intervals, no robustness")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    package = Package(arguments.package)
    tests = {name: Test(package, arguments.data, name, head, file) for name, head, file in TESTS if head in package.heads}
    reference = {name: test.figures() for name, test in tests.items()}
    least = {name: least_rows(name) for name in tests}
    measured: dict[str, object] = {"macro_f1_of_larger_labels": {name: {"value": test.macro_f1(least[name])} for name, test in tests.items()}}
    measured["talk_to_human"] = talk_to_human(test for test in tests.values() if test.head == "intent")
    measured["false_alarms"] = false_alarms(package, arguments.data)
    hard = tests["intent_hard"]
    scores = f1_scores(hard.truth, hard.answered, len(hard.labels))
    measured["hard_f1"] = {label: scores[hard.labels.index(label)] for label in RARE + ("talk_to_human",)}
    if not arguments.quick:
        for name, test in tests.items():
            entry = measured["macro_f1_of_larger_labels"][name]
            entry["interval_95"] = interval(lambda rows, t=test: t.macro_f1(least[t.name], rows), int(test.inside().sum()))
        robustness: dict[str, dict[str, float]] = {}
        for name in ROBUSTNESS:
            head, file = next((head, file) for test, head, file in TESTS if test == name)
            value = (lambda test: test.macro_recall()) if head == "sentiment" else (lambda test: test.macro_f1(MIN_ROWS))
            forms = {"as it is": None} | noisy_forms()
            robustness[name] = {form: value(Test(package, arguments.data, name, head, file, change, ROBUSTNESS_ROWS)) for form, change in forms.items()}
        measured["robustness"] = robustness
    plots = {name: reliability(*tests[name].confidence()) for name in ("sentiment_semeval2017", "emotion_goemotions", "intent_natcs", "act_sgd")}
    for name, content in (("reference", reference), ("measured", measured), ("reliability", plots)):
        (arguments.out / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    for name, figures in reference.items():
        shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
        print(name, shown, "larger labels", round(measured["macro_f1_of_larger_labels"][name]["value"], 4))
    print({key: value for key, value in measured.items() if key in ("talk_to_human", "hard_f1")})
    print({source: {label: round(rate, 2) for label, rate in found["per_1000"].items()} for source, found in measured["false_alarms"].items()})


if __name__ == "__main__":
    main()
