"""Turns the public data sets into the CSV files that the heads are fitted and measured on.

Usage: prepare.py --data DIR --out DIR [--own DIR]

DIR of --data holds one folder per data set (README.md beside this file names the origins). --out receives `train/*.csv`,
`dev/*.csv` (to choose thresholds on), `eval/*.csv` and `counts.json`. The same inputs always give the same bytes. Standard
library only, Python 3.11 or later.

Two guards keep measured data out of training data:

* every training input passes `DataRoot.open_training`, which refuses a file that `held_out.sha256` lists, by digest or by
  path, and which strips the test parts from a file that holds several splits;
* a training row of four or more words whose normalised text equals that of any held-out row is dropped (`LeakGuard`).
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import hashlib
import html
import io
import json
import random
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20170401
LEAK_MIN_WORDS = 4

# Files that hold several splits: the keys that a training reader may see.
TRAINING_KEYS = {"clinc150/data_full.json.gz": ("train", "val", "oos_train", "oos_val")}
HELD_OUT_KEYS = {"clinc150/data_full.json.gz": ("test", "oos_test")}
# Held out by path alone: a label file without texts, byte for byte equal to the label file of the valid split.
HELD_OUT_PATHS = frozenset({"hwu64/test/label"})

SEMEVAL_POOL = (
    "twitter-2013train-A.tsv",
    "twitter-2013dev-A.tsv",
    "twitter-2013test-A.tsv",
    "twitter-2014sarcasm-A.tsv",
    "twitter-2014test-A.tsv",
    "twitter-2015train-A.tsv",
    "twitter-2015test-A.tsv",
    "twitter-2016train-A.tsv",
    "twitter-2016dev-A.tsv",
    "twitter-2016devtest-A.tsv",
    "twitter-2016test-A.tsv.gz",
)
SEMEVAL_TEST = "SemEval2017-task4-test.subtask-A.english.txt"
MULTIDOGO_DOMAINS = ("airline", "fastfood", "finance", "insurance", "media", "software")
HINT3_BOTS = ("curekart", "powerplay11", "sofmattress")
NATCS_PARTS = {"insurance": "development", "banking": "test-banking", "finance": "test-finance"}

BITEXT_CAP = 3000
BITEXT_TRANSFER_CAP = 400
MULTIDOGO_CAP = 14000
MULTIDOGO_LABEL_CAP = 700
MULTIDOGO_CAPS = {
    "openinggreeting": 250,
    "closinggreeting": 250,
    "thankyou": 500,
    "confirmation": 250,
    "rejection": 250,
    "contentonly": 400,
    "changeseatassignment": 250,
    "getseatinfo": 150,
}
MULTIDOGO_BARE = ("confirmation", "rejection", "contentonly")
MULTIDOGO_FORMULAS = (*MULTIDOGO_BARE, "openinggreeting", "closinggreeting", "thankyou")
MULTIDOGO_MIN_REQUEST_WORDS = 3
MULTIDOGO_MAX_FORMULA_WORDS = 6
MULTIDOGO_AGREEMENT = 0.6
# The origin's labels of requests that a person must take over: conversations with one of them are kept apart.
MULTIDOGO_TAKEOVER = frozenset({"cancelserviceintent", "closeaccount", "disputecharge", "reportlostcard"})
OUT_OF_SCOPE_CAP = 8000
CONFLICT_MAJORITY = 2 / 3

ACT_TOTAL = 20000
ACT_COPIES = 25
ACT_CONTENT_CAP = 5000

# Rows that no fit sees: temperatures, biases and thresholds are chosen on them. One in DEV_ONE_IN by the hash of the text.
DEV_ONE_IN = 16
# One source label of out-of-scope rows in DEV_TOPIC_ONE_IN is left to the development rows, so that p(in scope) is fitted on requests that are new. Some of
# them have a neighbour in the other set (shopping lists, alarms), so its subjects are not all new.
DEV_TOPIC_ONE_IN = 8

# Support messages beside the tweets, with the tone that their intent implies: the calm labels, thanks, and own complaints.
CALM_INTENTS = ("how_to", "product_question", "billing_question", "account_update", "order_status", "plan_or_pricing")
CALM_CAP = 1500
THANKS_CAP = 300
COMPLAINT_CAP = 150
# Small talk of forums and tweets that carries no request: out of scope for a support desk.
CHATTER_CAP = 1500
RSICS_MAX_WORDS = 60
# Backstory sentences of RSiCS, put before requests as filling while training.
FILLER_WORDS = (3, 25)
FILLER_CAP = 1500

# Share of common words from which two texts are nearly the same.
NEAR = 0.6

PAIRS_MULTIDOGO_CAP = 8000
PAIRS_TOPIC_CAP = 2500

ENGLISH_TOTAL = 8000
ENGLISH_SHARES = ((1, 3, 0.25), (4, 7, 0.25), (8, 10_000, 0.5))
ENGLISH_WORDS = frozenset(
    "a an and are at be but can do for from have i in is it me my not of on or so that the this to was we what with you your".split()
)

# A row mapped to out_of_scope is left out if it holds a word of the support domain: such rows read like requests to support.
SUPPORT_WORDS = re.compile(
    r"\b(accounts?|agents?|bank\w*|bill(s|ing|ed)?|broken|bug|cancel\w*|cards?|charg\w+|complain\w*|costs?|credit|customer|debit|"
    r"deliver\w*|fees?|fraud\w*|human|insurance|invoices?|issues?|lawyer|legal|loans?|log ?in|manager|money|mortgage|"
    r"not work\w*|operator|orders?|ordered|ordering|outage|overdraft|packages?|parcels?|passwords?|pay\w*|person|price\w*|"
    r"privacy|problems?|products?|purchase\w*|refund\w*|representative|return|savings|ship\w*|sue|suing|subscri\w+|support|"
    r"transactions?|transfers?|warranty|wi ?fi)\b"
)
# Bare answers of MultiDoGO must not ask for anything either: many requests are labelled as content.
REQUEST_WORDS = re.compile(r"\b(can|could|help|how|i (want|need|would like)|what|when|where|why|please)\b")
# "Nothing else, thanks" is labelled as a rejection in some sets, yet it closes the conversation: neither label is taught with it.
CLOSING_WORDS = re.compile(r"\b(bye|concerns?|done|else|goodbye|no more|nothing|over|quer(y|ies)|quires|th?ank\w*|thats?|that s|thx|ty)\b")
BARE_ORIGINS = frozenset({"confirmation", "rejection", "affirm", "deny", "yes", "no", "=affirm", "=deny", "=acknowledge"})
# Labels that the origin also gives to other texts: only texts with this evidence keep the label.
PERSON_EVIDENCE = re.compile(
    r"^(?!.*\b(do not|don t) (need|want)\b).*"
    r"\b(agents?|agrnt|assistant|call|care|caht|chat|connect|contact|executive|expert|human|number|person|representative|speak|talk)\b"
)
TEXT_EVIDENCE = {
    ("hint3-curekart", "CHAT_WITH_AGENT"): PERSON_EVIDENCE,
    ("hint3-powerplay11", "CHAT_WITH_AN_AGENT"): PERSON_EVIDENCE,
    ("heldout:hint3-curekart", "CHAT_WITH_AGENT"): PERSON_EVIDENCE,
    ("heldout:hint3-powerplay11", "CHAT_WITH_AN_AGENT"): PERSON_EVIDENCE,
    ("multidogo", "changeseatassignment"): re.compile(
        r"^(?!.*\b(check|know)\b).*\b(aisle|another|chang\w+|different|middle|mov\w+|prefer|switch|window)\b"),
    ("multidogo", "checkserverstatus"): re.compile(r"\b(down|global|outages?|servers?)\b"),
}
# These labels are about the bot itself, so "human" and "person" in them do not ask for one.
BOT_TALK = {("clinc150", "are_you_a_bot"), ("rasa-financial-demo", "check_human")}
# "Ask an agent how to ...": a request put in the third person. It would teach talk_to_human's words to other labels.
ASKS_VIA_AGENT = re.compile(r"\b(ask|asking|tell)\b.{0,20}\bagents?\b")


class PrepareError(Exception):
    """A problem with the inputs that the user must solve; shown without a traceback."""


@dataclass(frozen=True)
class Row:
    """One labelled text. `label` is the label to train or measure; `origin` is the source's own label."""

    text: str
    label: str
    source: str
    origin: str = ""


