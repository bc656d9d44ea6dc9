#!/usr/bin/env python3
"""Writes tests/data/images: small image files, and what Pillow and transformers' image processors make of them.

    $(scripts/python-env) scripts/golden_images.py

`pip install 'pillow<13' numpy` beside the packages of scripts/requirements.txt: Pillow 13 takes the axes in another order for
some sizes. tests/data/README.md says what the files hold.
"""

import json
import pathlib
import shutil

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "images"
VIT = dict(
    image_processor_type="ViTImageProcessor", do_resize=True, do_rescale=True, do_normalize=True,
    rescale_factor=1 / 255, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
)
CONFIGS = {
    **{
        f"filter-{number}": VIT | dict(size=dict(height=9, width=14), resample=number)
        for number in range(6)
    },
    "larger": VIT | dict(size=dict(height=40, width=31), resample=3),
    "one-side": VIT | dict(size=dict(height=26, width=11), resample=2, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
    "as-it-is": VIT | dict(do_resize=False, do_normalize=False),
}


def pictures():
    random = numpy.random.default_rng(5)
    ramp = numpy.add.outer(numpy.arange(26) * 7, numpy.arange(19) * 11)[..., None] * [1, 2, 3] % 256
    noise = random.integers(0, 256, (26, 19, 3))
    rgb = numpy.where(random.random((26, 19, 1)) < 0.3, noise, ramp).astype("uint8")
    image = Image.fromarray(rgb)
    palette = image.quantize(16)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(noise[..., 0].astype("uint8")))
    return {
        "rgb.png": image, "gray.png": image.convert("L"), "palette.png": palette, "alpha.png": alpha,
        "gray-alpha.png": alpha.convert("LA"), "bits.png": image.convert("1"),
    }


def main():
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    record = {}
    for name, image in pictures().items():
        image.save(OUTPUT / name, optimize=True)
        rgb = Image.open(OUTPUT / name).convert("RGB")
        record[f"rgb.{name}"] = torch.from_numpy(numpy.asarray(rgb).copy())
    smooth = Image.open(OUTPUT / "gray.png").convert("RGB").resize((38, 26), Image.Resampling.BICUBIC)
    smooth.save(OUTPUT / "smooth.jpg", quality=95)
    record["rgb.smooth.jpg"] = torch.from_numpy(numpy.asarray(Image.open(OUTPUT / "smooth.jpg").convert("RGB")).copy())
    rgb = Image.open(OUTPUT / "rgb.png")
    for name, config in CONFIGS.items():
        folder = OUTPUT / "config"
        folder.mkdir()
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        record[f"pil.{name}"] = torch.as_tensor(processor(rgb, return_tensors="pt")["pixel_values"][0]).contiguous()
        shutil.rmtree(folder)
    save_file(record, OUTPUT / "expected.safetensors")
    (OUTPUT / "expected.safetensors").chmod(0o644)
    (OUTPUT / "configs.json").write_text(json.dumps(CONFIGS, indent=1) + "\n")


if __name__ == "__main__":
    main()
