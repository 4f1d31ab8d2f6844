"""Baton's trunk against the same weights in other systems: the same texts, in alternation, in one run.

run.py --data DATA --out OUT [--rounds N] [--threads 1,2]

Writes the shipped trunk (its stored weights, dequantised) as ONNX with ONNX Runtime's fused operators, and the same with dynamic int8 products, weights with a scale a
channel; checks that every system gives the vectors of PyTorch (cosine); then lets all of them take turns on banking77's test (DATA is the folder of
models/training/prepare.py) and on texts of fixed lengths cut from it, for single messages and batches. Every system gets the texts in batches of near length and
pads where it must. OUT receives `peers.json` and `peers.md`: medians with their spread, and ratios to the best setting of ONNX Runtime int8.

Needs the packages of requirements.txt (`pip install -r benches/peers/requirements.txt`) and `cargo build --profile release --bench peers`, which it calls.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
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
# Texts of each workload: banking77's test is 3,080 messages of 15 tokens in the mean.
FIXED_TEXTS = {15: 512, 32: 256, 128: 96}
LEAST_COSINE = {"pytorch f32": 0.9999, "onnxruntime f32": 0.9999, "onnxruntime int8": 0.98, "baton int8": 0.998, "candle f32": 0.9999}


class Trunk(torch.nn.Module):
    """Ids and mask → last hidden states."""

    def __init__(self, package: parity.Package) -> None:
        super().__init__()
        self.trunk = package.trunk

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[b, s] → [b, s, h]."""
        return self.trunk(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def export(out: Path) -> tuple[Path, Path]:
    """The trunk as ONNX, every operator the fused one that ONNX Runtime has for it; and with int8 products.

    The graph is written node by node: what exporters make is fused in part only (their attention is not recognised), which would be unfair.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    config = json.loads((PACKAGE / "config.json").read_text(encoding="utf-8"))
    weights = parity.dequantise(load_file(PACKAGE / "model.safetensors"))
    h, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
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

    ids, mask = (node("Cast", [name], f"{name}_32", domain="", to=TensorProto.INT32) for name in ("input_ids", "attention_mask"))
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    tables = [constant("words", weights["embeddings.word_embeddings.weight"]), constant("positions", positions)]
    x = "embedded"
    nodes.append(helper.make_node("EmbedLayerNormalization", [ids, "", *tables, "", *norm("embeddings.LayerNorm")], [x, "unused"], domain="com.microsoft", epsilon=eps))
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        parts = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        qkv = constant(f"{at}.qkv.weight", np.concatenate([weights[f"{part}.weight"].T for part in parts], 1))
        qkv_bias = constant(f"{at}.qkv.bias", np.concatenate([weights[f"{part}.bias"] for part in parts]))
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
    fused, int8 = out / "trunk.onnx", out / "trunk-int8.onnx"
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


class Baton:
    """One of Baton's engines, in a process of its own that waits for orders."""

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
    return {"banking77": sorted(texts, key=len), **fixed}


def build_baton() -> Path:
    """The bench's program."""
    built = subprocess.run(["cargo", "build", "--profile", "release", "--bench", "peers", "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    programs = [line["executable"] for line in map(json.loads, built.stdout.splitlines()) if line.get("target", {}).get("name") == "peers" and line.get("executable")]
    return Path(programs[-1])


def tell(results: dict, out: Path) -> None:
    """peers.md: a table a number of threads."""
    lines = []
    for threads, workloads in results["messages_per_second"].items():
        lines += ["", f"**{threads} {'core' if threads == '1' else 'cores'}**, messages a second, median of {results['rounds']} rounds in alternation (least to most); "
                  "in brackets the batch; ratio to ONNX Runtime int8", ""]
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

                    mine, peer = pick(system), pick("onnxruntime int8")
                    cells.append(f"{mine['median']:,.0f} ({mine['least']:,.0f}–{mine['most']:,.0f}) [{mine['batch']}] {mine['median'] / peer['median']:.2f}×")
            lines.append(f"| {system} | " + " | ".join(cells) + " |")
    lines += ["", "| system | resident memory, weights and one batch |", "|---|---|"]
    lines += [f"| {system} | {value / 1e6:.0f} MB |" for system, value in results["resident_bytes"].items()]
    lines += ["", f"Least cosine to PyTorch's vectors over 32 messages: {', '.join(f'{system} {value:.4f}' for system, value in results['least_cosine'].items())}.",
              f"Baton's engine: {results['engine']}. {results['machine']}."]
    (out / "peers.md").write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


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
    parser.add_argument("--data", type=Path, required=True, metavar="DATA", help="the folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for graphs and results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, joined by commas")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    workloads = workloads_of(arguments.data)
    (arguments.out / "workloads.json").write_text(json.dumps(workloads), encoding="utf-8")
    package = parity.load_package(PACKAGE)
    package.trunk.set_attn_implementation("sdpa")
    trunk = Trunk(package).eval()
    fused, int8 = export(arguments.out)
    process = subprocess.Popen([build_baton(), arguments.out / "workloads.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    candle_process = subprocess.Popen(process.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"RAYON_NUM_THREADS": "1"})
    baton = Baton(process, "int8")
    systems = {
        "baton int8": baton,
        "onnxruntime int8": InProcess(OnnxRuntime(int8)),
        "onnxruntime f32": InProcess(OnnxRuntime(fused)),
        "pytorch f32": InProcess(PyTorch(trunk)),
        "candle f32": Baton(candle_process, "candle"),
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
                    slow = system in ("candle f32", "pytorch f32")
                    # The slow ones run a part of the workload, and fewer batch sizes.
                    for batch in (1, 32) if slow else BATCHES:
                        if slow and isinstance(runner, Baton) and name == "banking77" and samples.get((system, batch)):
                            continue
                        samples.setdefault((system, batch), []).append(len(texts) / runner.seconds(texts, name, batch, threads))
            found: dict[str, dict] = {}
            for (system, batch), values in samples.items():
                found.setdefault(system, {})[str(batch)] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
            rates.setdefault(str(threads), {})[name] = found
            print(threads, name, {system: {batch: round(value["median"]) for batch, value in of.items()} for system, of in found.items()}, flush=True)
    graphs = {"onnxruntime int8": int8, "onnxruntime f32": fused}
    memory = {"baton int8": baton.ask(memory=True)["bytes"], **{system: memory_of(system, graphs, workloads["15"][:32]) for system in graphs}}
    results = {
        "rounds": arguments.rounds, "messages_per_second": rates, "resident_bytes": memory, "least_cosine": cosines,
        "engine": baton.ask(workload="15", batch=16, threads=1)["engine"], "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "own_peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    (arguments.out / "peers.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    tell(results, arguments.out)
    process.stdin.close()
    candle_process.stdin.close()


if __name__ == "__main__":
    main()
