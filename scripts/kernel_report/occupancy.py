"""How many blocks of a kernel one multiprocessor holds, as NVIDIA's occupancy calculator computes it.

Source: CUDA C++ Programming Guide, "Compute Capabilities".
"""

import dataclasses

WARP = 32
# The register file is in four parts, and a warp's registers lie in one of them, in units of 256.
PARTS = 4
REGISTER_UNIT = 256
REGISTERS_PER_PART = 65536 // PARTS
# Shared memory is given in units of 128 bytes, and the system takes 1 KiB of each block's.
SHARED_UNIT = 128
SHARED_RESERVED = 1024


@dataclasses.dataclass(frozen=True)
class Multiprocessor:
    """Limits of one generation."""

    warps: int
    blocks: int
    shared_bytes: int


MULTIPROCESSORS = {
    "sm_80": Multiprocessor(warps=64, blocks=32, shared_bytes=164 << 10),
    "sm_90a": Multiprocessor(warps=64, blocks=32, shared_bytes=228 << 10),
}


def round_up(value, unit):
    return -(-value // unit) * unit


def blocks(kernel):
    """Blocks at once, and what there is too little of for another."""
    limits = MULTIPROCESSORS[kernel.architecture]
    warps = -(-kernel.threads // WARP)
    by_registers = PARTS * (REGISTERS_PER_PART // round_up(kernel.registers * WARP, REGISTER_UNIT)) // warps
    by_shared = limits.shared_bytes // round_up(kernel.shared_bytes + SHARED_RESERVED, SHARED_UNIT)
    bounds = [(limits.warps // warps, "warps"), (limits.blocks, "blocks"), (by_registers, "registers"), (by_shared, "shared memory")]
    return min(bounds, key=lambda bound: bound[0])


def occupancy(kernel):
    """The share of a multiprocessor's warps that run at once."""
    return blocks(kernel)[0] * -(-kernel.threads // WARP) / MULTIPROCESSORS[kernel.architecture].warps
