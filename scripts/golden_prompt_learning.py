#!/usr/bin/env python3
"""Writes tests/data/prompt_learning: one folder for each way of configuring virtual tokens, and what PEFT computes and saves.

    $(scripts/python-env) scripts/golden_prompt_learning.py [CASE ...]

The base models are those of tests/data/peft, and two with a window that is shorter than the sequences.
"""

import argparse
import shutil

import torch
import transformers
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import Gemma2Config, Gemma2ForCausalLM, MistralConfig, MistralForCausalLM

import golden_peft

OUTPUT = golden_peft.OUTPUT.parent / "prompt_learning"


def mistral():
    torch.manual_seed(4)
    return MistralForCausalLM(MistralConfig(**golden_peft.LLAMA_LIKE, head_dim=8, sliding_window=6))


def gemma2():
    torch.manual_seed(5)
    return Gemma2ForCausalLM(Gemma2Config(**golden_peft.LLAMA_LIKE, head_dim=8, sliding_window=6))


WINDOWED = {"mistral": mistral, "gemma2": gemma2}


def prompt(**overrides):
    return PromptTuningConfig(**dict(task_type="CAUSAL_LM", num_virtual_tokens=5) | overrides)


def prefix(**overrides):
    return PrefixTuningConfig(**dict(task_type="CAUSAL_LM", num_virtual_tokens=5) | overrides)


def p_tuning(**overrides):
    defaults = dict(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=24)
    return PromptEncoderConfig(**defaults | overrides)


CASES = {
    "llama-prompt": prompt,
    "qwen2-prompt": prompt,
    "gpt2-prompt": prompt,
    "gemma2-prompt": prompt,
    "llama-prompt-sample-vocab": lambda: prompt(prompt_tuning_init="SAMPLE_VOCAB"),
    "llama-prompt-modules-to-save": lambda: prompt(modules_to_save=["lm_head", "norm"]),
    "llama-prefix": prefix,
    "llama-prefix-modules-to-save": lambda: prefix(modules_to_save=["embed_tokens"]),
    "qwen2-prefix": prefix,
    "gpt2-prefix": prefix,
    "mistral-prefix": prefix,
    "gemma2-prefix": prefix,
    "llama-prefix-projection": lambda: prefix(prefix_projection=True, encoder_hidden_size=24),
    "gpt2-prefix-projection-zero": lambda: prefix(prefix_projection=True, init_weights="zero"),
    "llama-prefix-zero": lambda: prefix(init_weights="zero"),
    "llama-ptuning-mlp": p_tuning,
    "qwen2-ptuning-mlp": p_tuning,
    "gpt2-ptuning-mlp": p_tuning,
    "llama-ptuning-lstm": lambda: p_tuning(encoder_reparameterization_type="LSTM", encoder_hidden_size=12),
    "gpt2-ptuning-lstm-deep": lambda: p_tuning(
        encoder_reparameterization_type="LSTM", encoder_hidden_size=8, encoder_num_layers=3, num_virtual_tokens=1),
    "t5-prompt": lambda: prompt(**golden_peft.SEQ_2_SEQ),
    "t5-prefix": lambda: prefix(**golden_peft.SEQ_2_SEQ),
    "t5-prefix-projection": lambda: prefix(**golden_peft.SEQ_2_SEQ, prefix_projection=True, encoder_hidden_size=24),
    "t5-ptuning-mlp": lambda: p_tuning(**golden_peft.SEQ_2_SEQ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these; all if none is given")
    chosen = parser.parse_args().cases or list(CASES)
    unknown = sorted(set(chosen) - set(CASES))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    golden_peft.MODELS.update(WINDOWED)
    golden_peft.CASES.update(CASES)
    for family, make in WINDOWED.items():
        folder = OUTPUT / f"base-{family}"
        shutil.rmtree(folder, ignore_errors=True)
        make().save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        (folder / "model.safetensors").chmod(0o644)
    for name in chosen:
        golden_peft.write_case(name, OUTPUT)


if __name__ == "__main__":
    main()