# Text -------------------------------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """Returns the text in lower case, letters and digits only, words separated by single spaces."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def bucket(key: str, buckets: int) -> int:
    """Returns a number below `buckets` that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % buckets


def split_of(row: Row) -> str:
    """Returns `dev` for one row in DEV_ONE_IN and for whole source labels out of scope, else `train`."""
    if row.label == "out_of_scope" and row.source in ("clinc150", "hwu64"):
        return "dev" if bucket(f"{row.source} {row.origin}", DEV_TOPIC_ONE_IN) == 0 else "train"
    return "dev" if bucket(normalise(row.text), DEV_ONE_IN) == 0 else "train"


def squeeze(text: str) -> str:
    """Returns the text with runs of white space made one space."""
    return " ".join(text.split())


def clean_tweet(text: str) -> str:
    """Returns a tweet with escapes decoded, URLs as `http`, handles as `@user`, and CSV quotes of the origin removed."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = text.replace('\\""', '"').replace('\\"', '"').replace("\\n", " ")
    while (decoded := html.unescape(text)) != text:
        text = decoded
    text = re.sub(r"(https?://|www\.)\S*", "http", text)
    text = re.sub(r"@\w+", "@user", text)
    return squeeze(text)


# Files ------------------------------------------------------------------------------------------------------------------


class DataRoot:
    """The data folder together with the list of files that must never be trained on."""

    def __init__(self, root: Path, listing: Path) -> None:
        """`root` is the data folder, `listing` a file in the format of sha256sum with paths relative to `root`."""
        if not root.is_dir():
            raise PrepareError(f"{root}: not a folder")
        self.root = root.resolve()
        self.held_out: dict[str, str] = {}
        for line in listing.read_text(encoding="utf-8").splitlines():
            digest, name = line.split("  ", 1)
            self.held_out[name] = digest
        self.digests = {digest: name for name, digest in self.held_out.items()}

    def _read(self, path: Path) -> tuple[str, bytes, str]:
        """Returns the path relative to the root (or the file name), the raw bytes, and their SHA-256."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise PrepareError(f"cannot read {path}: {error.strerror}") from error
        resolved = path.resolve()
        name = resolved.relative_to(self.root).as_posix() if resolved.is_relative_to(self.root) else resolved.name
        return name, raw, hashlib.sha256(raw).hexdigest()

    def open_training(self, path: Path) -> io.StringIO:
        """Opens a file as training input. Raises PrepareError if it is held out; drops the test keys of a combined file."""
        name, raw, digest = self._read(path)
        if digest in self.digests:
            raise PrepareError(f"refused: {name} is held out (same content as {self.digests[digest]} in held_out.sha256)")
        if name in self.held_out or name in HELD_OUT_PATHS:
            raise PrepareError(f"refused: {name} is held out (by its path)")
        text = decode(name, raw)
        if name in TRAINING_KEYS:
            parts = json.loads(text)
            text = json.dumps({key: parts[key] for key in TRAINING_KEYS[name]})
        return io.StringIO(text, newline="")

    def open_held_out(self, name: str) -> io.StringIO:
        """Opens a file for measuring. Raises PrepareError unless it is listed with this very content."""
        _, raw, digest = self._read(self.root / name)
        if name in HELD_OUT_KEYS:
            parts = json.loads(decode(name, raw))
            return io.StringIO(json.dumps({key: parts[key] for key in HELD_OUT_KEYS[name]}), newline="")
        if self.held_out.get(name) != digest and name not in HELD_OUT_PATHS:
            raise PrepareError(f"{name}: not in held_out.sha256 with this content; the measured numbers would not be comparable")
        return io.StringIO(decode(name, raw), newline="")

    def train(self, name: str) -> io.StringIO:
        """Opens a training file by its path relative to the root."""
        return self.open_training(self.root / name)


def decode(name: str, raw: bytes) -> str:
    """Returns the text of a plain, gzip or bzip2 file; a byte order mark is dropped."""
    if name.endswith(".gz"):
        raw = gzip.decompress(raw)
    elif name.endswith(".bz2"):
        raw = bz2.decompress(raw)
    return raw.decode("utf-8-sig")


def csv_rows(stream: io.StringIO) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header line."""
    return list(csv.DictReader(stream))


# Readers of the origins' formats ----------------------------------------------------------------------------------------


def read_semeval(stream: io.StringIO) -> Iterator[tuple[str, str, str]]:
    """Yields (tweet id, label, cleaned text)."""
    for line in stream.read().split("\n"):
        parts = line.rstrip("\r").split("\t")
        if len(parts) >= 3:
            yield parts[0], parts[1], clean_tweet(parts[2])


