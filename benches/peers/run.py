"""Baton's trunk against the same weights in other systems: the same texts, in alternation, in one run.

run.py --data DATA --out OUT [--rounds N] [--threads 1,2]
run.py --out OUT --tell     # writes the tables of an earlier run anew

Writes the shipped trunk (its stored weights, dequantised) as ONNX with ONNX Runtime's fused operators, for rten with those that it has, and both with dynamic int8 products,
weights with a scale a channel; checks that every system gives the vectors of PyTorch (cosine); then lets all of them take turns on banking77's test (DATA is the folder of
models/training/prepare.py) and on texts of fixed lengths cut from it, for single messages and batches. Every system gets the texts in batches of near length and
pads where it must. OUT receives `peers.json`, `peers.md` and `readme.md`, the part of it that stands in README.md: medians with their spread, and ratios to ONNX Runtime int8, which on two cores runs either with both on one batch or with a session for each, whichever is faster.

Needs the packages of requirements.txt (`pip install -r benches/peers/requirements.txt`) and `cargo build --profile release --bench peers`, which it calls.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import queue
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tokenizers
import torch
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "models" / "training"))

import parity  # noqa: E402

PACKAGE = ROOT / "models" / "baton-en"
# Batches of messages, from alone to large; each system's best is told.
BATCHES = (1, 8, 16, 32, 64)
LENGTHS = (15, 32, 128)
# Every so many of banking77's 3,080 messages.
STRIDE = 4
# Texts of each workload of one length.
FIXED_TEXTS = {15: 512, 32: 256, 128: 96}
LEAST_COSINE = {"pytorch f32": 0.9999, "onnxruntime f32": 0.9999, "onnxruntime int8": 0.98, "onnxruntime int8, a session a core": 0.98, "rten int8": 0.98, "baton w8a16": 0.9999, "baton int8": 0.998, "candle f32": 0.9999}


class Trunk(torch.nn.Module):
    """Ids and mask → last hidden states."""

    def __init__(self, package: parity.Package) -> None:
        super().__init__()
        self.trunk = package.trunk

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[b, s] → [b, s, h]."""
        return self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def export(out: Path, *, plain: bool = False) -> tuple[Path, Path]:
    """The trunk as ONNX, every operator the fused one that ONNX Runtime has for it; and with int8 products. `plain`: embeddings and attention from standard operators,
    which rten fuses in its own way.

    The graph is written node by node: what exporters make is fused in part only (their attention is not recognised), which would be unfair.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    config = json.loads((PACKAGE / "config.json").read_text(encoding="utf-8"))
    weights = parity.dequantise(load_file(PACKAGE / "model.safetensors"))
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(kind: str, inputs: list[str], output: str, domain: str = "com.microsoft", **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output] if isinstance(output, str) else output, domain=domain, **attributes))
        return output

    def norm(name: str) -> list[str]:
        return [constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]

    def product(x: str, name: str) -> str:
        return node("MatMul", [x, constant(f"{name}.weight", weights[f"{name}.weight"].T)], f"{name}.product", domain="")

    def fixed(name: str, values: list[int]) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def plain_embeddings() -> str:
        """Rows of the tables, summed and normalised; the mask becomes what is added to the scores."""
        tokens = node("Slice", [node("Shape", ["input_ids"], "shape", domain=""), fixed("one", [1]), fixed("two", [2])], "tokens", domain="")
        rows = node("Slice", [tables[1], fixed("zero", [0]), tokens, fixed("first", [0])], "rows", domain="")
        summed = node("Add", [node("Gather", [tables[0], "input_ids"], "word_rows", domain=""), rows], "summed", domain="")
        seen = node("Cast", ["attention_mask"], "seen", domain="", to=TensorProto.FLOAT)
        hidden = node("Sub", [seen, constant("unit", np.ones(1))], "hidden", domain="")
        lifted = node("Unsqueeze", [hidden, fixed("axes", [1, 2])], "lifted", domain="")
        node("Mul", [lifted, constant("much", np.full(1, 1e4))], "added", domain="")
        return node("LayerNormalization", [summed, *norm("embeddings.LayerNorm")], "embedded", domain="", axis=-1, epsilon=eps)

    def plain_attention(x: str, qkv: str, bias: str, at: str) -> str:
        """[b, s, h] → [b, s, h]"""
        read = node("Add", [node("MatMul", [x, qkv], f"{at}.read", domain=""), bias], f"{at}.biased", domain="")
        parts = [f"{at}.{part}" for part in "qkv"]
        nodes.append(helper.make_node("Split", [read, "thirds"], parts, axis=-1))
        turned = []
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
            apart = node("Reshape", [part, "apart"], f"{part}.apart", domain="")
            turned.append(node("Transpose", [apart], f"{part}.turned", domain="", perm=order))
        scores = node("Mul", [node("MatMul", turned[:2], f"{at}.products", domain=""), "root"], f"{at}.scores", domain="")
        shares = node("Softmax", [node("Add", [scores, "added"], f"{at}.masked", domain="")], f"{at}.shares", domain="", axis=-1)
        mixed = node("Transpose", [node("MatMul", [shares, turned[2]], f"{at}.mixed", domain="")], f"{at}.back", domain="", perm=[0, 2, 1, 3])
        return node("Reshape", [mixed, "together"], f"{at}.context", domain="")

    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    tables = [constant("words", weights["embeddings.word_embeddings.weight"]), constant("positions", positions)]
    x, h = "embedded", config["hidden_size"]
    if plain:
        plain_embeddings()
        fixed("thirds", [h, h, h]), fixed("apart", [0, 0, heads, h // heads]), fixed("together", [0, 0, h])
        constant("root", np.full(1, (h // heads) ** -0.5))
    else:
        ids, mask = (node("Cast", [name], f"{name}_32", domain="", to=TensorProto.INT32) for name in ("input_ids", "attention_mask"))
        nodes.append(helper.make_node("EmbedLayerNormalization", [ids, "", *tables, "", *norm("embeddings.LayerNorm")], [x, "unused"], domain="com.microsoft", epsilon=eps))
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        parts = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        qkv = constant(f"{at}.qkv.weight", np.concatenate([weights[f"{part}.weight"].T for part in parts], 1))
        qkv_bias = constant(f"{at}.qkv.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
        if plain:
            context = plain_attention(x, qkv, qkv_bias, at)
        else:
            context = node("Attention", [x, qkv, qkv_bias, mask], f"{at}.context", num_heads=heads)
        for name, inner in ((f"{at}.attention.output", None), (f"{at}.output", f"{at}.intermediate.dense")):
            if inner is not None:
                context = node("BiasGelu", [product(x, inner), constant(f"{inner}.bias", weights[f"{inner}.bias"])], f"{inner}.gelu")
            y = product(context, f"{name}.dense")
            bias = constant(f"{name}.dense.bias", weights[f"{name}.dense.bias"])
            x = node("SkipLayerNormalization", [x, y, *norm(f"{name}.LayerNorm"), bias], f"{name}.states", epsilon=eps)
    node("Identity", [x], "states", domain="")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")]
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", h])
    graph = helper.make_graph(nodes, "trunk", inputs, [states], constants)
    name = "trunk-plain" if plain else "trunk"
    fused, int8 = out / f"{name}.onnx", out / f"{name}-int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8), fused)
    quantize_dynamic(str(fused), str(int8), per_channel=True, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
    return fused, int8


def padded(batch: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask [b, s]."""
    width = max(map(len, batch))
    ids, mask = np.zeros((len(batch), width), np.int64), np.zeros((len(batch), width), np.int64)
    for row, one in enumerate(batch):
        ids[row, : len(one)], mask[row, : len(one)] = one, 1
    return ids, mask


