"""Instructions of a compiled kernel, as the disassembler shows them."""

import collections
import os
import re
import subprocess

# What the columns count: products on tensor cores, matrix loads, asynchronous copies and those of boxes, f64 arithmetic.
INSTRUCTIONS = {"mma": r"HMMA\.", "wgmma": r"HGMMA\.", "ldmatrix": r"LDSM\.", "cp.async": r"LDGSTS\.", "tma": r"UTMALDG\.", "f64": r"DADD|DMUL|DFMA"}


def count(nvcc, cubin):
    """Counts by kernel and column, or None where the disassembler is not installed."""
    cuobjdump = nvcc.with_name("cuobjdump")
    if not cuobjdump.exists():
        return None
    path = {"PATH": f"{nvcc.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    listing = subprocess.run([cuobjdump, "-sass", cubin], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}).stdout
    counts = collections.defaultdict(dict)
    for function in listing.split("Function : ")[1:]:
        name, code = function.split("\n", 1)
        counts[name.strip()] = {column: len(re.findall(pattern, code)) for column, pattern in INSTRUCTIONS.items()}
    return counts
