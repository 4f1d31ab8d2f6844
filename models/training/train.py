"""Trains the trunk of baton-en with all its heads: sentiment, emotion, intent, act.

train.py --data DATA --out RUN [--device auto|cpu|cuda] [--precision f32|bf16] [--seed N] [--passes sentiment=1.3,...] [--layer-decay 0.9] [--threads N]
         [--distil RUN] [--rate 0.5] [--noise 1.5] [--bytes]

DATA is the folder that prepare.py wrote. RUN receives `teacher.npz`, `checkpoint.pt` every ten minutes, `log.jsonl` and, at the end, `trained.pt`; a run
that was stopped goes on at its last checkpoint. The recipe:

* Each batch is of one task. A head is one linear layer on [state of the first token, mean of all states] after dropout; `act` reads the vectors x of the
  message and y of the bot's turn as [x, y, |x - y|, x * y] (docs/model-package.md).
* Losses: cross-entropy with label smoothing and weights of the square root of the inverse label frequency; for emotion the binary cross-entropy of the labels
  that a row knows of; and EMBEDDING_WEIGHT * (1 - cosine) between the mean-pooled vector and that of the original trunk for the text without its
  noise, so that the sentence vectors keep their use, and bear typing mistakes better: for support texts that are not put among other words, and for a
  share of the tweets and comments.
* A share of the rows is made noisy (noise.py), and requests are put among greetings and backstory. `--noise` multiplies the share.
* `--distil RUN` begins with the weights of a trained run and learns half from the labels, half from what that run says of the row without its noise
  ("Born-Again Neural Networks", Furlanello et al. 2018), so that a text with typing mistakes is read as the one without. `--rate` multiplies all rates.
* `--bytes` rounds weights and activations in every forward pass as `baton models quantize` and the int8 engine do, and lets gradients pass as if nothing
  were rounded ("Quantizing deep convolutional networks", Krishnamoorthi 2018): what is served then is what was trained.
* AdamW with linear warm-up and decay; `--layer-decay` lowers the rate of each layer below the last by this factor. Seeds are fixed: the same data and libraries
  give the same batches; a run that was stopped and goes on has another dropout.
* `--precision bf16` computes products in bfloat16 and keeps weights and their updates in f32. On a CPU with AMX this and what `Model` says of attention and
  dropout make a step 2.5 times as fast as the reference library's defaults (79 against 205 tweets a second on two cores).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import nn
from transformers import BertModel

import export_trunk
import noise
from prepare import bucket, normalise

TASKS = ("sentiment", "emotion", "intent", "act")
# How often each task's rows are seen. TRAINING: sentiment gains nothing after one to two passes; the small tasks take more.
PASSES = {"sentiment": 1.5, "emotion": 1.3, "intent": 3.0, "act": 2.5}
BATCH = 64
MAX_TOKENS = 80
TRUNK_RATE, HEAD_RATE, DECAY, WARM_UP = 6e-5, 1e-3, 0.01, 0.1
SMOOTHING, DROPOUT, GRADIENT_MAX = 0.05, 0.1, 1.0
EMBEDDING_WEIGHT = 5.0
TASK_WEIGHT = {"sentiment": 1.0, "emotion": 5.0, "intent": 1.0, "act": 0.7}
# Tweets come with noise of their own.
NOISY_SHARE = {"sentiment": 0.2, "emotion": 0.3, "intent": 0.3, "act": 0.3}
FILLED_SHARE = 0.25
# These say one thing and nothing else: with other words around it they would be something else.
NEVER_FILLED = ("greeting", "thanks_or_closing", "out_of_scope")
# Own rows are few and made for the hard cases: each is seen this often a pass.
REPEATS = {"own/tone": 3, "own/hard": 2, "own/act": 3}
# Values from which dropout takes its masks: drawing each anew is a sixth of a step on a CPU.
MASKS = 1 << 24
# The share of tweets and forum comments whose embedding is held to the original's; of everything else all are.
TEACHER_SHARE = 6
CHECKPOINT_S = 600.0
# How much of a target is what the run of --distil says; the rest is the label.
DISTIL_SHARE = 0.5

SENTIMENTS = ("negative", "neutral", "positive")
EMOTIONS = ("anger", "anxiety", "confusion", "disappointment", "frustration", "gratitude", "joy")
ACTS = ("accepts", "other", "rejects", "repeats")


@dataclass(frozen=True)
class Example:
    """One row. `target` is the index of its label, or for emotion one number a label (-1: unknown)."""

    text: str
    target: object
    source: str
    bot: str = ""


@dataclass
class Task:
    """The rows of a head."""

    labels: tuple[str, ...]
    train: list[Example] = field(default_factory=list)
    dev: list[Example] = field(default_factory=list)

    def add(self, example: Example, split: str, repeats: int = 1) -> None:
        """Puts a row where it belongs; a development row is there once."""
        if split == "dev":
            self.dev.append(example)
        else:
            self.train.extend([example] * repeats)

    def label_weights(self) -> torch.Tensor:
        """Square root of the inverse frequency of each label, 1 on average over the rows."""
        counts = Counter(example.target for example in self.train)
        weights = np.array([1.0 / np.sqrt(max(counts[label], 1)) for label in range(len(self.labels))])
        mean = sum(weights[label] * count for label, count in counts.items()) / sum(counts.values())
        return torch.tensor(weights / mean, dtype=torch.float32)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle)


def emotion_target(label: str, known: str | None = None) -> tuple[float, ...]:
    """Emotions joined by `|` -> 1, 0 or -1 (unknown) for each; `known` names those that the row says something of, all if it is absent."""
    present = set(label.split("|"))
    said = set(EMOTIONS) if known is None else set(known.split("|"))
    return tuple((1.0 if name in present else 0.0) if name in said else -1.0 for name in EMOTIONS)


def load_tasks(data: Path) -> dict[str, Task]:
    """The files of prepare.py -> the tasks."""
    train = data / "train"
    intents = tuple(sorted({row["label"] for row in rows_of(train / "intent.csv")}))
    tasks = {"sentiment": Task(SENTIMENTS), "emotion": Task(EMOTIONS), "intent": Task(intents), "act": Task(ACTS)}
    for name in ("sentiment", "calm"):
        for row in rows_of(train / f"{name}.csv"):
            tasks["sentiment"].add(Example(row["text"], SENTIMENTS.index(row["label"]), row["source"]), row["split"])
            # A calm question has no emotion, not even confusion, which forum comments teach of every question.
            if name == "calm" and row["label"] == "neutral":
                tasks["emotion"].add(Example(row["text"], emotion_target(""), row["source"]), row["split"])
    for row in rows_of(train / "emotion.csv"):
        tasks["emotion"].add(Example(row["text"], emotion_target(row["label"]), row["source"]), row["split"])
    for row in rows_of(train / "rsics.csv"):
        tasks["emotion"].add(Example(row["text"], emotion_target(row["label"], row["known"]), "rsics"), row["split"])
    for row in rows_of(train / "tone.csv"):
        tasks["sentiment"].add(Example(row["text"], SENTIMENTS.index(row["sentiment"]), "own/tone"), row["split"], REPEATS["own/tone"])
        tasks["emotion"].add(Example(row["text"], emotion_target(row["emotions"]), "own/tone"), row["split"], REPEATS["own/tone"])
    for name in ("intent", "chatter", "hard"):
        for row in rows_of(train / f"{name}.csv"):
            repeats = REPEATS["own/hard"] if name == "hard" else 1
            tasks["intent"].add(Example(row["text"], intents.index(row["label"]), row["source"]), row["split"], repeats)
    for row in rows_of(train / "act_pairs.csv"):
        repeats = REPEATS["own/act"] if row["source"].startswith("own/act") else 1
        tasks["act"].add(Example(row["text"], ACTS.index(row["label"]), row["source"], row["bot"]), row["split"], repeats)
    return tasks


class PooledDropout(nn.Module):
    """Dropout whose masks are runs of one pool of random values, each beginning at a random place."""

    def __init__(self, pool: torch.Tensor) -> None:
        """`pool` [MASKS]: 0 with the probability of the dropout, else its inverse complement."""
        super().__init__()
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape of at most MASKS values."""
        if not self.training:
            return x
        start = int(torch.randint(0, MASKS - x.numel() + 1, ()))
        return x * self.pool[start : start + x.numel()].view(x.shape).to(x.dtype)


