"""scripts/gpu-pack: that it names all that runs on a GPU, and that what it puts into the folder runs it."""

import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent


def load(script):
    sys.path.insert(0, str(SCRIPTS))
    loader = importlib.machinery.SourceFileLoader(script.replace("-", "_"), str(SCRIPTS / script))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Lists(unittest.TestCase):
    pack = load("gpu-pack")

    def test_every_suite_for_a_device_is_packed(self):
        on_device = {"emulated", "hopper", "on_device"}
        tests = [path for path in ROOT.glob("crates/*/tests/*") if path.stem in on_device]
        found = {(path.parent.parent.name, path.stem) for path in tests}
        self.assertEqual({crate for crate, _ in found}, set(self.pack.CRATES))
        self.assertEqual({suite for _, suite in found}, set(self.pack.SUITES))
        self.assertTrue({("tensor", "on_device"), ("peft", "on_device"), ("gemm", "hopper")} <= found)

    def test_the_test_command_runs_the_same_suites(self):
        text = (SCRIPTS / "test").read_text()
        lines = [line for line in text.splitlines() if "TUNESMITH_TEST_DEVICE=cuda" in line or line.startswith("kernels=")]
        named = set(re.findall(r"-p tunesmith-([\w-]+)", "\n".join(lines)))
        self.assertEqual(named, set(self.pack.CRATES))

    def test_every_benchmark_with_kernels_is_packed(self):
        with_kernels = {path.stem for path in ROOT.glob("benches/cuda/*.rs")} | {"device_step"}
        self.assertEqual(with_kernels, set(self.pack.BENCHES))

    def test_every_family_of_reference_shapes_has_a_benchmark(self):
        shapes = load("reference_shapes.py")
        families = {case.family for case in shapes.cases()}
        self.assertEqual(families - {"step"}, set(self.pack.BENCHES) - {"device_step"})


class Run(unittest.TestCase):
    """The folder's `run`, with shell scripts for programs."""

    def folder(self, temporary, programs):
        folder = pathlib.Path(temporary)
        shutil.copy2(SCRIPTS / "gpu_pack_run.py", folder / "run")
        for name, text in programs.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        return folder

    def run_in(self, folder, *arguments):
        return subprocess.run([sys.executable, folder / "run", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_suite_is_told_the_device_and_its_data(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/nf4-emulated": 'echo "$TUNESMITH_TEST_DEVICE $TUNESMITH_TEST_DATA"'})
            done = self.run_in(folder, "--device", "cuda:1", "--tests-only")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("passed  nf4-emulated", done.stdout)
            self.assertEqual((folder / "results/test-nf4-emulated.log").read_text(), f"cuda:1 {folder.resolve()}/tests/data\n")

    def test_a_suite_that_fails_is_named_and_the_others_run(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/a-emulated": "exit 101", "tests/b-emulated": "true"})
            done = self.run_in(folder, "--tests-only")
            self.assertEqual(done.returncode, 1)
            self.assertIn("FAILED  a-emulated", done.stdout)
            self.assertIn("passed  b-emulated", done.stdout)
            self.assertIn("failed: a-emulated", done.stderr)

    def test_only_what_is_named_runs(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/gemm-emulated": "true", "tests/nf4-emulated": "exit 1"})
            done = self.run_in(folder, "--tests-only", "gemm")
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 1), done.stdout)


if __name__ == "__main__":
    unittest.main()
