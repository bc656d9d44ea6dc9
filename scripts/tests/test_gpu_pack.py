"""scripts/gpu-pack: that it names all that runs on a GPU, and that what it puts into the folder runs it."""

import ctypes.util
import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
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

    def run_in(self, folder, *arguments, device="emulated"):
        command = [sys.executable, folder / "run", "--device", device, *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_suite_is_told_the_device_and_its_data(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/nf4-emulated": 'echo "$TUNESMITH_TEST_DEVICE $TUNESMITH_TEST_DATA"'})
            done = self.run_in(folder, "--tests-only")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("passed  test-nf4-emulated", done.stdout)
            self.assertEqual((folder / "results/test-nf4-emulated.log").read_text(), f"emulated {folder.resolve()}/tests/data\n")
            with tarfile.open(folder / "results.tar.gz") as packed:
                self.assertIn("results/test-nf4-emulated.log", packed.getnames())

    @unittest.skipIf(ctypes.util.find_library("cuda"), "there is a driver")
    def test_without_a_gpu_nothing_runs(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/nf4-emulated": "true"})
            done = self.run_in(folder, device="cuda")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("no GPU: libcuda.so.1 was not found", done.stderr)
            self.assertFalse((folder / "results").exists())

    def test_what_would_run_is_listed(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/nf4-emulated": "exit 1", "benches/nf4": "exit 1", "benches/gemm": "exit 1"})
            for arguments, expected in [
                ([], ["test-nf4-emulated", "bench-gemm", "bench-nf4", "peers"]),
                (["nf4", "--benches-only"], ["bench-nf4"]),
                (["--tests-only"], ["test-nf4-emulated"]),
            ]:
                done = self.run_in(folder, "--list", *arguments, device="cuda")
                self.assertEqual((done.returncode, done.stdout.split()), (0, expected), done.stderr)
            done = self.run_in(folder, "--list")
            self.assertEqual(done.stdout.split(), ["test-nf4-emulated"], "nothing is timed on the emulator")

    def test_a_name_that_nothing_has_is_an_error(self):
        with tempfile.TemporaryDirectory() as temporary:
            done = self.run_in(self.folder(temporary, {"tests/nf4-emulated": "true"}), "fn4")
            self.assertIn("nothing here has a name with fn4", done.stderr)

    def test_what_takes_too_long_is_stopped_and_its_log_kept(self):
        with tempfile.TemporaryDirectory() as temporary:
            programs = {"tests/a-emulated": "echo begun; exec sleep 100", "tests/b-emulated": "true"}
            done = self.run_in(self.folder(temporary, programs), "--tests-only", "--minutes", "0.01")
            self.assertEqual(done.returncode, 1)
            self.assertIn("STOPPED  test-a-emulated", done.stdout)
            self.assertIn("NOT RUN  test-b-emulated", done.stdout)
            self.assertIn("failed: test-a-emulated, test-b-emulated", done.stderr)
            self.assertEqual((pathlib.Path(temporary) / "results/test-a-emulated.log").read_text(), "begun\n")

    def test_a_suite_that_fails_is_named_and_the_others_run(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/a-emulated": "exit 101", "tests/b-emulated": "true"})
            done = self.run_in(folder, "--tests-only")
            self.assertEqual(done.returncode, 1)
            self.assertIn("FAILED  test-a-emulated", done.stdout)
            self.assertIn("passed  test-b-emulated", done.stdout)
            self.assertIn("failed: test-a-emulated", done.stderr)

    def test_only_what_is_named_runs(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder(temporary, {"tests/gemm-emulated": "true", "tests/nf4-emulated": "exit 1"})
            done = self.run_in(folder, "--tests-only", "gemm")
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 1), done.stdout)


if __name__ == "__main__":
    unittest.main()
