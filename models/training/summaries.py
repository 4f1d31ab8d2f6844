"""Measures summaries and highlights on TweetSumm, with a built `baton`.

    python3 models/training/summaries.py DATA OUT [--part valid|train] [--baton target/release/baton]

DATA is the folder with tweetsumm/dialogues (CC BY-NC-SA 4.0: for evaluation only). Writes OUT/summaries-PART.json with every figure, and checks the rule that every
content word of a summary stands in the messages that it cites, on every dialogue. Needs rouge-score.
"""

import argparse
import gzip
import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

HERE = Path(__file__).parent
STEMMER = PorterStemmer()
# What retelling adds: function words, and the words of the templates (FRAME in src/handoff/summary.rs).
RETOLD = set("we us our ours they them their theirs themselves are have would will were is has its it not to the bot sees knows thinks needs wants recommends suggests understands hopes believes shows".split())


def frame_words() -> set[str]:
    lines = (HERE / "frame_words.txt").read_text().splitlines()
    return {word for line in lines if not line.startswith("#") for word in line.split()}


def words(text: str) -> list[str]:
    return [word.strip("'") for word in re.findall(r"[a-z0-9']+", text.lower().replace("’", "'")) if word.strip("'")]


def content(text: str, frame: set[str]) -> list[str]:
    return [STEMMER.stem(word) for word in words(text) if word not in frame]


def f1(a: list[str], b: list[str]) -> float:
    overlap = sum((Counter(a) & Counter(b)).values())
    return 2 * overlap / (len(a) + len(b)) if overlap else 0.0


def dialogues(data: Path, part: str) -> list[dict]:
    with gzip.open(data / "tweetsumm/dialogues" / f"{part}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def exported(dialogue: dict, folder: Path) -> Path:
    path = folder / f"{dialogue['conversation_id']}.jsonl"
    with path.open("w") as file:
        for number, turn in enumerate(dialogue["turns"]):
            speaker = "customer" if turn["role"] == "customer" else "bot"
            at = f"2026-11-02T{9 + number // 60:02d}:{number % 60:02d}:00Z"
            line = {"type": "message", "id": f"m{number + 1}", "at": at, "speaker": speaker, "text": turn["text"].strip() or "."}
            file.write(json.dumps(line) + "\n")
    return path


def packages(baton: str, paths: list[Path]) -> list[dict]:
    arguments = [argument for path in paths for argument in ("--conversation", str(path))]
    out = subprocess.run([baton, "package", "--format", "json", *arguments], check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["package"] for line in out.splitlines()]


def untraced(dialogue: dict, summary: dict) -> list[str]:
    """Words of slots that stand in none of the cited messages."""
    missing = []
    for statement in summary["statements"]:
        # What was masked stands in brackets.
        slot = re.sub(r"\[(card number|IBAN|national id|password|token|e-mail|phone number)\]", "", statement["slot"])
        cited = " ".join(dialogue["turns"][message - 1]["text"] for message in statement["messages"])
        there = set(words(cited)) | RETOLD | {"offered", "suggested", "said", "let"}
        # A word that was cut by punctuation in the source is the same word here.
        missing += [word for word in words(slot) if word not in there and word not in words(cited.replace("-", " "))]
    return missing


def sets(package: dict) -> dict[str, set[int]]:
    tried = package["highlights"]["tried"]
    return {
        "tried": {solution["message"] for solution in tried},
        "rejected": {solution["message"] for solution in tried if solution["outcome"] == "did_not"},
        "confirmed": {solution["message"] for solution in tried if solution["outcome"] == "worked"},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", default="valid", choices=["valid", "train"])
    parser.add_argument("--baton", default="target/release/baton")
    arguments = parser.parse_args()
    folder = arguments.out / f"tweetsumm-{arguments.part}"
    folder.mkdir(parents=True, exist_ok=True)
    frame = frame_words()
    all_dialogues = dialogues(arguments.data, arguments.part)
    made = packages(arguments.baton, [exported(dialogue, folder) for dialogue in all_dialogues])

    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    ours, first_two, people, plain, lengths, faults = [], [], [], Counter(), [], []
    for dialogue, package in zip(all_dialogues, made):
        summary = package["summary"].get("value", {"statements": []})
        faults += [(dialogue["conversation_id"], word) for word in untraced(dialogue, summary)]
        references = dialogue.get("abstractive") or []
        if not references:
            continue
        text = " ".join(statement["text"] for statement in summary["statements"])
        sentences = [s for turn in dialogue["turns"] for s in re.split(r"(?<=[.!?])\s+", re.sub(r"https?://\S+|@\w+", "", turn["text"])) if words(s)]
        lengths.append(len(text.split()))
        mean = lambda candidate: sum(f1(content(candidate, frame), content(r, frame)) for r in references) / len(references)
        ours.append(mean(text))
        first_two.append(mean(" ".join(sentences[:2])))
        people += [f1(content(a, frame), content(b, frame)) for a, b in itertools.permutations(references, 2)]
        for name, score in scorer.score(references[0], text).items():
            plain[name] += score.fmeasure

    percent = lambda values: round(100 * sum(values) / len(values), 1)
    figures = {
        "part": arguments.part,
        "dialogues": len(all_dialogues),
        "frame_neutral_rouge1": percent(ours),
        "first_two_sentences": percent(first_two),
        "two_people": percent(people),
        "plain_first_reference": {name: round(100 * total / len(ours), 1) for name, total in plain.items()},
        "words_mean": round(sum(lengths) / len(lengths), 1),
        "words_most": max(lengths),
        "untraced_words": len(faults),
    }
    labels = HERE / "tweetsumm_labels.jsonl"
    if arguments.part == "train" and labels.exists():
        by_id = {dialogue["conversation_id"]: package for dialogue, package in zip(all_dialogues, made)}
        labelled = [json.loads(line) for line in labels.read_text().splitlines()]
        for field in ("tried", "rejected", "confirmed"):
            hits = found = wanted = 0
            for label in labelled:
                ours_set, theirs = sets(by_id[label["dialogue"]])[field], set(label[field])
                hits, found, wanted = hits + len(ours_set & theirs), found + len(ours_set), wanted + len(theirs)
            figures[field] = {"precision": round(hits / max(found, 1), 3), "recall": round(hits / max(wanted, 1), 3), "f1": round(2 * hits / max(found + wanted, 1), 3)}
    (arguments.out / f"summaries-{arguments.part}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    for dialogue, word in faults[:20]:
        print(f"{dialogue}: {word!r} stands in no cited message", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
