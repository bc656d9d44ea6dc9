#!/usr/bin/env python3
"""Runs what scripts/gpu-pack put beside it: the kernels' tests, then the benchmarks, then those of other programs that are
installed here. Logs and results go to `results`. Fails if a test fails.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def run(program, arguments, log, **environment):
    """Runs a program into a log; whether it succeeded, and for how many seconds it ran."""
    start = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run([program, *arguments], stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    return done.returncode == 0, time.monotonic() - start


def programs(folder, chosen):
    """The programs in a folder whose names contain a word that was chosen."""
    found = [path for path in sorted((HERE / folder).glob("*")) if os.access(path, os.X_OK) and path.is_file()]
    return [path for path in found if not chosen or any(word in path.name for word in chosen)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--device", default="cuda", help="cuda, cuda:N, or emulated to try the folder out (default %(default)s)")
    arguments.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    arguments.add_argument("--tests-only", action="store_true", help="run no benchmark")
    arguments.add_argument("--python", default=sys.executable, help="the Python that has torch and others (default: this one)")
    arguments.add_argument("names", nargs="*", help="words that a program's name contains; all by default")
    arguments = arguments.parse_args()
    results = arguments.results
    results.mkdir(parents=True, exist_ok=True)

    failed = []
    environment = {"TUNESMITH_TEST_DEVICE": arguments.device, "TUNESMITH_TEST_DATA": str(HERE / "tests/data")}
    for program in programs("tests", arguments.names):
        passed, seconds = run(program, [], results / f"test-{program.name}.log", **environment)
        print(f"{'passed' if passed else 'FAILED'}  {program.name}  {seconds:.0f} s", flush=True)
        failed += [] if passed else [program.name]
    if not arguments.tests_only:
        times = results / "tunesmith.jsonl"
        times.unlink(missing_ok=True)
        device = "cuda:0" if arguments.device == "cuda" else arguments.device
        for program in programs("benches", arguments.names):
            environment = {"TUNESMITH_BENCH_DEVICE": device, "TUNESMITH_BENCH_RESULTS": str(times)}
            passed, seconds = run(program, ["--bench", "--noplot"], results / f"bench-{program.name}.log", **environment)
            print(f"{'timed' if passed else 'FAILED'}  {program.name}  {seconds:.0f} s", flush=True)
            failed += [] if passed else [program.name]
        peers = results / "peers.jsonl"
        passed, seconds = run(arguments.python, [HERE / "scripts/gpu-peers.py", "--output", peers], results / "peers.log")
        print(f"{'timed' if passed else 'not timed, see peers.log:'}  other programs  {seconds:.0f} s", flush=True)
        files = [path for path in (times, peers) if path.exists()]
        table = subprocess.run([sys.executable, HERE / "scripts/gpu-results", *files], check=True, stdout=subprocess.PIPE, text=True)
        (results / "results.md").write_text(table.stdout)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; see {results}")


if __name__ == "__main__":
    main()