def pooled(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the tokens [b, h]."""
    weights = mask[..., None].astype(np.float32)
    return (states * weights).sum(1) / weights.sum(1)


class OnnxRuntime:
    """A graph in ONNX Runtime."""

    def __init__(self, graph: Path) -> None:
        self.graph, self.threads, self.session = graph, 0, None

    def set_threads(self, threads: int) -> None:
        """A session for each number of threads."""
        import onnxruntime

        if threads != self.threads:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            self.session = onnxruntime.InferenceSession(str(self.graph), options, providers=["CPUExecutionProvider"])
            self.threads = threads

    def means(self, batch: list[list[int]]) -> np.ndarray:
        """[b, h]"""
        ids, mask = padded(batch)
        return pooled(self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0], mask)


class SessionEach:
    """A graph in ONNX Runtime, a session of one thread for each core, each taking the next batch."""

    def __init__(self, graph: Path) -> None:
        self.sessions, self.graph = [], graph

    def seconds(self, workload: list[list[int]], _: str, batch: int, threads: int) -> float:
        """Of the whole workload."""
        while len(self.sessions) < threads:
            self.sessions.append(OnnxRuntime(self.graph))
            self.sessions[-1].set_threads(1)
        free = queue.SimpleQueue()
        for session in self.sessions[:threads]:
            free.put(session)

        def one(start: int) -> None:
            session = free.get()
            session.means(workload[start : start + batch])
            free.put(session)

        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            list(pool.map(one, range(0, len(workload), batch)))
            return time.perf_counter() - started

    def vectors(self, workload: list[list[int]], _: str, count: int) -> np.ndarray:
        """Of the first texts, of unit length."""
        return InProcess(OnnxRuntime(self.graph)).vectors(workload, _, count)


class PyTorch:
    """The reference."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk

    def set_threads(self, threads: int) -> None:
        """Of one operation."""
        torch.set_num_threads(threads)

    def means(self, batch: list[list[int]]) -> np.ndarray:
        """[b, h]"""
        ids, mask = padded(batch)
        with torch.inference_mode():
            return pooled(self.trunk(torch.from_numpy(ids), torch.from_numpy(mask)).numpy(), mask)


class InProcess:
    """A system that runs in this process, one batch after the other, all its threads on one."""

    def __init__(self, system: OnnxRuntime | PyTorch) -> None:
        self.system = system

    def seconds(self, workload: list[list[int]], _: str, batch: int, threads: int) -> float:
        """Of the whole workload."""
        self.system.set_threads(threads)
        started = time.perf_counter()
        for start in range(0, len(workload), batch):
            self.system.means(workload[start : start + batch])
        return time.perf_counter() - started

    def vectors(self, workload: list[list[int]], _: str, count: int) -> np.ndarray:
        """Of the first texts, of unit length."""
        self.system.set_threads(1)
        return np.concatenate([unit(self.system.means([one])) for one in workload[:count]])


class Process:
    """An engine of Baton, or rten, in a process of its own that waits for orders."""

    def __init__(self, process: subprocess.Popen, engine: str) -> None:
        self.process, self.engine = process, engine

    def ask(self, **request: object) -> dict:
        """One order and its answer."""
        self.process.stdin.write(json.dumps({"engine": self.engine, **request}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def seconds(self, _: list[list[int]], name: str, batch: int, threads: int) -> float:
        """Of the whole workload."""
        return self.ask(workload=name, batch=batch, threads=threads)["seconds"]

    def vectors(self, _: list[list[int]], name: str, count: int) -> np.ndarray:
        """Of the first texts, of unit length."""
        return np.array(self.ask(workload=name, vectors=count)["vectors"], np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def workloads_of(data: Path) -> dict[str, list[list[int]]]:
    """Ids by name: banking77's test, near lengths together, and texts of fixed lengths made from it."""
    tokenizer = tokenizers.Tokenizer.from_file(str(PACKAGE / "tokenizer.json"))
    with (data / "eval" / "banking77.csv").open(encoding="utf-8", newline="") as file:
        texts = [tokenizer.encode(row["text"]).ids for row in csv.DictReader(file)]
    stream = [one for ids in texts for one in ids[1:-1]]
    fixed = {}
    for length in LENGTHS:
        wanted = [stream[at * (length - 2) : (at + 1) * (length - 2)] for at in range(FIXED_TEXTS[length])]
        fixed[str(length)] = [[texts[0][0], *ids, texts[0][-1]] for ids in wanted]
    return {"banking77": sorted(texts, key=len)[::STRIDE], **fixed}


def build_baton() -> Path:
    """The bench's program."""
    built = subprocess.run(["cargo", "build", "--profile", "release", "--bench", "peers", "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return program_of(built, "peers")


def build_rten() -> Path:
    """rten's program; fetched from its registry."""
    manifest = Path(__file__).with_name("rten") / "Cargo.toml"
    built = subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest, "--message-format=json"], check=True, stdout=subprocess.PIPE, text=True)
    return program_of(built, "peer-rten")


def program_of(built: subprocess.CompletedProcess, target: str) -> Path:
    """What Cargo says it built."""
    programs = [line["executable"] for line in map(json.loads, built.stdout.splitlines()) if line.get("target", {}).get("name") == target and line.get("executable")]
    return Path(programs[-1])


def tell(results: dict, out: Path) -> None:
    """peers.md: a table a number of threads."""
    lines = []
    for threads, workloads in results["messages_per_second"].items():
        lines += ["", f"**{threads} {'core' if threads == '1' else 'cores'}**, messages a second, median of {results['rounds']} rounds in alternation (least to most); "
                  "in brackets the batch; ratio to the better of both ways of ONNX Runtime int8", ""]
        lines += ["| system | " + " | ".join(f"{name}, {'alone' if mode == 'alone' else 'best batch'}" for name in workloads for mode in ("alone", "best")) + " |"]
        lines += ["|---|" + "---|" * (2 * len(workloads))]
        systems = list(next(iter(workloads.values())))
        for system in systems:
            cells = []
            for name, found in workloads.items():
                for mode in ("alone", "best"):
                    def pick(of: str) -> dict:
                        rates = {int(batch): value for batch, value in found[of].items()}
                        batch = 1 if mode == "alone" else max(rates, key=lambda b: rates[b]["median"])
                        return rates[batch] | {"batch": batch}

                    mine, peer = pick(system), max((pick(of) for of in found if of.startswith("onnxruntime int8")), key=lambda rate: rate["median"])
                    cells.append(f"{mine['median']:,.0f} ({mine['least']:,.0f}–{mine['most']:,.0f}) [{mine['batch']}] {mine['median'] / peer['median']:.2f}×")
            lines.append(f"| {system} | " + " | ".join(cells) + " |")
    lines += ["", "| system | resident memory, weights and one batch |", "|---|---|"]
    lines += [f"| {system} | {value / 1e6:.0f} MB |" for system, value in results["resident_bytes"].items()]
    lines += ["", f"Least cosine to PyTorch's vectors over 32 messages: {', '.join(f'{system} {value:.4f}' for system, value in results['least_cosine'].items())}.",
              f"Baton's engine: {results['engine']}. {results['machine']}."]
    (out / "peers.md").write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


# What the README shows: workload, threads, alone or best batch.
README = (("banking77", "1", "alone"), ("banking77", "1", "best"), ("banking77", "2", "best"), ("128", "1", "alone"), ("128", "2", "best"))


def tell_briefly(results: dict, out: Path) -> None:
    """readme.md: one table."""
    def named(workload: str, threads: str, mode: str) -> str:
        texts = f"{workload} tokens" if workload.isdecimal() else workload
        return f"{texts}, {threads} {'core' if threads == '1' else 'cores'}, {'alone' if mode == 'alone' else 'best batch'}"

    def best(found: dict, system: str, mode: str) -> float:
        return found[system]["1"]["median"] if mode == "alone" else max(value["median"] for value in found[system].values())

    rows: dict[str, list[str]] = {}
    for workload, threads, mode in README:
        found = results["messages_per_second"][threads][workload]
        both = [system for system in found if system.startswith("onnxruntime int8")]
        peer = max(best(found, system, mode) for system in both)
        for system in [system for system in found if system not in both[1:]]:
            rate = peer if system in both else best(found, system, mode)
            rows.setdefault(system, []).append(f"{rate:,.0f} ({rate / peer:.2f}×)")
    lines = ["| messages a second (ratio to ONNX Runtime int8) | " + " | ".join(named(*column) for column in README) + " | memory |", "|---|" + "---|" * (len(README) + 1)]
    for system, cells in rows.items():
        memory = results["resident_bytes"].get(system)
        lines.append(f"| {system} | " + " | ".join(cells) + f" | {f'{memory / 1e6:.0f} MB' if memory else '–'} |")
    (out / "readme.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def memory_of(system: str, graphs: dict[str, Path], ids: list[list[int]]) -> int:
    """Resident bytes of a fresh process that holds one session and has run a batch."""
    program = (
        "import sys, json, onnxruntime, numpy as np\n"
        "options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 2\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])\n"
        "ids = np.array(json.loads(sys.argv[2]), np.int64)\n"
        "session.run(None, {'input_ids': ids, 'attention_mask': np.ones_like(ids)})\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])\n"
    )
    found = subprocess.run([sys.executable, "-c", program, graphs[system], json.dumps(ids)], check=True, stdout=subprocess.PIPE, text=True)
    return 1024 * int(found.stdout)


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for graphs and results")
    parser.add_argument("--tell", action="store_true", help="only write the tables of an earlier run anew")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, joined by commas")
    arguments = parser.parse_args()
    if arguments.tell:
        results = json.loads((arguments.out / "peers.json").read_text(encoding="utf-8"))
        tell(results, arguments.out)
        tell_briefly(results, arguments.out)
        return
    if arguments.data is None:
        parser.error("--data is needed")
    arguments.out.mkdir(parents=True, exist_ok=True)
    workloads = workloads_of(arguments.data)
    (arguments.out / "workloads.json").write_text(json.dumps(workloads), encoding="utf-8")
    package = parity.load_package(PACKAGE)
    package.trunk.set_attn_implementation("sdpa")
    trunk = Trunk(package).eval()
    fused, int8 = export(arguments.out)
    _, plain_int8 = export(arguments.out, plain=True)
    rten = subprocess.Popen([build_rten(), arguments.out / "workloads.json", plain_int8], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process, int8_process = (subprocess.Popen([build_baton(), arguments.out / "workloads.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2))
    candle_process = subprocess.Popen(process.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"RAYON_NUM_THREADS": "1"})
    baton, baton_int8 = Process(process, "w8a16"), Process(int8_process, "int8")
    systems = {
        "baton w8a16": baton,
        "baton int8": baton_int8,
        "onnxruntime int8": InProcess(OnnxRuntime(int8)),
        "onnxruntime int8, a session a core": SessionEach(int8),
        "rten int8": Process(rten, "rten"),
        "onnxruntime f32": InProcess(OnnxRuntime(fused)),
        "pytorch f32": InProcess(PyTorch(trunk)),
        "candle f32": Process(candle_process, "candle"),
    }
    expected = systems["pytorch f32"].vectors(workloads["banking77"], "banking77", 32)
    cosines = {}
    for name, system in systems.items():
        cosines[name] = float((system.vectors(workloads["banking77"], "banking77", 32) * expected).sum(1).min())
        if cosines[name] < LEAST_COSINE[name]:
            raise SystemExit(f"{name}: a cosine of {cosines[name]} to PyTorch's vectors, expected at least {LEAST_COSINE[name]}")
    print("least cosine to PyTorch:", cosines)
    rates: dict[str, dict] = {}
    for threads in map(int, arguments.threads.split(",")):
        for name, texts in workloads.items():
            samples: dict[tuple[str, int], list[float]] = {}
            for _ in range(arguments.rounds):
                for system, runner in systems.items():
                    if threads == 1 and isinstance(runner, SessionEach):
                        continue
                    for batch in BATCHES[::3] if system in ("candle f32", "pytorch f32") else BATCHES:
                        samples.setdefault((system, batch), []).append(len(texts) / runner.seconds(texts, name, batch, threads))
            found: dict[str, dict] = {}
            for (system, batch), values in samples.items():
                found.setdefault(system, {})[str(batch)] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
            rates.setdefault(str(threads), {})[name] = found
            print(threads, name, {system: {batch: round(value["median"]) for batch, value in of.items()} for system, of in found.items()}, flush=True)
    graphs = {"onnxruntime int8": int8, "onnxruntime f32": fused}
    memory = {"baton w8a16": baton.ask(memory=True)["bytes"], "baton int8": baton_int8.ask(memory=True)["bytes"], "rten int8": systems["rten int8"].ask(memory=True)["bytes"], **{system: memory_of(system, graphs, workloads["15"][:32]) for system in graphs}}
    results = {
        "rounds": arguments.rounds, "messages_per_second": rates, "resident_bytes": memory, "least_cosine": cosines,
        "engine": baton.ask(workload="15", batch=16, threads=1)["engine"], "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "own_peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    (arguments.out / "peers.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    tell(results, arguments.out)
    tell_briefly(results, arguments.out)
    for one in (process, int8_process, candle_process, rten):
        one.stdin.close()


if __name__ == "__main__":
    main()
