"""`scripts/peers` without running a program: its cases, and the table it makes."""

import pathlib
import sys
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))

import peer_cases
import peers


class Table(unittest.TestCase):
    def test_every_case_has_a_name_of_its_own(self):
        names = [case.name for case in peer_cases.table()]
        self.assertEqual(len(set(names)), len(names))

    def test_bfloat16_is_compared_with_its_faster_modes_too(self):
        modes = {case.name: [mode.name for mode in peer_cases.peer_modes(case)] for case in peer_cases.table()}
        self.assertEqual(modes["smollm2-135m-lora-float32-b4s256"], ["PEFT", "PEFT, keeps memory"])
        in_bfloat16 = modes["smollm2-135m-lora-bfloat16-b4s256"]
        self.assertEqual(in_bfloat16[2:], ["PEFT, bf16 adapters", "PEFT, autocast"])

    def test_a_row_has_medians_and_ratios(self):
        ours, other = (peers.Contender(peer_cases.PeerMode(name)) for name in ("tunesmith", "PEFT"))
        ours.steps, ours.firsts, ours.peaks, ours.anonymous = [2.0, 1.0, 1.5], [0.5], [300.0], [100.0, 200.0]
        other.steps, other.firsts, other.peaks, other.anonymous = [3.0], [6.0], [900.0], [800.0]
        case = peer_cases.Case("smollm2-135m", "lora", "float32", 1, 64)
        first, second = peers.rows_of(case, [ours, other])
        self.assertEqual(first[2:], ("1.500", "1.00-2.00", "43", "1.00", "300", "200", "1.00", "0.50"))
        self.assertEqual(second, ("", "PEFT", "3.000", "3.00-3.00", "21", "2.00", "900", "800", "4.00", "6.00"))
        self.assertEqual(peers.markdown([first]).count("\n"), 3)

    def test_programs_that_did_not_do_the_same_work_are_told(self):
        contenders = [peers.Contender(peer_cases.PeerMode(name)) for name in ("a", "b")]
        contenders[0].first_loss, contenders[1].first_loss = 10.0, 10.1
        with self.assertRaises(SystemExit):
            peers.check_first_losses(peer_cases.Case("smollm2-135m", "lora", "float32", 1, 64), contenders)
        peers.check_first_losses(peer_cases.Case("smollm2-135m", "lora", "bfloat16", 1, 64), contenders)


if __name__ == "__main__":
    unittest.main()
