"""What `scripts/peers` compares: one case for each row of its table, and the settings of PyTorch + PEFT that are run for it."""

import dataclasses

# PyTorch's fastest setting found for memory: freed blocks stay with the process. It costs memory.
KEEPS_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "68719476736", "MALLOC_ARENA_MAX": "1"}
METHODS = ("lora", "qlora", "ia3", "prompt_tuning", "prefix_tuning", "p_tuning", "full")
# Their trainable values start at random numbers that change the first loss.
STARTS_AT_RANDOM = ("prompt_tuning", "prefix_tuning", "p_tuning")
NUM_VIRTUAL_TOKENS = 20


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison."""

    arch: str
    method: str
    dtype: str
    batch: int
    seq: int
    # The part of each row, from its start, that has no label.
    unsupervised: float = 0.0

    @property
    def name(self):
        half = f"-unsupervised{self.unsupervised:g}" if self.unsupervised else ""
        return f"{self.arch}-{self.method}-{self.dtype}-b{self.batch}s{self.seq}{half}"

    @property
    def storage(self):
        """The dtype of the model's file, as the model is published."""
        return "float32" if self.arch.startswith("gpt2") else "bfloat16"

    @property
    def tokens(self):
        return self.batch * self.seq


@dataclasses.dataclass(frozen=True)
class PeerMode:
    """A setting of PyTorch + PEFT."""

    name: str
    arguments: tuple = ()
    environment: tuple = ()


def peer_modes(case):
    """The modes of the case's class of precision: the fastest of them is what counts."""
    modes = [PeerMode("PEFT"), PeerMode("PEFT, keeps memory", environment=tuple(KEEPS_FREED_MEMORY.items()))]
    if case.dtype == "bfloat16" and case.method in ("lora", "qlora"):
        modes.append(PeerMode("PEFT, bf16 adapters", ("--adapter-dtype", "base")))
    if case.dtype == "bfloat16" and case.method == "lora":
        modes.append(PeerMode("PEFT, autocast", ("--autocast",)))
    return modes


def lora(arch, dtype, batch, seq, **more):
    return Case(arch, "lora", dtype, batch, seq, **more)


def table():
    """The whole table: model shapes, then methods, then rows without labels, then the first step."""
    both = ("float32", "bfloat16")
    cases = [lora(arch, dtype, 4, 256) for arch in ("smollm2-135m", "gpt2-124m") for dtype in both]
    cases += [lora("qwen2.5-0.5b", dtype, 1, 512) for dtype in both]
    cases += [Case("tinyllama-1.1b", method, "bfloat16", 1, 512) for method in ("lora", "qlora")]
    cases.append(Case("smollm2-135m", "qlora", "bfloat16", 4, 256))
    cases += [Case("smollm2-135m", method, "float32", 4, 256) for method in ("ia3", *STARTS_AT_RANDOM)]
    cases += [lora("smollm2-135m", dtype, 4, 256, unsupervised=0.5) for dtype in both]
    cases += [lora(arch, "bfloat16", 1, 64) for arch in ("smollm2-135m", "tinyllama-1.1b")]
    return cases
