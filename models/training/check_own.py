"""Checks the CSV files of own/hard; prints what is wrong and exits 1, or prints the counts and exits 0.

python3 models/training/check_own.py DATA      DATA: the folder of the public sets, see README.md

Checked: columns, labels of taxonomy.toml, kinds, splits; at least 300 rows and 60 templates a kind (a class file), at most 8 texts
a template; 300 + 200 act pairs, labels about balanced, templates and texts disjoint between the splits; no text twice after normalisation
(in a file, across the files, and against own/*.csv); no text equal to a held-out row (prepare.py's own guard: four words or more);
no two texts of different templates of a file with a token Jaccard over 0.6 (act pairs: over bot and text together); also over 0.6 across files;
template ids of one shape; CSV in UTF-8 without carriage returns in fields; texts of 1 to 70 words without outer space."""
import argparse
import csv
import re
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

sys.dont_write_bytecode = True
MAIN = Path(__file__).resolve().parent
HERE = MAIN / "own" / "hard"
CLASSES = ["talk_to_human_indirect", "human_declined", "legal_threat", "privacy_request", "security_concern", "distress",
           "contract_termination", "regulator"]
EXAMPLE_LABEL = {"talk_to_human_indirect": "talk_to_human", "legal_threat": "legal_threat", "privacy_request": "privacy_request",
                 "security_concern": "security_concern", "distress": "distress", "contract_termination": "cancel_or_close",
                 "regulator": "legal_threat"}  # human_declined: whatever the text asks for, never talk_to_human
ACTS = ["accepts", "rejects", "repeats", "other"]
problems = []


def problem(where, what):
    problems.append(f"{where}: {what}")


def pairs_over(items, threshold):
    """items: [(group, name, tokens)]; yields the pairs of different groups with a Jaccard over the threshold."""
    index = defaultdict(list)
    for i, (_, _, tokens) in enumerate(items):
        for token in tokens:
            index[token].append(i)
    for i, (group, _, tokens) in enumerate(items):
        shared = Counter()
        for token in tokens:
            for j in index[token]:
                if j < i and items[j][0] != group:
                    shared[j] += 1
        for j, n in shared.items():
            score = n / (len(tokens) + len(items[j][2]) - n)
            if score > threshold:
                yield i, j, score