def mask_pool(seed: int, device: torch.device) -> torch.Tensor:
    """The pool of a run."""
    kept = np.random.default_rng(seed).random(MASKS) >= DROPOUT
    return torch.from_numpy(kept.astype(np.float32) / (1 - DROPOUT)).to(device)


def fresh_trunk(source: Path, device: torch.device, seed: int) -> BertModel:
    """The original trunk, set up to be trained: plain attention without dropout of its weights, since the fused one's backward pass takes half of a step on
    short texts, and pooled dropout everywhere else."""
    trunk = BertModel.from_pretrained(source, add_pooling_layer=False, attn_implementation="eager", attention_probs_dropout_prob=0.0)
    pool = mask_pool(seed, device)
    for module in list(trunk.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout) and child.p:
                setattr(module, name, PooledDropout(pool))
    return trunk


def rounded(x: torch.Tensor, form: str) -> torch.Tensor:
    """`x` as it is after its rows went through bytes; the gradient is that of `x`. `form` names the range of a row, as `Range` in
    src/model/encoder/int8/rows.rs: `symmetric`, `apart` (the largest is kept as it is) or `gelu` (16 of 255 steps lie below 0)."""
    with torch.no_grad():
        value = x.float()
        size = value.abs()
        tiny = torch.finfo(torch.float32).tiny
        if form == "gelu":
            step = torch.maximum(value.amax(-1, keepdim=True) / 239, -value.amin(-1, keepdim=True) / 16).clamp(min=tiny)
            result = (value / step).round().clamp(-16, 239) * step
        elif form == "apart":
            second = size.topk(2, -1).values[..., 1:]
            step = (second / 127).clamp(min=tiny)
            result = torch.where(size > second, value, (value / step).round() * step)
        else:
            step = (size.amax(-1, keepdim=True) / 127).clamp(min=tiny)
            result = (value / step).round() * step
        change = (result - value).to(x.dtype)
    return x + change


