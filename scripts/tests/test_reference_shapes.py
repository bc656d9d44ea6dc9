"""The bytes and operations of reference cases, by hand."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import reference_shapes


class Cases(unittest.TestCase):
    def setUp(self):
        self.cases = {case.key: case for case in reference_shapes.cases()}

    def test_names_are_unique(self):
        self.assertEqual(len(self.cases), len(reference_shapes.cases()))

    def test_a_product(self):
        case = self.cases["gemm/forward, gate_proj 8192x4096x14336"]
        self.assertEqual(case.flops, 2 * 8192 * 4096 * 14336)
        self.assertEqual(case.bytes, 2 * (8192 * 4096 + 4096 * 14336 + 8192 * 14336))
        self.assertAlmostEqual(reference_shapes.H100.floor_us(case), 1202.6, places=1)
        self.assertEqual(reference_shapes.H100.bound(case), "operations")

    def test_attention_counts_what_the_mask_leaves(self):
        case = self.cases["prefix_attention/forward, 4x2048 tokens, prefix of 64"]
        pairs = sum(64 + query + 1 for query in range(2048))
        self.assertEqual(case.flops, 4 * 4 * 32 * 128 * pairs)

    def test_a_stream(self):
        case = self.cases["transformer/rms_norm forward, 8192x4096"]
        self.assertEqual((case.flops, case.bytes), (0, 2 * 2 * 8192 * 4096))
        self.assertAlmostEqual(reference_shapes.H100.floor_us(case), 44.7, places=1)
        self.assertEqual(reference_shapes.H100.bound(case), "bytes")


if __name__ == "__main__":
    unittest.main()