def read_goemotions(stream: io.StringIO, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields (text, names of its emotions)."""
    for line in stream.read().split("\n"):
        parts = line.rstrip("\r").split("\t")
        if len(parts) == 3:
            yield squeeze(parts[0]), [names[int(index)] for index in parts[1].split(",")]


def read_multidogo_turns(stream: io.StringIO) -> Iterator[tuple[str, int, str, list[str]]]:
    """Yields (conversation, turn, text, intents); the turns of the other side are counted, but not in the file."""
    for parts in csv.reader(stream, delimiter="\t"):
        if len(parts) == 6 and parts[0] != "conversationId":
            yield parts[0], int(float(parts[1])), squeeze(parts[3]), parts[5].split("<div>")


def read_multidogo(stream: io.StringIO) -> Iterator[tuple[str, str]]:
    """Yields (text, label); a label that joins several intents becomes `several_intents`."""
    for _, _, text, intents in read_multidogo_turns(stream):
        yield text, "several_intents" if len(intents) > 1 else intents[0]


def read_rasa(stream: io.StringIO) -> Iterator[tuple[str, str]]:
    """Yields (text, intent) of a Rasa NLU file; entity marks such as [Bob](PERSON) are reduced to their text."""
    intent = ""
    for line in stream.read().splitlines():
        if found := re.match(r"- (\w+): (\S+)", line):
            intent = found.group(2) if found.group(1) == "intent" else ""
        elif intent and (found := re.match(r"\s+- (.*)", line)):
            yield squeeze(re.sub(r"\[([^\]]*)\](\([^)]*\)|\{[^}]*\})", r"\1", found.group(1))), intent


def read_nlupp(stream: io.StringIO) -> Iterator[tuple[str, frozenset[str]]]:
    """Yields (text, set of intents)."""
    for entry in json.load(stream):
        yield squeeze(entry["text"]), frozenset(entry.get("intents", []))


def read_clinc(stream: io.StringIO, parts: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yields (text, intent) of the named parts, else of every part that the stream still holds, in the parts' order in the file."""
    held = json.load(stream)
    for part in held if parts is None else parts:
        for text, label in held[part]:
            yield squeeze(text), label


def read_hint3(stream: io.StringIO) -> Iterator[tuple[str, str]]:
    """Yields (text, intent)."""
    for entry in csv_rows(stream):
        yield squeeze(entry["sentence"]), entry["label"]


def read_natcs(stream: io.StringIO) -> Iterator[tuple[str, str]]:
    """Yields (text, intent)."""
    for line in stream.read().splitlines():
        entry = json.loads(line)
        yield squeeze(entry["utterance"]), entry["intent"]


def read_hwu64(texts: io.StringIO, labels: io.StringIO) -> Iterator[tuple[str, str]]:
    """Yields (text, intent) of two files that run in parallel."""
    yield from zip((squeeze(line) for line in texts), labels.read().split(), strict=True)


def strings_in(value: object) -> Iterator[str]:
    """Yields every string inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)


# Held-out texts ---------------------------------------------------------------------------------------------------------


def held_out_texts(name: str, stream: io.StringIO) -> Iterator[str]:
    """Yields the texts of a held-out file. Files whose texts are numbers yield nothing. Raises on an unknown format."""
    group = name.split("/")[0]
    if group in ("mhch-dami", "mhch-ssa-makeup", "betold") or re.match(r"tweeteval/\w+/\w+_labels\.txt", name):
        return
    if group in ("banking77", "bitext-customer-support", "hint3", "meld"):
        column = {"banking77": "text", "bitext-customer-support": "utterance", "hint3": "sentence", "meld": "Utterance"}[group]
        yield from (entry[column] for entry in csv_rows(stream))
    elif group == "clinc150":
        yield from (text for text, _ in read_clinc(stream))
    elif group == "goemotions":
        yield from (line.split("\t")[0] for line in stream.read().split("\n"))
    elif group == "semeval2017-task4a":
        yield from (text for _, _, text in read_semeval(stream))
    elif group == "multidogo":
        yield from (text for text, _ in read_multidogo(stream))
    elif group == "rasa-handoff-nlu":
        yield from (text for text, _ in read_rasa(stream))
    elif group == "nlupp":
        yield from (text for text, _ in read_nlupp(stream))
    elif group in ("dstc11-natcs-intents", "tweetsumm", "dialogsum"):
        for line in stream.read().splitlines():
            for text in strings_in(json.loads(line)):
                yield from (clean_tweet(re.sub(r"#Person\d#:", "", part)) for part in text.split("\n"))
    elif group in ("hwu64", "tweeteval"):
        yield from (clean_tweet(line) for line in stream.read().split("\n"))
    elif group in ("sst5", "customer-reviews-cr"):
        yield from (line[2:] for line in stream.read().split("\n"))
    elif group == "uss":
        yield from (parts[1] for line in stream.read().split("\n") if len(parts := line.split("\t")) > 1)
    elif group == "twacs":
        for entry in csv_rows(stream):
            for turn in re.split(r"<?(?:cust|rep)__|__(?:cust|rep)>", f"{entry['first_utterance']} {entry['context']}"):
                yield turn.replace("__company__", "")
    else:
        raise PrepareError(f"{name}: held_out.sha256 lists a file whose format is unknown to prepare.py")


class LeakGuard:
    """Knows the normalised texts of all held-out rows."""

    def __init__(self, data: DataRoot) -> None:
        """Reads every held-out file that is present under the data root."""
        self.texts: set[str] = set()
        self.absent: list[str] = []
        self.dropped: Counter[str] = Counter()
        for name in [*data.held_out, *HELD_OUT_KEYS]:
            if not (data.root / name).exists():
                self.absent.append(name)
                continue
            for text in held_out_texts(name, data.open_held_out(name)):
                key = normalise(text)
                if key.count(" ") >= LEAK_MIN_WORDS - 1:
                    self.texts.add(key)

    def equal(self, rows: Iterable[Row]) -> int:
        """Returns how many rows equal a held-out row."""
        return sum(normalise(row.text) in self.texts for row in rows)

    def keep(self, rows: Iterable[Row], output: str) -> list[Row]:
        """Returns the rows that equal no held-out row; counts the others under the output's name."""
        kept = []
        for row in rows:
            if normalise(row.text) in self.texts:
                self.dropped[f"{output}: {row.source}"] += 1
            else:
                kept.append(row)
        return kept


# Mapping ----------------------------------------------------------------------------------------------------------------


class Mapping:
    """A table from (source, source label) to our label or `drop`."""

    def __init__(self, path: Path, allowed: Iterable[str]) -> None:
        """Reads a CSV with source (may be absent), source_label, label and reason; checks labels and reasons."""
        permitted = {*allowed, "drop"}
        self.table: dict[str, dict[str, str]] = defaultdict(dict)
        for entry in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")):
            source = entry.get("source", "")
            if entry["label"] not in permitted:
                raise PrepareError(f"{path.name}: unknown label {entry['label']!r}")
            if not entry["reason"]:
                raise PrepareError(f"{path.name}: no reason given for {source} {entry['source_label']}")
            if entry["source_label"] in self.table[source]:
                raise PrepareError(f"{path.name}: {source} {entry['source_label']} is mapped twice")
            self.table[source][entry["source_label"]] = entry["label"]

    def label(self, source: str, source_label: str) -> str:
        """Returns our label of a source label; every source label must be in the table."""
        try:
            return self.table[source][source_label]
        except KeyError as error:
            raise PrepareError(f"no mapping for label {source_label!r} of source {source!r}") from error

    def label_of_set(self, source: str, intents: frozenset[str]) -> tuple[str, str]:
        """Returns (rule, our label) for a set of intents: the first rule in the order of the table that matches.

        `a+b` asks for both intents, `!c` for the absence of c, `=a+b` for exactly this set; `*` matches everything.
        """
        for rule, label in self.table[source].items():
            if rule == "*" or (rule.startswith("=") and intents == frozenset(rule[1:].split("+"))):
                return rule, label
            if not rule.startswith("="):
                terms = rule.split("+")
                if all((term[1:] not in intents) if term.startswith("!") else (term in intents) for term in terms):
                    return rule, label
        raise PrepareError(f"no rule of {source} matches {sorted(intents)}")


# Outputs ----------------------------------------------------------------------------------------------------------------


class Report:
    """Writes the CSV files and remembers what went into them."""

    def __init__(self, out: Path) -> None:
        """`out` is the folder that receives train/, dev/ and eval/."""
        self.out = out
        self.files: dict[str, dict[str, object]] = {}
        self.dropped: dict[str, Counter[str]] = defaultdict(Counter)

    def drop(self, output: str, reason: str, count: int = 1) -> None:
        """Counts rows that did not reach an output."""
        if count:
            self.dropped[output][reason] += count

    def write(self, name: str, rows: list[Row], *, with_source: bool = False) -> None:
        """Writes rows as CSV with the header text,label or text,label,source."""
        if with_source:
            self.write_table(name, ("text", "label", "source"), ((row.text, row.label, row.source) for row in rows), rows)
        else:
            self.write_table(name, ("text", "label"), ((row.text, row.label) for row in rows), rows)

    def write_split(self, name: str, rows: list[Row]) -> None:
        """Writes rows as CSV with the header text,label,source,split."""
        lines = ((row.text, row.label, row.source, split_of(row)) for row in rows)
        self.write_table(name, ("text", "label", "source", "split"), lines, rows)

    def write_table(self, name: str, header: Iterable[str], lines: Iterable[Iterable[object]], rows: list[Row]) -> None:
        """Writes lines as CSV; `rows` are the same lines as rows, to count labels and sources."""
        path = self.out / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(lines)
        labels = Counter(label or "none" for row in rows for label in row.label.split("|"))
        by_source: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            for label in row.label.split("|"):
                by_source[row.source][label or "none"] += 1
        self.files[name] = {
            "rows": len(rows),
            "labels": dict(sorted(labels.items())),
            "sources": {source: {"rows": sum(row.source == source for row in rows), "labels": dict(sorted(count.items()))}
                        for source, count in sorted(by_source.items())},
        }

    def finish(self, guard: LeakGuard) -> None:
        """Writes counts.json and prints the tables."""
        counts = {
            "files": self.files,
            "dropped": {name: dict(sorted(count.items())) for name, count in sorted(self.dropped.items())},
            "equal_to_held_out": dict(sorted(guard.dropped.items())),
            "held_out_texts": len(guard.texts),
            "held_out_files_absent": guard.absent,
        }
        (self.out / "counts.json").write_text(json.dumps(counts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name, entry in self.files.items():
            print(f"\n{name}.csv: {entry['rows']} rows")
            labels = entry["labels"]
            for label, count in labels.items() if len(labels) <= 40 else [(f"({len(labels)} labels)", entry["rows"])]:
                print(f"  {count:7d}  {label}")
            if len(entry["sources"]) > 1:
                for source, part in entry["sources"].items():
                    print(f"  {part['rows']:7d}  from {source}")
            for domain, count in entry.get("conversations", {}).items():
                print(f"  {count:7d}  conversations of {domain}")
            if "equal_to_held_out" in entry:
                print(f"  {entry['equal_to_held_out']:7d}  kept although equal to a held-out row")
        print("\ndropped")
        for name, count in counts["dropped"].items():
            for reason, number in count.items():
                print(f"  {number:7d}  {name}: {reason}")
        print(f"\ndropped because equal to a held-out row ({len(guard.texts)} texts of {LEAK_MIN_WORDS} or more words)")
        for name, number in counts["equal_to_held_out"].items():
            print(f"  {number:7d}  {name}")
        for name in guard.absent:
            print(f"  held-out file not present, not compared: {name}")


# Sentiment and emotion --------------------------------------------------------------------------------------------------


def prepare_sentiment(data: DataRoot, guard: LeakGuard, report: Report) -> list[Row]:
    """Writes train/sentiment and eval/sentiment_semeval2017; returns the training rows.

    A tweet id or normalised text that occurs with two labels is dropped altogether; otherwise the first occurrence stays.
    """
    name = "train/sentiment"
    pool: list[tuple[str, str, str]] = []
    for file in SEMEVAL_POOL:
        pool.extend(read_semeval(data.train(f"semeval2017-task4a/{file}")))
    votes: dict[str, set[str]] = defaultdict(set)
    for ident, label, text in pool:
        votes[f"id {ident}"].add(label)
        votes[f"text {normalise(text)}"].add(label)
    rows: list[Row] = []
    seen: set[str] = set()
    for ident, label, text in pool:
        keys = (f"id {ident}", f"text {normalise(text)}")
        if not normalise(text):
            report.drop(name, "no text")
        elif any(len(votes[key]) > 1 for key in keys):
            report.drop(name, "same tweet with two labels")
        elif any(key in seen for key in keys):
            report.drop(name, "repeated id or text")
        else:
            rows.append(Row(text, label, "semeval2013-2016"))
        seen.update(keys)
    rows = guard.keep(rows, name)
    report.write_split(name, rows)
    test = [Row(text, label, "semeval2017") for _, label, text in
            read_semeval(data.open_held_out(f"semeval2017-task4a/{SEMEVAL_TEST}"))]
    report.write("eval/sentiment_semeval2017", test)
    return rows


def prepare_emotion(data: DataRoot, guard: LeakGuard, report: Report) -> list[Row]:
    """Writes train/emotion and eval/emotion_goemotions; the label column joins zero or more emotions with `|`."""
    name = "train/emotion"
    names = data.train("goemotions/labels.txt").read().split()
    mapping = Mapping(HERE / "emotion_mapping.csv",
                      ("anger", "frustration", "anxiety", "confusion", "disappointment", "gratitude", "joy", "none"))

    def convert(stream: io.StringIO) -> list[Row]:
        rows = []
        for text, emotions in read_goemotions(stream, names):
            ours = sorted({mapping.label("", emotion) for emotion in emotions} - {"none", "drop"})
            rows.append(Row(text, "|".join(ours), "goemotions"))
        return rows

    rows: list[Row] = []
    seen: set[str] = set()
    for row in convert(data.train("goemotions/train.tsv.gz")) + convert(data.train("goemotions/dev.tsv")):
        key = normalise(row.text)
        if not key or key in seen:
            report.drop(name, "repeated or empty text")
        else:
            rows.append(row)
        seen.add(key)
    rows = guard.keep(rows, name)
    report.write_split(name, rows)
    report.write("eval/emotion_goemotions", convert(data.open_held_out("goemotions/test.tsv")))
    return rows


# Intent -----------------------------------------------------------------------------------------------------------------


def multidogo_turns(data: DataRoot) -> list[tuple[str, str]]:
    """Returns all (text, label) of the train and dev splits."""
    turns: list[tuple[str, str]] = []
    for domain in MULTIDOGO_DOMAINS:
        for split in ("train", "dev"):
            turns.extend(read_multidogo(data.train(f"multidogo/turn_level/{domain}/{split}.tsv.gz")))
    return turns


def majority(labels: Counter[str], share: float) -> str | None:
    """Returns the most frequent label if it holds at least this share, else None."""
    label, count = max(labels.items(), key=lambda item: (item[1], item[0]))
    return label if count >= share * labels.total() else None


def multidogo_intents(data: DataRoot, report: Report) -> list[tuple[str, str]]:
    """Returns (text, label) once per text, where the origin's annotators agree and the text can carry the label.

    The origin's labels are noisy: a text keeps its most frequent label if that holds 60 % of its occurrences. Requests must have
    three words ("ok" is often labelled as the request that the dialogue is about); greetings and thanks at most six.
    """
    name = "train/intent"
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    texts: dict[str, str] = {}
    for text, label in multidogo_turns(data):
        key = normalise(text)
        if key:
            votes[key][label] += 1
            texts.setdefault(key, text)
    result = []
    for key, labels in votes.items():
        label = majority(labels, MULTIDOGO_AGREEMENT)
        words = key.count(" ") + 1
        if label is None:
            report.drop(name, "multidogo: annotators disagree")
        elif label not in MULTIDOGO_FORMULAS and words < MULTIDOGO_MIN_REQUEST_WORDS:
            report.drop(name, "multidogo: too short for a request")
        elif label in MULTIDOGO_FORMULAS and label != "contentonly" and words > MULTIDOGO_MAX_FORMULA_WORDS:
            report.drop(name, "multidogo: too long for a formula")
        else:
            result.append((texts[key], label))
    return result


def rejection(row: Row) -> str | None:
    """Returns why a public row cannot be trained on under its mapped label, or None if it can."""
    plain = normalise(row.text)
    place = (row.source, row.origin)
    if row.label == "drop":
        return "mapped to drop"
    if ASKS_VIA_AGENT.search(plain):
        return "asks by way of an agent"
    if not says_its_label(row):
        return "no evidence of the label in the text"
    if row.label == "out_of_scope" and place not in BOT_TALK:
        if row.source != "nlupp-banking" and SUPPORT_WORDS.search(plain):
            return "out_of_scope with a word of the support domain"
        if row.origin in BARE_ORIGINS and CLOSING_WORDS.search(plain):
            return "bare answer that closes the conversation"
        if row.source == "multidogo" and REQUEST_WORDS.search(plain):
            return "bare answer with a word of asking"
    return None


def intent_sources(data: DataRoot, report: Report) -> Iterator[tuple[str, Iterable[tuple[str, str]]]]:
    """Yields (source, pairs of text and source label) of every single-label training set."""
    yield "banking77", ((squeeze(entry["text"]), entry["category"]) for entry in csv_rows(data.train("banking77/train.csv")))
    yield "clinc150", read_clinc(data.train("clinc150/data_full.json.gz"))
    for split in ("train", "valid"):
        yield "hwu64", read_hwu64(data.train(f"hwu64/{split}/seq.in"), data.train(f"hwu64/{split}/label"))
    for file in ("train/Bitext_Sample_Customer_Service_Training_Dataset.csv",
                 "dev/Bitext_Sample_Customer_Service_Validation_Dataset.csv",
                 "sample-20000/TrainingdatasetBitextsample.csv"):
        entries = []
        for entry in csv_rows(data.train(f"bitext-customer-support/{file}")):
            # Tag D marks requests in the third person ("ask an agent how to ..."), misspelt ones included.
            if "D" in (entry.get("tags") or entry.get("flags") or ""):
                report.drop("train/intent", "asks by way of an agent: bitext")
            else:
                entries.append(entry)
        yield "bitext", ((squeeze(entry["utterance"]), entry["intent"]) for entry in entries)
    yield "multidogo", multidogo_intents(data, report)
    yield "rasa-financial-demo", read_rasa(data.train("rasa-handoff-nlu/financial-demo/nlu.yml"))
    for part in ("banking", "fixing-internet", "mood", "retail"):
        yield "rasa-nlu-training-data", read_rasa(data.train(f"rasa-handoff-nlu/nlu-training-data/{part}/nlu.yml"))
    for bot in HINT3_BOTS:
        yield f"hint3-{bot}", read_hint3(data.train(f"hint3/v2/train/{bot}_train.csv"))


def own_rows(data: DataRoot, folder: Path, labels: list[str]) -> list[Row]:
    """Returns the rows of every own file whose name starts with intent_; they carry our labels already."""
    rows = []
    for path in sorted(folder.glob("intent_*.csv")):
        for entry in csv_rows(data.open_training(path)):
            if entry["label"] not in labels:
                raise PrepareError(f"{path.name}: label {entry['label']!r} is not in taxonomy.toml")
            rows.append(Row(squeeze(entry["text"]), entry["label"], "own", path.stem))
    return rows


def round_robin(groups: dict[object, list[Row]], limit: int) -> list[Row]:
    """Returns up to `limit` rows, taking one of each group in turn, so that small groups are kept whole."""
    result: list[Row] = []
    queues = [list(reversed(rows)) for _, rows in sorted(groups.items(), key=lambda item: str(item[0]))]
    while queues and len(result) < limit:
        for queue in queues:
            if len(result) < limit:
                result.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return result


def grouped(rows: Iterable[Row], key: Callable[[Row], object]) -> dict[object, list[Row]]:
    """Returns the rows by key, in their order."""
    groups: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def varied(rows: list[Row], rng: random.Random) -> list[Row]:
    """Returns the rows reordered so that different openings and lengths come first: templates repeat their first words."""
    shuffled = rng.sample(rows, len(rows))
    return round_robin(grouped(shuffled, lambda row: " ".join(normalise(row.text).split()[:2])), len(rows))


def settle_conflicts(rows: list[Row], report: Report, name: str) -> list[Row]:
    """Returns one row per normalised text.

    If a text has several labels, an own row decides; else the label with two thirds of the occurrences; else all are dropped.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    own: dict[str, str] = {}
    for row in rows:
        key = normalise(row.text)
        votes[key][row.label] += 1
        if row.source == "own":
            own[key] = row.label
    result: list[Row] = []
    seen: set[str] = set()
    for row in rows:
        key = normalise(row.text)
        label = own.get(key) or majority(votes[key], CONFLICT_MAJORITY)
        if not key:
            report.drop(name, "no text")
        elif label is None:
            report.drop(name, "same text with several labels, no majority")
        elif row.label != label:
            report.drop(name, "same text with several labels, in the minority")
        elif key in seen:
            report.drop(name, f"repeated text: {row.source}")
        else:
            result.append(row)
            seen.add(key)
    return result


def limit_bitext(rows: list[Row], rng: random.Random) -> list[Row]:
    """Returns at most BITEXT_CAP rows, equally many per source intent, more for contact_human_agent, varied in form."""
    by_intent = {intent: varied(part, rng) for intent, part in grouped(rows, lambda row: row.origin).items()}
    people = by_intent.pop("contact_human_agent", [])[:BITEXT_TRANSFER_CAP]
    return people + round_robin(by_intent, BITEXT_CAP - len(people))


def limit_multidogo(rows: list[Row], rng: random.Random) -> list[Row]:
    """Returns at most MULTIDOGO_CAP rows with a cap per source label, varied in form."""
    groups = {}
    for origin, part in grouped(rows, lambda row: row.origin).items():
        groups[origin] = varied(part, rng)[: MULTIDOGO_CAPS.get(str(origin), MULTIDOGO_LABEL_CAP)]
    return round_robin(groups, MULTIDOGO_CAP)


def limit_out_of_scope(rows: list[Row], rng: random.Random) -> list[Row]:
    """Returns at most OUT_OF_SCOPE_CAP rows: all bare answers, and of the rest equally many per source label."""
    shuffled = rng.sample(rows, len(rows))
    bare = [row for row in shuffled if row.source in ("multidogo", "nlupp-banking")]
    rest = [row for row in shuffled if row.source not in ("multidogo", "nlupp-banking")]
    return bare + round_robin(grouped(rest, lambda row: (row.source, row.origin)), OUT_OF_SCOPE_CAP - len(bare))


def prepare_intent(data: DataRoot, guard: LeakGuard, report: Report, labels: list[str], own: Path) -> list[Row]:
    """Writes train/intent and the files of prepare_intent_evaluation; returns the training rows."""
    name = "train/intent"
    mapping = Mapping(HERE / "mapping.csv", labels)
    rng = random.Random(SEED)
    rows = own_rows(data, own, labels)
    for source, pairs in intent_sources(data, report):
        for text, origin in pairs:
            rows.append(Row(text, mapping.label(source, origin), source, origin))
    for fold in range(20):
        for text, intents in read_nlupp(data.train(f"nlupp/banking/fold{fold}.json")):
            rule, label = mapping.label_of_set("nlupp-banking", intents)
            rows.append(Row(text, label, "nlupp-banking", rule))

    kept = []
    for row in rows:
        reason = None if row.source == "own" else rejection(row)
        if reason:
            report.drop(name, f"{reason}: {row.source}")
        else:
            kept.append(row)
    kept = settle_conflicts(guard.keep(kept, name), report, name)

    final = [row for row in kept if row.source == "own"]
    final += limit_bitext([row for row in kept if row.source == "bitext"], rng)
    final += limit_multidogo([row for row in kept if row.source == "multidogo"], rng)
    final += [row for row in kept if row.source not in ("own", "bitext", "multidogo")]
    foreign = [row for row in final if row.label == "out_of_scope" and row.source != "own"]
    final = [row for row in final if row.label != "out_of_scope" or row.source == "own"] + limit_out_of_scope(foreign, rng)
    before, after = Counter(row.source for row in kept), Counter(row.source for row in final)
    for source, count in sorted(before.items()):
        report.drop(name, f"over a cap: {source}", count - after[source])
    order = {label: index for index, label in enumerate(labels)}
    final.sort(key=lambda row: (order[row.label], row.source, row.origin, row.text))
    report.write_split(name, final)

    prepare_intent_evaluation(data, mapping, report)
    return final


def prepare_intent_evaluation(data: DataRoot, mapping: Mapping, report: Report) -> None:
    """Writes the four eval/intent files and, with every row of the origins, the four eval/triggers files."""
    evals: dict[str, list[tuple[Row, str]]] = defaultdict(list)  # each row with the origin's own label
    for bot in HINT3_BOTS:
        source = f"heldout:hint3-{bot}"
        for text, origin in read_hint3(data.open_held_out(f"hint3/v2/test/{bot}_test.csv")):
            evals["hint3"].append((Row(text, mapping.label(source, origin), source, origin), origin))
    for part, folder in NATCS_PARTS.items():
        source = f"heldout:natcs-{part}"
        for text, origin in read_natcs(data.open_held_out(f"dstc11-natcs-intents/{folder}/test-utterances.jsonl")):
            evals["natcs"].append((Row(text, mapping.label(source, origin), source, origin), origin))
    source = "heldout:nlupp-hotels"
    for fold in range(20):
        for text, intents in read_nlupp(data.open_held_out(f"nlupp/hotels/fold{fold}.json")):
            rule, label = mapping.label_of_set(source, intents)
            evals["nlupp_hotels"].append((Row(text, label, source, rule), "+".join(sorted(intents))))
    source = "heldout:rasa-helpdesk-assistant"
    for text, origin in read_rasa(data.open_held_out("rasa-handoff-nlu/helpdesk-assistant/nlu.yml")):
        evals["rasa_helpdesk"].append((Row(text, mapping.label(source, origin), source, origin), origin))
    for file, pairs in evals.items():
        name = f"eval/intent_{file}"
        part = [row for row, _ in pairs]
        mapped = [row for row in part if row.label != "drop"]
        report.drop(name, "mapped to drop", len(part) - len(mapped))
        sure = [row for row in mapped if says_its_label(row)]
        report.drop(name, "no evidence of the label in the text", len(mapped) - len(sure))
        report.write(name, sure, with_source=True)

        lines = []
        for row, origin in pairs:
            label = "unmapped" if row.label == "drop" else row.label
            lines.append((row.text, label, label if says_its_label(row) else "unmapped", row.source, origin))
        report.write_table(f"eval/triggers_{file}", ("text", "label", "label_by_text", "source", "origin_label"), lines,
                           [Row(text, label, source) for text, label, _, source, _ in lines])


def says_its_label(row: Row) -> bool:
    """Tells whether the text holds the evidence that TEXT_EVIDENCE asks for; most labels need none."""
    evidence = TEXT_EVIDENCE.get((row.source, row.origin))
    return evidence is None or evidence.search(normalise(row.text)) is not None


# Dialogue act -----------------------------------------------------------------------------------------------------------


def prepare_act(data: DataRoot, guard: LeakGuard, report: Report) -> list[Row]:
    """Writes train/act and eval/act_multidogo; returns the training rows.

    The shares of the labels in train/act are those of all usable turns (repeats included). Within them no text occurs more than
    ACT_COPIES times, and at most ACT_CONTENT_CAP turns only give data. Texts on whose act the annotators disagree are dropped.
    """
    name = "train/act"
    mapping = Mapping(HERE / "act_mapping.csv", ("accepts", "rejects", "other"))
    rng = random.Random(SEED)
    turns = []
    for text, origin in multidogo_turns(data):
        label = mapping.label("", origin)
        if label == "drop" or not normalise(text):
            report.drop(name, "mapped to drop, or no text")
        else:
            turns.append(Row(text, label, "multidogo", origin))
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in turns:
        votes[normalise(row.text)][row.label] += 1
    agreed = []
    for row in turns:
        if majority(votes[normalise(row.text)], MULTIDOGO_AGREEMENT) == row.label:
            agreed.append(row)
        else:
            report.drop(name, "annotators disagree")
    agreed = guard.keep(agreed, name)
    natural = Counter(row.label for row in agreed)
    copies: Counter[str] = Counter()
    content = 0
    pool: dict[str, list[Row]] = defaultdict(list)
    for row in rng.sample(agreed, len(agreed)):
        key = normalise(row.text)
        copies[key] += 1
        content += row.origin == "contentonly"
        if copies[key] > ACT_COPIES:
            report.drop(name, "too many copies of a text")
        elif row.origin == "contentonly" and content > ACT_CONTENT_CAP:
            report.drop(name, "too many turns that only give data")
        else:
            pool[row.label].append(row)
    total = min([ACT_TOTAL, *(int(len(pool[label]) * natural.total() / natural[label]) for label in natural)])
    rows = []
    for label in sorted(natural):
        share = round(total * natural[label] / natural.total())
        rows += pool[label][:share]
        report.drop(name, "over the total", len(pool[label]) - share)
    rows.sort(key=lambda row: (row.label, row.text))
    report.write(name, rows)
    test = []
    for domain in MULTIDOGO_DOMAINS:
        for text, origin in read_multidogo(data.open_held_out(f"multidogo/turn_level/{domain}/test.tsv.gz")):
            label = mapping.label("", origin)
            if label == "drop" or not normalise(text):
                report.drop("eval/act_multidogo", "mapped to drop, or no text")
            else:
                test.append(Row(text, label, "multidogo"))
    report.write("eval/act_multidogo", test)
    return rows


# What the trained trunk sees besides -------------------------------------------------------------------------------------


def template_half(template: str) -> str:
    """Returns the half of the own hard rows that a template belongs to: `train` or `eval`. No template is in both."""
    return ("train", "eval")[bucket(template, 2)]


def prepare_hard(data: DataRoot, guard: LeakGuard, report: Report, labels: list[str], own: Path) -> None:
    """Writes train/hard and eval/hard: own examples and near misses of what no public set has, halved by template.

    `own/more` holds more of the same kind, written later by an author who had not seen the first, and all of it trains but what is near a held-out row.
    `source` is the file and the kind, joined by a slash; one template in DEV_ONE_IN of what trains is for development.
    """
    halves: dict[str, list[tuple[Row, str]]] = {"train": [], "eval": []}
    for path in sorted((own / "hard").glob("*.csv")):
        if path.stem == "act_pairs":
            continue
        for entry in csv_rows(data.open_training(path)):
            if entry["label"] not in labels:
                raise PrepareError(f"{path.name}: label {entry['label']!r} is not in taxonomy.toml")
            row = Row(squeeze(entry["text"]), entry["label"], f"{path.stem}/{entry['kind']}", entry["template"])
            halves[template_half(row.origin)].append((row, "dev" if bucket(row.origin, 2 * DEV_ONE_IN) < 2 else "train"))
    measured = [frozenset(normalise(row.text).split()) for row, _ in halves["eval"]]
    for path in sorted((own / "more").glob("*.csv")):
        for entry in csv_rows(data.open_training(path)):
            if entry["label"] not in labels:
                raise PrepareError(f"{path.name}: label {entry['label']!r} is not in taxonomy.toml")
            words = frozenset(normalise(entry["text"]).split())
            if any(len(words & other) > NEAR * len(words | other) for other in measured):
                report.drop("train/hard", "more: near a row of the held-out half")
                continue
            row = Row(squeeze(entry["text"]), entry["label"], f"more/{path.stem}/{entry['kind']}", entry["template"])
            halves["train"].append((row, "dev" if bucket(row.origin, DEV_ONE_IN) == 0 else "train"))
    kept = {id(row) for row in guard.keep([row for row, _ in halves["train"]], "train/hard")}
    for half, pairs in halves.items():
        lines = [(row, split) for row, split in pairs if half == "eval" or id(row) in kept]
        report.write_table(f"{half}/hard", ("text", "label", "source", "template", "split"),
                           ((row.text, row.label, row.source, row.origin, split if half == "train" else "eval") for row, split in lines),
                           [row for row, _ in lines])


def prepare_tone(data: DataRoot, guard: LeakGuard, report: Report, own: Path, intent: list[Row], emotion: list[Row]) -> None:
    """Writes train/tone and eval/tone (own support messages with sentiment and emotions, a quarter of the templates held out),
    train/calm (support messages whose intent implies their tone) and train/chatter (forum comments that no desk can act on)."""
    rng = random.Random(SEED)
    halves: dict[str, list[tuple[str, str, str, str, str]]] = {"train": [], "eval": []}
    for entry in csv_rows(data.open_training(own / "tone.csv")):
        if guard.equal([Row(entry["text"], "", "own/tone")]):
            report.drop("train/tone", "equal to a held-out row")
            continue
        place = bucket(entry["template"], 4 * DEV_ONE_IN)
        half = "eval" if place < DEV_ONE_IN else "train"
        split = "eval" if half == "eval" else ("dev" if place < DEV_ONE_IN + 4 else "train")
        halves[half].append((squeeze(entry["text"]), entry["sentiment"], entry["emotions"], entry["template"], split))
    for half, lines in halves.items():
        report.write_table(f"{half}/tone", ("text", "sentiment", "emotions", "template", "split"), lines,
                           [Row(line[0], line[1], "own/tone") for line in lines])

    pools: dict[str, list[Row]] = defaultdict(list)
    for row in intent:
        if row.label in CALM_INTENTS and row.source != "own":
            pools["neutral"].append(Row(row.text, "neutral", f"calm/{row.source}", row.label))
        elif row.label == "thanks_or_closing" and re.search(r"\b(thank|thanks|thx|ty|great|perfect|appreciate)", normalise(row.text)):
            pools["positive"].append(Row(row.text, "positive", f"calm/{row.source}"))
        elif row.label == "complaint" and row.source == "own":
            pools["negative"].append(Row(row.text, "negative", "calm/own"))
    calm = round_robin(grouped(varied(pools["neutral"], rng), lambda row: (row.source, row.origin)), CALM_CAP)
    calm += varied(pools["positive"], rng)[:THANKS_CAP] + pools["negative"][:COMPLAINT_CAP]
    report.write_split("train/calm", calm)

    chatter = [Row(row.text, "out_of_scope", "goemotions") for row in emotion
               if not row.label and 4 <= len(row.text.split()) <= 25 and not SUPPORT_WORDS.search(normalise(row.text))
               and not REQUEST_WORDS.search(normalise(row.text))]
    report.write_split("train/chatter", rng.sample(chatter, CHATTER_CAP))


def prepare_rsics(data: DataRoot, guard: LeakGuard, report: Report) -> None:
    """Writes train/rsics (requests to virtual agents with the emotions that its marks decide) and train/filler (backstory sentences).

    `known` names the emotions that the marks say something of: gratitude always; frustration by a rant; anger and frustration, both absent, where there
    is neither rant nor emotion. The other emotions stay unknown.
    """
    rng = random.Random(SEED)
    rows: list[tuple[str, str, str, str]] = []
    fillers: list[Row] = []
    for parts in csv.reader(data.train("rsics/tagged_selections_by_sentence.csv.gz")):
        text = squeeze(re.sub(r"[\[\]]", "", parts[4]))
        _greeting, backstory, _justification, rant, gratitude, _other, emotion = (mark == "1" for mark in parts[7:14])
        if not normalise(text) or guard.equal([Row(text, "", "")]):
            continue
        if len(text.split()) <= RSICS_MAX_WORDS:
            labels = (["frustration"] if rant else []) + (["gratitude"] if gratitude else [])
            known = ["gratitude"] + (["frustration"] if rant else []) + ([] if rant or emotion else ["anger", "frustration"])
            rows.append((text, "|".join(labels), "|".join(sorted(known)), split_of(Row(text, "", "rsics"))))
        told = squeeze(re.sub(r"[\[\]]", " ", parts[6]))
        low, high = FILLER_WORDS
        if backstory and not (rant or emotion or gratitude) and parts[0] != "1" and low <= len(told.split()) <= high and "?" not in told:
            fillers.append(Row(told, "filler", "rsics"))
    report.write_table("train/rsics", ("text", "label", "known", "split"), rows, [Row(row[0], row[1], "rsics") for row in rows])
    report.write("train/filler", rng.sample(fillers, min(FILLER_CAP, len(fillers))))


def prepare_pairs(data: DataRoot, guard: LeakGuard, report: Report, own: Path, intent: list[Row], act: list[Row]) -> None:
    """Writes train/act_pairs, eval/act_pairs and eval/act_sgd with the columns bot, text and label.

    MultiDoGO has no turns of its bot: its answers are put after own proposals (`own/bot_turns.csv`), which leaves "yes" an acceptance and "no thanks" a
    rejection. A request after an answer on the same intent repeats it, one on another intent is something else.
    """
    rng = random.Random(SEED)
    turns: dict[str, list[str]] = defaultdict(list)
    for entry in csv_rows(data.open_training(own / "bot_turns.csv")):
        turns[entry["label"]].append(squeeze(entry["text"]))
    proposals = [text for texts in turns.values() for text in texts]
    questions = [text for text in proposals if text.endswith("?")]
    lines: list[tuple[str, str, str, str, str]] = []

    def add(bot: str, text: str, label: str, source: str, split: str) -> None:
        lines.append((bot, text, label, source, split))

    halves: dict[str, list[tuple[str, str, str, str, str]]] = {"train": [], "eval": []}
    for entry in csv_rows(data.open_training(own / "hard" / "act_pairs.csv")):
        split = ("dev" if bucket(entry["template"], 8) == 0 else "train") if entry["split"] == "train" else "eval"
        halves[entry["split"]].append((squeeze(entry["bot"]), squeeze(entry["text"]), entry["label"], "own/act_pairs", split))
    for entry in csv_rows(data.open_training(own / "act_more.csv")):
        if guard.equal([Row(entry["text"], "", "own/act_more")]):
            report.drop("train/act_pairs", "own row equal to a held-out row")
            continue
        split = "dev" if bucket(entry["template"], 8) == 0 else "train"
        add(squeeze(entry["bot"]), squeeze(entry["text"]), entry["label"], "own/act_more", split)
    lines += halves["train"]
    for row in rng.sample(act, min(PAIRS_MULTIDOGO_CAP, len(act))):
        add(rng.choice(questions if row.label != "other" else proposals), row.text, row.label, "multidogo", split_of(row))
    requests = [row for row in intent if row.label in turns and row.source != "own"]
    by_label = round_robin(grouped(rng.sample(requests, len(requests)), lambda row: row.label), 2 * PAIRS_TOPIC_CAP)
    for place, row in enumerate(by_label):
        same = place // len(turns) % 2 == 0
        label = row.label if same else rng.choice([label for label in sorted(turns) if label != row.label])
        add(rng.choice(turns[label]), row.text, "repeats" if same else "other", "topic", split_of(row))
    header = ("bot", "text", "label", "source", "split")
    report.write_table("train/act_pairs", header, lines, [Row(line[1], line[2], line[3]) for line in lines])
    report.write_table("eval/act_pairs", header, halves["eval"], [Row(line[1], line[2], line[3]) for line in halves["eval"]])

    mapping = Mapping(HERE / "uss_act_mapping.csv", ("accepts", "rejects", "other"))
    known = mapping.table[""]
    measured: list[tuple[str, str, str, str, str]] = []
    previous: list[str] | None = None
    for line in data.open_held_out("uss/SGD.txt.gz").read().split("\n"):
        parts = line.split("\t")
        if len(parts) < 3:
            previous = None
        elif parts[0] == "SYSTEM":
            previous = parts
        elif parts[1] != "OVERALL":
            if previous is None:
                report.drop("eval/act_sgd", "first turn of a dialogue")
                continue
            after = f"{parts[2]} after {previous[2]}"
            label = mapping.label("", after if after in known else parts[2])
            if label == "drop":
                report.drop("eval/act_sgd", f"mapped to drop: {parts[2]}")
            else:
                measured.append((squeeze(previous[1]), squeeze(parts[1]), label, "uss-sgd", "eval"))
    report.write_table("eval/act_sgd", header, measured, [Row(line[1], line[2], line[3]) for line in measured])


# Benchmarks for an operator's own head ----------------------------------------------------------------------------------


def prepare_benchmarks(data: DataRoot, guard: LeakGuard, report: Report) -> list[Row]:
    """Writes train and eval files of banking77, clinc150 and hwu64 under their own labels; returns the training rows."""
    train = {
        "banking77": [(entry["text"], entry["category"]) for entry in csv_rows(data.train("banking77/train.csv"))],
        "clinc150": list(read_clinc(data.train("clinc150/data_full.json.gz"))),
        "hwu64": [pair for split in ("train", "valid")
                  for pair in read_hwu64(data.train(f"hwu64/{split}/seq.in"), data.train(f"hwu64/{split}/label"))],
    }
    hwu64_test = read_hwu64(data.open_held_out("hwu64/test/seq.in"), data.open_held_out("hwu64/test/label"))
    test = {
        "banking77": [(entry["text"], entry["category"]) for entry in csv_rows(data.open_held_out("banking77/test.csv"))],
        "clinc150": list(read_clinc(data.open_held_out("clinc150/data_full.json.gz"))),
        "hwu64": list(hwu64_test),
    }
    every: list[Row] = []
    for name in train:
        rows = guard.keep([Row(squeeze(text), label, name) for text, label in train[name]], f"train/{name}")
        report.write(f"train/{name}", rows)
        report.write(f"eval/{name}", [Row(squeeze(text), label, name) for text, label in test[name]])
        every += rows
    return every


# When a person must take over: conversations and sentences ---------------------------------------------------------------


def prepare_conversations(data: DataRoot, guard: LeakGuard, report: Report) -> None:
    """Writes the customer turns of MultiDoGO's dev and test splits in their order, conversations kept whole.

    Conversations with a turn of MULTIDOGO_TAKEOVER go to the file that ends in `_dropped` (test only). Several intents of a turn are
    joined by `|`.
    """
    for folder, split in (("dev", "dev"), ("eval", "test")):
        files: dict[bool, list[tuple[str, int, Row]]] = {False: [], True: []}
        conversations: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        for domain in MULTIDOGO_DOMAINS:
            name = f"multidogo/turn_level/{domain}/{split}.tsv.gz"
            by_id: dict[str, list[tuple[int, str, list[str]]]] = defaultdict(list)
            for ident, turn, text, intents in read_multidogo_turns(data.train(name) if split == "dev" else data.open_held_out(name)):
                by_id[ident].append((turn, text, intents))
            for ident, turns in by_id.items():
                takeover = any(not MULTIDOGO_TAKEOVER.isdisjoint(intents) for _, _, intents in turns)
                conversations[takeover][domain] += 1
                files[takeover] += [(f"{domain}/{ident}", turn, Row(text, "|".join(intents), f"multidogo-{domain}"))
                                    for turn, text, intents in turns]
        for takeover, lines in files.items():
            name = f"{folder}/conversations_multidogo" + ("_dropped" if takeover else "")
            rows = [row for _, _, row in lines]
            if takeover and split == "dev":
                for domain, count in conversations[takeover].items():
                    report.drop(f"{folder}/conversations_multidogo", f"whole conversations that a person must take over: {domain}", count)
                continue
            report.write_table(name, ("conversation", "turn", "text", "label"),
                               ((ident, turn, row.text, row.label) for ident, turn, row in lines), rows)
            report.files[name]["conversations"] = dict(conversations[takeover])
            if split == "dev":
                report.files[name]["equal_to_held_out"] = guard.equal(rows)


def prepare_sentences(data: DataRoot, guard: LeakGuard, report: Report) -> None:
    """Writes whole official splits of hwu64 and clinc150, and clinc150 without its out-of-scope part for pairs of one issue.

    Only the file under train/ passes the guard: the splits under dev/ stay whole, because nothing but a threshold is chosen on them.
    """
    hwu64 = "hwu64/test/seq.in", "hwu64/test/label"
    clinc150 = "clinc150/data_full.json.gz"
    pairs = {
        "dev/sentences_hwu64": read_hwu64(data.train("hwu64/valid/seq.in"), data.train("hwu64/valid/label")),
        "dev/sentences_clinc150": read_clinc(data.train(clinc150), ("val", "oos_val")),
        "train/issues_clinc150": read_clinc(data.train(clinc150), ("train",)),
        "eval/sentences_hwu64": read_hwu64(*(data.open_held_out(name) for name in hwu64)),
        "eval/sentences_clinc150": read_clinc(data.open_held_out(clinc150), ("test", "oos_test")),
        "eval/issues_clinc150": read_clinc(data.open_held_out(clinc150), ("test",)),
    }
    for name, part in pairs.items():
        rows = [Row(text, label, name.rpartition("_")[2]) for text, label in part]
        report.write(name, guard.keep(rows, name) if name.startswith("train/") else rows)
        if name.startswith("dev/"):
            report.files[name]["equal_to_held_out"] = guard.equal(rows)


# Language guard ---------------------------------------------------------------------------------------------------------


def looks_english(text: str) -> bool:
    """Tells whether letters are nearly all ASCII and a text of five or more words holds two frequent English words."""
    letters = [char for char in text if char.isalpha()]
    words = normalise(text).split()
    if not letters or sum(char.isascii() for char in letters) < 0.97 * len(letters):
        return False
    return len(words) < 5 or sum(word in ENGLISH_WORDS for word in words) >= 2


def prepare_language(pools: list[list[Row]], own: Path, report: Report) -> None:
    """Writes train/language and eval/language, labels known and unknown.

    English lines come from the training sources in three bands of length, evenly over the sources; nine in ten train. The own foreign lines are
    split by language (every second code), so that the evaluation meets languages that the fit has not seen; the own hard English lines by turns.
    """
    rng = random.Random(SEED)
    unique: dict[str, Row] = {}
    for pool in pools:
        for row in pool:
            if looks_english(row.text):
                unique.setdefault(normalise(row.text), Row(row.text, "known", row.source))
    english = []
    for low, high, share in ENGLISH_SHARES:
        band = [row for key, row in unique.items() if low <= key.count(" ") + 1 <= high]
        shuffled = rng.sample(band, len(band))
        english += round_robin(grouped(shuffled, lambda row: row.source), round(ENGLISH_TOTAL * share))
    hard = [Row(line["text"], "known", "own/english_hard") for line in read_own(own / "language_english_hard.csv")]
    foreign = read_own(own / "language_foreign.csv")
    seen = sorted({line["language"] for line in foreign})[::2]
    unknown = [(line["language"] in seen, Row(line["text"], "unknown", f"own/{line['language']}")) for line in foreign]
    evaluated = [row for place, row in enumerate(english) if place % 10 == 0] + hard[1::2]
    trained = [row for place, row in enumerate(english) if place % 10] + hard[::2]
    report.write("train/language", trained + [row for in_training, row in unknown if in_training])
    report.write("eval/language", evaluated + [row for in_training, row in unknown if not in_training])


def read_own(path: Path) -> list[dict[str, str]]:
    """An own CSV file -> its rows by column name."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> int:
    """Runs the whole preparation; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--own", type=Path, default=HERE / "own", help="folder with own intent_*.csv files")
    arguments = parser.parse_args()
    try:
        labels = list(tomllib.loads((HERE / "taxonomy.toml").read_text(encoding="utf-8"))["labels"])
        data = DataRoot(arguments.data, HERE / "held_out.sha256")
        guard = LeakGuard(data)
        report = Report(arguments.out)
        sentiment = prepare_sentiment(data, guard, report)
        emotion = prepare_emotion(data, guard, report)
        intent = prepare_intent(data, guard, report, labels, arguments.own)
        act = prepare_act(data, guard, report)
        prepare_hard(data, guard, report, labels, arguments.own)
        prepare_tone(data, guard, report, arguments.own, intent, emotion)
        prepare_rsics(data, guard, report)
        prepare_pairs(data, guard, report, arguments.own, intent, act)
        benchmarks = prepare_benchmarks(data, guard, report)
        prepare_conversations(data, guard, report)
        prepare_sentences(data, guard, report)
        prepare_language([sentiment, emotion, intent, benchmarks], arguments.own, report)
        report.finish(guard)
    except PrepareError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