class BytesLinear(nn.Linear):
    """A layer whose weights and inputs go through bytes."""

    form = "symmetric"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer it replaces."""
        return nn.functional.linear(rounded(x, self.form), rounded(self.weight, "symmetric"), self.bias)


class BytesEmbedding(nn.Embedding):
    """A table whose rows go through bytes."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """As the table it replaces."""
        return rounded(super().forward(ids), "symmetric")


def through_bytes(trunk: BertModel) -> None:
    """Makes every product of the trunk, and its tables, go through bytes, in place."""
    forms = {"query": "apart", "key": "apart", "value": "apart", "attention.output.dense": "symmetric", "intermediate.dense": "apart", "output.dense": "gelu"}
    for name, module in trunk.named_modules():
        if isinstance(module, nn.Embedding):
            module.__class__ = BytesEmbedding
        elif isinstance(module, nn.Linear):
            module.__class__ = BytesLinear
            module.form = next(form for end, form in forms.items() if name.endswith(end))


def layer_rates(model: nn.Module, layer_decay: float, factor: float) -> list[dict]:
    """Parameter groups of the trunk: a rate for the embeddings and for each layer, times `factor`, with and without weight decay."""
    layers = model.trunk.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.trunk.named_parameters():
        depth = int(name.split(".")[2]) + 1 if name.startswith("encoder.layer.") else 0
        plain = name.endswith("bias") or "LayerNorm" in name
        groups.setdefault((depth, plain), []).append(parameter)
    return [
        {"params": parameters, "lr": factor * TRUNK_RATE * layer_decay ** (layers - depth), "weight_decay": 0.0 if plain else DECAY}
        for (depth, plain), parameters in sorted(groups.items(), key=lambda entry: entry[0])
    ]


class Model(nn.Module):
    """The trunk and its heads."""

    def __init__(self, trunk: BertModel, labels: dict[str, int]) -> None:
        """`labels`: how many labels each head has."""
        super().__init__()
        self.trunk = trunk
        width = 2 * trunk.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width * (4 if name == "act" else 1), count) for name, count in labels.items()})
        self.dropout = nn.Dropout(DROPOUT)

    def vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[b, s] -> [state of the first token, mean] [b, 2h], and the mean [b, h]."""
        states = self.trunk(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        return torch.cat([states[:, 0], mean], 1), mean

    def logits(self, task: str, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """Vectors of the messages, and for act those of the bot's turns, -> logits."""
        return self.heads[task](self.dropout(x if y is None else torch.cat([x, y, (x - y).abs(), x * y], 1)))


class Encoding:
    """Texts -> padded ids."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """`path` is a tokenizer.json."""
        self.tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.device = device

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text."""
        return [len(one.ids) for one in self.tokenizer.encode_batch(texts)]

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask [b, s]."""
        encoded = [one.ids for one in self.tokenizer.encode_batch(texts)]
        width = max(len(ids) for ids in encoded)
        ids = torch.zeros(len(encoded), width, dtype=torch.long)
        mask = torch.zeros(len(encoded), width, dtype=torch.long)
        for row, one in enumerate(encoded):
            ids[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        return ids.to(self.device), mask.to(self.device)


@dataclass(frozen=True)
class Batch:
    """Rows of one task as they are read: with their noise, and what the noise was put on ("" where the text says more than the row)."""

    task: str
    rows: list[int]
    texts: list[str]
    clean: list[str]


def noisy(name: str, task: Task, example: Example, fillers: list[str], factor: float, rng: random.Random) -> tuple[str, str]:
    """A row -> its text with noise, and the text whose embedding it should keep: filled with other words it is another sentence."""
    text, clean = example.text, example.text
    if name == "intent" and task.labels[example.target] not in NEVER_FILLED and rng.random() < FILLED_SHARE:
        text, clean = noise.filled(text, fillers, rng), ""
    if rng.random() < factor * NOISY_SHARE[name]:
        text = noise.casual(text, rng)
    return (text, clean) if text.strip() else (example.text, example.text)


def plan(tasks: dict[str, Task], passes: dict[str, float], fillers: list[str], encoding: Encoding, noise_factor: float, seed: int) -> list[Batch]:
    """The batches of a whole run. Near lengths are together, since padding costs as much as text; the order of the batches is random."""
    batches: list[Batch] = []
    for name, task in tasks.items():
        rng = random.Random(f"{seed} {name}")
        whole, part = divmod(passes[name], 1.0)
        for number in range(int(whole) + (part > 0)):
            rows = rng.sample(range(len(task.train)), len(task.train))
            if number == int(whole):
                rows = rows[: int(part * len(rows))]
            read = [noisy(name, task, task.train[row], fillers, noise_factor, rng) for row in rows]
            lengths = encoding.lengths([text for text, _ in read])
            near = sorted(range(len(rows)), key=lambda at: lengths[at])
            for start in range(0, len(near), BATCH):
                places = near[start : start + BATCH]
                batches.append(Batch(name, [rows[at] for at in places], [read[at][0] for at in places], [read[at][1] for at in places]))
    random.Random(f"{seed} order").shuffle(batches)
    return batches


class Teacher:
    """Vectors of the original trunk for the texts whose embedding must survive."""

    def __init__(self, path: Path, tasks: dict[str, Task], model: Model, encoding: Encoding) -> None:
        """Reads `path`, or computes the vectors with the untouched trunk of `model` and writes it."""
        texts = sorted({text for name, task in tasks.items() for one in task.train for text in (one.text, one.bot) if text and self.wanted(name, text)})
        if path.exists():
            held = np.load(path, allow_pickle=False)
            if held["digest"] != digest_of(texts):
                raise SystemExit(f"{path}: made for other data; remove it")
            vectors = held["vectors"]
        else:
            vectors = self.compute(texts, model, encoding)
            with path.with_suffix(".new").open("wb") as handle:
                np.savez(handle, vectors=vectors, digest=np.array(digest_of(texts)))
            path.with_suffix(".new").replace(path)
        self.vectors = torch.from_numpy(vectors)
        self.index = {text: at for at, text in enumerate(texts)}

    @staticmethod
    def wanted(task: str, text: str) -> bool:
        """All of the support texts, a share of the others."""
        return task not in ("sentiment", "emotion") or bucket(text, TEACHER_SHARE) == 0

    @staticmethod
    def compute(texts: list[str], model: Model, encoding: Encoding) -> np.ndarray:
        """Unit vectors [texts, h], float16."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        result = np.zeros((len(texts), model.trunk.config.hidden_size), dtype=np.float16)
        model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), 128):
                rows = order[start : start + 128]
                _, mean = model.vectors(*encoding([texts[row] for row in rows]))
                result[rows] = nn.functional.normalize(mean, dim=1).cpu().numpy().astype(np.float16)
        return result

    def loss(self, texts: list[str], means: torch.Tensor) -> torch.Tensor:
        """1 - cosine, averaged over the texts that have a vector."""
        rows = [(row, self.index[text]) for row, text in enumerate(texts) if text in self.index]
        if not rows:
            return means.new_zeros(())
        wanted = self.vectors[[at for _, at in rows]].to(means)
        return (1 - nn.functional.cosine_similarity(means[[row for row, _ in rows]], wanted, dim=1)).mean()


