"""What scripts/kernel-report computes, against figures of NVIDIA's occupancy calculator and PTX by hand."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from kernel_report import nvcc, occupancy


def kernel(architecture, threads, registers, shared_bytes):
    return nvcc.Kernel("k", architecture, registers, 0, 0, 0, threads, shared_bytes)


class Occupancy(unittest.TestCase):
    def test_each_limit(self):
        cases = [
            (kernel("sm_80", 256, 32, 0), 8, "warps"),
            (kernel("sm_80", 32, 16, 0), 32, "blocks"),
            # 33 registers are given as 40: 1280 a warp, 12 warps in each of four parts.
            (kernel("sm_80", 256, 33, 0), 6, "registers"),
            (kernel("sm_80", 256, 255, 0), 1, "registers"),
            # 48 KiB and one more that the system takes: three times 49 of 164, four times 49 of 228.
            (kernel("sm_80", 128, 32, 48 << 10), 3, "shared memory"),
            (kernel("sm_90a", 128, 32, 48 << 10), 4, "shared memory"),
            (kernel("sm_80", 1024, 80, 0), 0, "registers"),
        ]
        for given, blocks, limit in cases:
            self.assertEqual(occupancy.blocks(given), (blocks, limit), given)
        self.assertEqual(occupancy.occupancy(cases[2][0]), 0.75)


class Ptx(unittest.TestCase):
    def test_threads_and_shared_memory_are_read_for_each_kernel(self):
        ptx = """
.visible .entry one_f32(
.param .align 8 .b8 one_f32_param_0[16]
)
.maxntid 256, 1, 1
{
	// begin inline asm
	// shared memory: 69632 bytes
	// end inline asm
}
.visible .entry two_f32(
)
{
}
"""
        self.assertEqual(nvcc.describe(ptx), {"one_f32": (256, 69632, 0), "two_f32": (0, 0, 0)})

    def test_registers_that_warpgroups_trade_are_added_up(self):
        ptx = "setmaxnreg.dec.sync.aligned.u32 40;\nsetmaxnreg.inc.sync.aligned.u32 232;"
        self.assertEqual(nvcc.claimed(ptx, 384), 168 * 384)
        self.assertEqual(nvcc.claimed("setmaxnreg.inc.sync.aligned.u32 240;\nsetmaxnreg.dec.sync.aligned.u32 24;", 384), 168 * 384)

    def test_serialized_products_are_told_like_warnings(self):
        said = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to ..."
        self.assertTrue(nvcc.SERIALIZED.search(said))
        self.assertFalse(nvcc.SERIALIZED.search("ptxas info    : Used 168 registers, used 1 barriers"))

    def test_sources_of_hopper_are_compiled_for_hopper(self):
        self.assertEqual(nvcc.architectures(pathlib.Path("gemm/wgmma_sm90a.cu")), ["sm_90a"])
        self.assertEqual(nvcc.architectures(pathlib.Path("gemm/gemm.cu")), ["sm_80", "sm_90a"])


if __name__ == "__main__":
    unittest.main()
