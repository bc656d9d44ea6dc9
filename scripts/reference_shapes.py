"""The shapes that kernels are timed on, with the bytes and operations that each needs at least.

The sizes are those of benches/reference_shapes.json, or of the file that TUNESMITH_BENCH_SHAPES names; the Rust benchmarks
read the same. The names of cases are theirs, so that results of both can be put side by side. Activations and weights are bf16; adapters, their gradients and the
optimizer f32.
"""

import dataclasses
import json
import os
import pathlib

REFERENCE = pathlib.Path(__file__).resolve().parent.parent / "benches/reference_shapes.json"
SHAPES = json.loads(pathlib.Path(os.environ.get("TUNESMITH_BENCH_SHAPES", REFERENCE)).read_text())
MODELS = json.loads(pathlib.Path(os.environ.get("TUNESMITH_BENCH_MODELS", REFERENCE.parent / "reference_models.json")).read_text())
BF16, F32 = 2, 4


@dataclasses.dataclass(frozen=True)
class Case:
    """One operation on one shape: every operand read once and every result written once."""

    family: str
    name: str
    flops: int
    bytes: int
    sizes: dict

    @property
    def key(self):
        return f"{self.family}/{self.name}"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a floor is computed with."""

    name: str
    flops_per_s: float
    bytes_per_s: float

    def floor_us(self, case):
        return 1e6 * max(case.flops / self.flops_per_s, case.bytes / self.bytes_per_s)

    def bound(self, case):
        return "operations" if case.flops / self.flops_per_s > case.bytes / self.bytes_per_s else "bytes"


# An H100 SXM5: dense bf16 products as large ones sustain them, and the rate of a copy. A card with less power or slower
# memory (PCIe, NVL) has other floors.
H100 = Machine("H100 SXM5", 800e12, 3.0e12)


def linears():
    """`(site, tokens, in_features, out_features)` of every projection and number of tokens."""
    for site, (inputs, outputs) in SHAPES["linears"].items():
        for tokens in SHAPES["tokens"]:
            yield site, tokens, inputs, outputs


def projections():
    rank = SHAPES["rank"]
    for site, tokens, inputs, outputs in linears():
        sizes = {"tokens": tokens, "in_features": inputs, "out_features": outputs}
        size = f"{site} {tokens}x{inputs}x{outputs}"
        base = 2 * tokens * inputs * outputs
        operands = BF16 * (tokens * inputs + inputs * outputs + tokens * outputs)
        yield Case("gemm", f"forward, {size}", base, operands, sizes)
        yield Case("gemm", f"grad_x, {size}", base, operands, sizes)
        low_rank = 2 * tokens * rank * (inputs + outputs)
        adapter = rank * (inputs + outputs)
        sizes = {**sizes, "rank": rank}
        yield Case("lora", f"forward, {size}", base + low_rank, operands + BF16 * adapter, sizes)
        # dX, and dA and dB, which need X and dY once; x A^T is saved by the forward pass.
        gradients = BF16 * (tokens * (inputs + rank) + adapter) + F32 * adapter
        yield Case("lora", f"backward, {size}", base + 2 * low_rank, operands + gradients, sizes)


def attention():
    batch, seq_len, prefix_len = (SHAPES["attention"][name] for name in ("batch", "seq_len", "prefix_len"))
    heads, kv_heads, head_dim = SHAPES["num_heads"], SHAPES["num_kv_heads"], SHAPES["head_dim"]
    pairs = batch * heads * (seq_len * (seq_len + 1) // 2 + seq_len * prefix_len)
    query, key_value = BF16 * batch * seq_len * heads * head_dim, BF16 * 2 * batch * seq_len * kv_heads * head_dim
    sizes = {**SHAPES["attention"], "num_heads": heads, "num_kv_heads": kv_heads, "head_dim": head_dim}
    name = f"{batch}x{seq_len} tokens, prefix of {prefix_len}"
    yield Case("prefix_attention", f"forward, {name}", 4 * pairs * head_dim, 2 * query + key_value, sizes)
    # q, k, v, o and dO are read; dQ, dK and dV written.
    yield Case("prefix_attention", f"backward, {name}", 10 * pairs * head_dim, 4 * query + 2 * key_value, sizes)


def streams():
    """What is bound by memory: `count` passes over `elements` values."""
    tokens, hidden, intermediate = max(SHAPES["tokens"]), SHAPES["hidden_size"], SHAPES["intermediate_size"]
    rows, vocab = SHAPES["logits_rows"], SHAPES["vocab_size"]

    def case(family, name, count, rows, features, size=BF16):
        return Case(family, f"{name}, {rows}x{features}", 0, size * count * rows * features, {"rows": rows, "features": features})

    yield case("transformer", "rms_norm forward", 2, tokens, hidden)
    yield case("transformer", "rms_norm backward", 3, tokens, hidden)
    yield case("transformer", "swiglu forward", 3, tokens, intermediate)
    yield case("transformer", "swiglu backward", 5, tokens, intermediate)
    yield case("transformer", "rope", 2, tokens, SHAPES["num_heads"] * SHAPES["head_dim"])
    yield case("transformer", "cross_entropy", 2, rows, vocab)
    yield case("ia3", "forward", 2, tokens, intermediate)
    yield case("ia3", "backward", 3, tokens, intermediate)
    # Parameters and both moments read and written, gradients read, all f32; parameters also rounded to bf16.
    parameters = SHAPES["trainable_parameters"]
    yield Case("adamw", f"step, {parameters} parameters", 0, (7 * F32 + BF16) * parameters, {"parameters": parameters})
    yield Case("adamw", f"grad_norm, {parameters} parameters", 0, F32 * parameters, {"parameters": parameters})
    # Half a byte of code for each value, one f32 scale for each 64.
    rows, columns = SHAPES["linears"]["down_proj"][::-1]
    for name in ("quantize", "dequantize"):
        values = rows * columns
        yield Case("nf4", f"{name}, {rows}x{columns}", 0, BF16 * values + values // 2 + F32 * values // 64, {"rows": rows, "columns": columns})


def steps():
    """A training step of each model of benches/reference_models.json, or of the file that TUNESMITH_BENCH_MODELS names, with LoRA
    and with QLoRA: every product forward and the gradient of its input. The weights are read twice."""
    sequences, length = SHAPES["attention"]["batch"], SHAPES["attention"]["seq_len"]
    tokens = sequences * length
    for model, config in MODELS.items():
        hidden, intermediate, vocab = (config[size] for size in ("hidden_size", "intermediate_size", "vocab_size"))
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        head_dim = config.get("head_dim", hidden // heads)
        block = 2 * hidden * (heads + kv_heads) * head_dim + 3 * hidden * intermediate
        weights = config["num_hidden_layers"] * block + vocab * hidden
        # Two products forward and five backward for each pair of a query and a key before it.
        pairs = sequences * heads * length * (length + 1) // 2
        attention = 14 * pairs * head_dim * config["num_hidden_layers"]
        sizes = {"config": config, "rank": SHAPES["rank"], "sequences": sequences, "length": length}
        for method in ("LoRA", "QLoRA"):
            yield Case("step", f"{method}, {model} {sequences}x{length}", 4 * tokens * weights + attention, 2 * BF16 * weights, sizes)


def cases():
    """Every case, by family."""
    return [*projections(), *attention(), *streams(), *steps()]