def data_digest(data: Path) -> str:
    """SHA-256 over the training files of prepare.py that are read here, in order of name."""
    digest = hashlib.sha256()
    for name in ("act_pairs", "calm", "chatter", "emotion", "filler", "hard", "intent", "rsics", "sentiment", "tone"):
        digest.update((data / "train" / f"{name}.csv").read_bytes())
    return digest.hexdigest()


def digest_of(texts: list[str]) -> str:
    """A short name of a list of texts."""
    return str(bucket("\0".join(texts), 2**63))


def task_loss(
    task: str, logits: torch.Tensor, examples: list[Example], weights: dict[str, torch.Tensor], said: torch.Tensor | None = None
) -> torch.Tensor:
    """The loss of one batch; `said` are the logits of the run that is distilled. Where it is given, an emotion that a row does not know of is learned from it alone."""
    target = torch.tensor([one.target for one in examples], device=logits.device)
    if task == "emotion":
        known = (target >= 0).to(logits.dtype)
        target = target.clamp(min=0)
        if said is not None:
            share = torch.where(known > 0, DISTIL_SHARE, 1.0)
            target = share * said.sigmoid() + (1 - share) * target
            known = torch.where(known > 0, 1.0, DISTIL_SHARE)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (losses * known).sum() / known.sum().clamp(min=1)
    loss = nn.functional.cross_entropy(logits, target, weight=weights[task], label_smoothing=SMOOTHING)
    if said is None:
        return loss
    each = -(said.softmax(1) * logits.log_softmax(1)).sum(1)
    of = weights[task][target]
    return (1 - DISTIL_SHARE) * loss + DISTIL_SHARE * (each * of).sum() / of.sum()


