"""The scripts for a GPU, as far as they go without one."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent


def run(*command, **environment):
    return subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment}).stdout


class Peers(unittest.TestCase):
    def test_every_family_has_a_peer(self):
        listed = run(SCRIPTS / "gpu-peers.py", "--list").splitlines()
        families = {line.split("/")[0] for line in listed}
        self.assertEqual(families, {"gemm", "lora", "prefix_attention", "transformer", "ia3", "adamw", "nf4", "step"})
        programs = {line.rsplit(": ", 1)[1].split(",")[0] for line in listed}
        self.assertEqual(programs, {"torch", "peft", "bitsandbytes", "liger-kernel"})

    def test_lora_is_run_in_three_modes(self):
        listed = run(SCRIPTS / "gpu-peers.py", "--list", "lora").splitlines()
        modes = [line.split("peft, ")[1] for line in listed if line.startswith("lora/forward, q_proj 512x")]
        self.assertEqual(modes, ["f32 adapters, autocast", "bf16 adapters", "bf16 adapters, compiled"])

    def test_a_step_is_run_by_all_that_train(self):
        listed = run(SCRIPTS / "gpu-peers.py", "--list", "step").splitlines()
        of_8b = [line.split(": ", 1) for line in listed if "Llama-3-8B" in line]
        self.assertEqual([run for case, run in of_8b if case.startswith("step/QLoRA")], ["bitsandbytes, nf4, peft with bf16 adapters"])
        programs = [run.split(",")[0] for case, run in of_8b if case.startswith("step/LoRA")]
        self.assertEqual(programs, ["peft", "peft", "peft", "liger-kernel"])


class Results(unittest.TestCase):
    def test_a_table_puts_programs_beside_each_other(self):
        def line(program, case, microseconds, share):
            return json.dumps(
                {
                    "program": program,
                    "device": "a GPU",
                    "family": "gemm",
                    "case": case,
                    "microseconds": microseconds,
                    "rate": 5e14,
                    "unit": "FLOP/s",
                    "share_of_roofline": share,
                }
            )

        case = "forward, q_proj 512x4096x4096"
        lines = [line("torch", f"{case}, eager", 30.0, 0.7), line("tunesmith", case, 40.0, 0.5), line("tunesmith", "another", 1.0, None)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.jsonl"
            path.write_text("\n".join(lines))
            table = run(SCRIPTS / "gpu-results", path)
        self.assertIn("# Kernels on a GPU\n", table)
        self.assertIn(f"| {case} | tunesmith | 40.0 | 500 TFLOP/s | 50 % | 1.00 |\n| {case} | torch, eager | 30.0 | 500 TFLOP/s | 70 % | 0.75 |", table)
        self.assertNotIn("another", table)


if __name__ == "__main__":
    unittest.main()