def read(path, columns):
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problem(path.name, f"not UTF-8: {error}")
        return []
    if text.startswith("\ufeff"):
        problem(path.name, "begins with a byte order mark")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, strict=True))
    if lines[0] != columns:
        problem(path.name, f"columns {lines[0]}, wanted {columns}")
        return []
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(columns):
            problem(f"{path.name} row {number}", f"{len(line)} fields")
            continue
        row = dict(zip(columns, line))
        for column, value in row.items():
            if not value or value != " ".join(value.split()):
                problem(f"{path.name} row {number}", f"{column} is empty or has outer, double or line white space: {value!r}")
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser()

    parser.add_argument("data", type=Path)
    parser.add_argument("--partial", action="store_true", help="do not complain about absent files")
    arguments = parser.parse_args()
    sys.path.insert(0, str(MAIN))
    import prepare
    labels = list(tomllib.loads((MAIN / "taxonomy.toml").read_text(encoding="utf-8"))["labels"])
    guard = prepare.LeakGuard(prepare.DataRoot(arguments.data, MAIN / "held_out.sha256"))
    if guard.absent:
        print(f"note: {len(guard.absent)} held-out files are not present")
    normalise = prepare.normalise
    existing = {}
    for path in sorted((MAIN / "own").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                existing[normalise(row["text"]) or row["text"]] = path.name
    seen, everything = {}, []
    for name in CLASSES:
        path = HERE / f"{name}.csv"
        if not path.exists():
            if not arguments.partial:
                problem(path.name, "absent")
            continue
        rows = read(path, ["text", "label", "kind", "template"])
        templates = defaultdict(Counter)
        items = []
        label_counts = defaultdict(Counter)
        for number, row in enumerate(rows, 2):
            where = f"{path.name} row {number}"
            key = normalise(row["text"]) or row["text"]
            if row["label"] not in labels:
                problem(where, f"label {row['label']!r}")
            if row["kind"] not in ("example", "near_miss"):
                problem(where, f"kind {row['kind']!r}")
            if not re.fullmatch(r"[a-z]{4}-[en]-[a-z0-9_]+", row["template"]) or (row["template"][5] == "e") != (row["kind"] == "example"):
                problem(where, f"template id {row['template']!r}")
            own = EXAMPLE_LABEL.get(name)
            if row["kind"] == "example" and (row["label"] != own if own else row["label"] == "talk_to_human"):
                problem(where, f"an example labelled {row['label']}: {row['text']}")
            if row["kind"] == "near_miss" and own and row["label"] == own:
                problem(where, f"a near miss labelled {row['label']}: {row['text']}")
            if not key and not row["text"]:
                problem(where, "empty text")
            if not 1 <= len(row["text"].split()) <= 70:
                problem(where, f"{len(row['text'].split())} words")
            if key in seen:
                problem(where, f"same text as {seen[key]}: {row['text']}")
            if key in existing:
                problem(where, f"same text as a row of own/{existing[key]}: {row['text']}")
            if key in guard.texts:
                problem(where, f"equals a held-out row: {row['text']}")
            seen[key] = where
            templates[row["kind"]][row["template"]] += 1
            label_counts[row["kind"]][row["label"]] += 1
            items.append((row["template"], f"{row['template']}: {row['text']}", frozenset(key.split())))
            everything.append((name, f"{row['template']}: {row['text']}", frozenset(key.split())))
        for kind in ("example", "near_miss"):
            counts = templates[kind]
            if sum(counts.values()) < 300:
                problem(path.name, f"{sum(counts.values())} rows of kind {kind}")
            if len(counts) < 60:
                problem(path.name, f"{len(counts)} templates of kind {kind}")
            for template, count in counts.items():
                if count > 8:
                    problem(path.name, f"template {template} has {count} texts")
            print(f"{path.name:28} {kind:9} {sum(counts.values()):4} rows {len(counts):3} templates "
                  f"(largest {max(counts.values(), default=0)})  " + ", ".join(f"{k} {v}" for k, v in label_counts[kind].most_common()))
        for i, j, score in pairs_over(items, 0.6):
            problem(path.name, f"near duplicates {score:.2f}: {items[i][1]} | {items[j][1]}")
    for i, j, score in pairs_over(everything, 0.6):
        problem("across files", f"near duplicates {score:.2f}: {everything[i][1]} | {everything[j][1]}")
    path = HERE / "act_pairs.csv"
    if path.exists():
        rows = read(path, ["bot", "text", "label", "template", "split"])
        pairs, splits, templates, counts, items = {}, {}, Counter(), defaultdict(Counter), []
        texts = defaultdict(set)
        for number, row in enumerate(rows, 2):
            where = f"{path.name} row {number}"
            key = (normalise(row["bot"]), normalise(row["text"]) or row["text"])
            if row["label"] not in ACTS:
                problem(where, f"label {row['label']!r}")
            if row["split"] not in ("train", "eval"):
                problem(where, f"split {row['split']!r}")
            if not re.fullmatch(r"act-[te]-[a-z0-9_]+", row["template"]) or row["template"][4] != row["split"][0]:
                problem(where, f"template id {row['template']!r}")
            if key in pairs:
                problem(where, f"same pair as {pairs[key]}: {row['bot']} | {row['text']}")
            if normalise(row["text"]) in guard.texts or normalise(row["bot"]) in guard.texts:
                problem(where, f"equals a held-out row: {row['bot']} | {row['text']}")
            pairs[key] = where
            templates[row["template"]] += 1
            if splits.setdefault(row["template"], row["split"]) != row["split"]:
                problem(where, "template in both splits")
            texts[row["split"]].add(key[1])
            texts["bot " + row["split"]].add(key[0])
            counts[row["split"]][row["label"]] += 1
            items.append((row["template"], f"{row['template']}: {row['bot']} || {row['text']}",
                          frozenset(["b:" + t for t in key[0].split()] + ["t:" + t for t in key[1].split()])))
        for kind in ("", "bot "):
            for text in sorted(texts[kind + "train"] & texts[kind + "eval"]):
                if len(text.split()) > 2:  # a bare "yes" may be in both; what it means depends on the bot's turn
                    problem(path.name, f"{kind}text in both splits: {text}")
        long = [(split, text, frozenset(text.split())) for split in ("train", "eval") for text in texts[split] if len(text.split()) > 3]
        for i, j, score in pairs_over(long, 0.6):
            problem(path.name, f"near duplicates over the splits {score:.2f}: {long[i][1]} | {long[j][1]}")
        for split, wanted in (("train", 300), ("eval", 200)):
            total = sum(counts[split].values())
            if total < wanted:
                problem(path.name, f"{total} rows of split {split}")
            for act in ACTS:
                if not 0.22 <= counts[split][act] / max(total, 1) <= 0.28:
                    problem(path.name, f"{split}: {act} has {counts[split][act]} of {total}")
            print(f"{path.name:28} {split:9} {total:4} rows {sum(s == split for s in splits.values()):3} templates  " +
                  ", ".join(f"{k} {v}" for k, v in counts[split].most_common()))
        for template, count in templates.items():
            if count > 8:
                problem(path.name, f"template {template} has {count} texts")
        for i, j, score in pairs_over(items, 0.6):
            problem(path.name, f"near duplicates {score:.2f}: {items[i][1]} | {items[j][1]}")
    elif not arguments.partial:
        problem(path.name, "absent")
    for line in problems:
        print("PROBLEM", line)
    print("clean" if not problems else f"{len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