def predict(model: Model, encoding: Encoding, task: str, texts: list[str], bots: list[str] | None = None, batch: int = 128) -> np.ndarray:
    """Logits [texts, labels] without noise."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    result = np.zeros((len(texts), model.heads[task].out_features), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            read = [texts[row] for row in rows]
            x = model.vectors(*encoding(read))[0]
            y = None if bots is None else model.vectors(*encoding([bots[row] for row in rows]))[0]
            result[rows] = model.logits(task, x, y).float().cpu().numpy()
    return result


def predict_train(model: Model, encoding: Encoding, name: str, task: Task) -> torch.Tensor:
    """Logits [rows, labels] of the training rows of a task without noise; a row that is there several times is read once."""
    once = {(one.text, one.bot): None for one in task.train}
    at = {key: number for number, key in enumerate(once)}
    logits = predict(model, encoding, name, [text for text, _ in once], [bot for _, bot in once] if name == "act" else None)
    return torch.from_numpy(logits[[at[one.text, one.bot] for one in task.train]]).to(encoding.device)


def development(model: Model, encoding: Encoding, tasks: dict[str, Task]) -> dict[str, float]:
    """Macro-recall (emotion: mean average precision) of the development rows of each task, on at most 2,000 rows."""
    result = {}
    for name, task in tasks.items():
        rows = random.Random(0).sample(task.dev, min(2000, len(task.dev)))
        logits = predict(model, encoding, name, [one.text for one in rows], [one.bot for one in rows] if name == "act" else None)
        if name == "emotion":
            truth = np.array([one.target for one in rows])
            scores = []
            for label in range(len(task.labels)):
                known = truth[:, label] >= 0
                right = truth[known, label][np.argsort(-logits[known, label])]
                if right.sum():
                    scores.append(float((np.cumsum(right) / np.arange(1, len(right) + 1))[right > 0].mean()))
        else:
            truth = np.array([one.target for one in rows])
            said = logits.argmax(1)
            scores = [float((said[truth == label] == label).mean()) for label in range(len(task.labels)) if (truth == label).any()]
        result[name] = round(100 * float(np.mean(scores)), 2)
    return result


def train(arguments: argparse.Namespace) -> None:
    """The whole run."""
    torch.manual_seed(arguments.seed)
    torch.set_flush_denormal(True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    name = arguments.device if arguments.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    source = export_trunk.default_source()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tasks, digest = load_tasks(arguments.data), data_digest(arguments.data)
    fillers = [row["text"] for row in rows_of(arguments.data / "train" / "filler.csv")]
    model = Model(fresh_trunk(source, device, arguments.seed), {name: len(task.labels) for name, task in tasks.items()}).to(device)
    encoding = Encoding(source / "tokenizer.json", device)
    started = time.monotonic()
    teacher = Teacher(arguments.out / "teacher.npz", tasks, model, encoding)
    said: dict[str, torch.Tensor] = {}
    if arguments.distil:
        held = torch.load(arguments.distil / "trained.pt", map_location=device, weights_only=True)
        if held["data"] != digest:
            raise SystemExit(f"{arguments.distil}: trained on {held['data']}, the data here has {digest}")
        model.load_state_dict(held["model"])
        with torch.autocast(name, dtype=torch.bfloat16, enabled=arguments.precision == "bf16"):
            said = {task: predict_train(model, encoding, task, rows) for task, rows in tasks.items()}
    if arguments.bytes:
        through_bytes(model.trunk)
    log(arguments.out, teacher_s=round(time.monotonic() - started), rows={name: [len(task.train), len(task.dev)] for name, task in tasks.items()})
    passes = PASSES | arguments.passes
    batches = plan(tasks, passes, fillers, encoding, arguments.noise, arguments.seed)
    weights = {name: task.label_weights().to(device) for name, task in tasks.items() if name != "emotion"}
    groups = layer_rates(model, arguments.layer_decay, arguments.rate)
    groups.append({"params": list(model.heads.parameters()), "lr": arguments.rate * HEAD_RATE, "weight_decay": DECAY})
    optimiser = torch.optim.AdamW(groups, fused=True)
    total = len(batches)
    warm = max(1, int(WARM_UP * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min((step + 1) / warm, max(0.0, (total - step) / (total - warm))))
    recipe = {"passes": passes, "seed": arguments.seed, "data": digest, "layer_decay": arguments.layer_decay, "precision": arguments.precision,
              "distil": str(arguments.distil or ""), "rate": arguments.rate, "noise": arguments.noise, "bytes": arguments.bytes}
    first, checkpoint = 0, arguments.out / "checkpoint.pt"
    if checkpoint.exists():
        held = torch.load(checkpoint, map_location=device, weights_only=True)
        if held.get("recipe") != recipe:
            raise SystemExit(f"{checkpoint}: of a run with other data or arguments; remove it")
        model.load_state_dict(held["model"])
        optimiser.load_state_dict(held["optimiser"])
        schedule.load_state_dict(held["schedule"])
        torch.set_rng_state(held["random"].cpu())
        first = held["step"]
    log(arguments.out, steps=total, first=first, device=name, **recipe)

    def read(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(name, dtype=torch.bfloat16, enabled=arguments.precision == "bf16"):
            return model.vectors(*encoding(texts))

    sums: dict[str, list[float]] = {}
    saved = time.monotonic()
    for step in range(first, total):
        batch = batches[step]
        task = batch.task
        examples = [tasks[task].train[row] for row in batch.rows]
        model.train()
        x, means = read(batch.texts)
        y, clean = None, batch.clean
        if task == "act":
            # The same proposal stands before many answers: each is read once.
            turns = sorted({one.bot for one in examples})
            vectors, turn_means = read(turns)
            y = vectors[[turns.index(one.bot) for one in examples]]
            means, clean = torch.cat([means, turn_means]), clean + turns
        held_on = teacher.loss(clean, means)
        loss = task_loss(task, model.logits(task, x, y), examples, weights, said[task][batch.rows] if said else None)
        optimiser.zero_grad(set_to_none=True)
        (TASK_WEIGHT[task] * loss + EMBEDDING_WEIGHT * held_on).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_MAX)
        optimiser.step()
        schedule.step()
        sums.setdefault(task, []).append(loss.item())
        sums.setdefault("embedding", []).append(held_on.item())
        if (step + 1) % 100 == 0:
            log(arguments.out, step=step + 1, of=total, seconds=round(time.monotonic() - started), **{k: round(float(np.mean(v)), 4) for k, v in sums.items()})
            sums.clear()
        if (step + 1) in (total // 4, total // 2, 3 * total // 4):
            log(arguments.out, step=step + 1, development=development(model, encoding, tasks))
        if time.monotonic() - saved > CHECKPOINT_S:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(), "step": step + 1,
                     "recipe": recipe, "random": torch.get_rng_state()}
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            saved = time.monotonic()
    log(arguments.out, step=total, development=development(model, encoding, tasks), seconds=round(time.monotonic() - started))
    trained = recipe | {"model": model.state_dict(), "labels": {name: list(task.labels) for name, task in tasks.items()}}
    torch.save(trained, arguments.out / "trained.pt")


def log(out: Path, **entry: object) -> None:
    """Prints a line and adds it to RUN/log.jsonl."""
    line = json.dumps(entry)
    print(line, flush=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(line + "\n")


def passes_of(text: str) -> dict[str, float]:
    """`sentiment=1,act=2` -> a number a task."""
    pairs = dict(part.split("=", 1) for part in text.split(",") if part)
    if unknown := set(pairs) - set(TASKS):
        raise argparse.ArgumentTypeError(f"unknown task {sorted(unknown)[0]!r}, expected {', '.join(TASKS)}")
    return {name: float(value) for name, value in pairs.items()}


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoints and the result")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32", help="of the products; bf16 is faster on a GPU and on a CPU with AMX")
    parser.add_argument("--layer-decay", type=float, default=1.0, metavar="F", help="rate of a layer, of that of the layer above it")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="threads on a CPU; two runs of one thread each end sooner than one after the other")
    parser.add_argument("--distil", type=Path, metavar="RUN", help="begin with this run's weights and learn from what it says")
    parser.add_argument("--rate", type=float, default=1.0, metavar="F", help="factor of all rates")
    parser.add_argument("--noise", type=float, default=1.0, metavar="F", help="factor of the share of noisy rows")
    parser.add_argument("--bytes", action="store_true", help="round weights and activations as the int8 engine does")
    parser.add_argument("--passes", type=passes_of, default={}, metavar="TASK=N,...", help=f"passes over the rows, default {PASSES}")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
