"""What simpler models reach on the same rows: the floors that a trained trunk must beat. Written down before it was trained.

floors.py --data DATA --out OUT

For each test of evaluate.py: a linear SVM on words and character pieces (1-2 words, 2-5 characters), and for intent a logistic regression on the mean-pooled
vector of the untouched trunk. Both learn from the rows that the trunk learns from, development rows included; only for emotions these are left out, since the SVM's
thresholds are chosen on them. `act` is read from the message alone. OUT receives `floors.json`. Needs scikit-learn, which nothing else here does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC
from transformers import BertModel

import export_trunk
import train
from evaluate import LABEL_COLUMN, TESTS, f1_scores, least_rows, rows_of
from export import OUT_OF_SCOPE, best_threshold

# TRAINING measured 10 to 100 best for unit vectors of this trunk.
INVERSE_L2 = 10.0


def bag_of_pieces() -> FeatureUnion:
    """The features of data/README.md's floors."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    return FeatureUnion([("words", words), ("letters", letters)])


def frozen_vectors(texts: list[str]) -> np.ndarray:
    """Unit vectors of the untouched trunk."""
    source = export_trunk.default_source()
    model = train.Model(BertModel.from_pretrained(source, add_pooling_layer=False), {"none": 1})
    return train.Teacher.compute(texts, model, train.Encoding(source / "tokenizer.json", torch.device("cpu"))).astype(np.float32)


def figures(test: str, head: str, labels: list[str], truth: np.ndarray, scores: np.ndarray, thresholds: list[float] | None) -> dict[str, float]:
    """Macro-F1 over the larger labels in scope and macro-recall, the label being chosen among those in scope."""
    if head == "emotion":
        said = scores >= np.array(thresholds)
        counts = truth.sum(0)
        recall = [said[truth[:, at], at].mean() for at in range(len(labels)) if truth[:, at].any()]
    else:
        outside = labels.index(OUT_OF_SCOPE) if OUT_OF_SCOPE in labels else None
        if outside is not None:
            scores = scores.copy()
            scores[:, outside] = -np.inf
        held = truth != outside if outside is not None else np.ones(len(truth), bool)
        truth, said = truth[held], scores.argmax(1)[held]
        counts = np.bincount(truth, minlength=len(labels))
        recall = [(said[truth == at] == at).mean() for at in range(len(labels)) if (truth == at).any()]
    f1 = f1_scores(truth, said, len(labels))
    return {
        "macro_f1_of_larger_labels": float(np.mean([score for score, count in zip(f1, counts, strict=True) if count >= least_rows(test)])),
        "macro_recall": float(np.mean(recall)),
    }


def main() -> None:
    """Writes floors.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for floors.json")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tasks = train.load_tasks(arguments.data)
    result: dict[str, dict] = {}
    for head, task in tasks.items():
        labels = list(task.labels)
        rows = list(dict.fromkeys(task.train)) + task.dev
        tests = [(name, rows_of(arguments.data / "eval" / f"{file}.csv")) for name, of, file in TESTS if of == head]
        everything = sorted({row.text for row in rows} | {row["text"] for _, test in tests for row in test})
        pieces = bag_of_pieces().fit([row.text for row in rows])
        kinds: list[tuple[str, object]] = [("svm", pieces.transform)]
        if head == "intent":
            vectors = dict(zip(everything, frozen_vectors(everything), strict=True))
            kinds.append(("frozen", lambda texts, held=vectors: np.stack([held[text] for text in texts])))
        for kind, features in kinds:
            x = features([row.text for row in rows])
            thresholds = None
            if head == "emotion":
                target = np.array([row.target for row in rows])
                development = features([row.text for row in task.dev])
                models, thresholds = [], []
                for at in range(len(labels)):
                    known = np.flatnonzero(target[: len(rows) - len(task.dev), at] >= 0)
                    model = LinearSVC(class_weight="balanced", C=0.3).fit(x[known], target[known, at])
                    held = np.array([row.target[at] for row in task.dev])
                    score = model.decision_function(development)
                    thresholds.append(best_threshold(score[held >= 0], held[held >= 0]))
                    models.append(model)
                score_of = lambda texts, held=models, of=features: np.stack([model.decision_function(of(texts)) for model in held], 1)  # noqa: E731
            else:
                target = np.array([row.target for row in rows])
                if kind == "svm":
                    model = LinearSVC(class_weight="balanced" if head == "sentiment" else None).fit(x, target)
                else:
                    model = LogisticRegression(C=INVERSE_L2, max_iter=300).fit(x, target)
                score_of = lambda texts, held=model, of=features: held.decision_function(of(texts))  # noqa: E731
            for name, test in tests:
                column = LABEL_COLUMN.get(name, "label")
                if head == "emotion":
                    truth = np.array([[label in row[column].split("|") for label in labels] for row in test])
                else:
                    truth = np.array([labels.index(row[column]) for row in test])
                found = figures(name, head, labels, truth, score_of([row["text"] for row in test]), thresholds)
                result.setdefault(name, {})[kind] = found
                print(name, kind, {key: round(value, 4) for key, value in found.items()}, flush=True)
    (arguments.out / "floors.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
