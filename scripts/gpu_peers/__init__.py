"""What other programs do on the shapes of benches/reference_shapes.json: timed by scripts/gpu-peers.py.

Each module here has `PROGRAM`, its name; `missing()`, why it cannot run, or None; and `runs(case, device)`, which yields
`(name, make)` for every way in which the program does a case. `make()` allocates operands and returns a function that does it
once; the caller makes as many as exceed the cache.
"""

from . import bitsandbytes_runs, liger_runs, peft_runs, torch_runs

PEERS = [torch_runs, peft_runs, bitsandbytes_runs, liger_runs]
