#!/usr/bin/env python3
"""Greedy generation by transformers (+ PEFT) on the CPU, the peer that `scripts/generation-peers` times.

    peer_generate.py prepare --arch smollm2-135m --model DIR --adapter DIR     a model's tokenizer, and a random adapter
    peer_generate.py run --model DIR --prompts PROMPTS.jsonl [--adapter DIR] ...

`run` prints one JSON line for each prompt, with the keys of `tunesmith generate --json`.
"""

import argparse
import json
import os
import pathlib
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write a tokenizer beside a model, and an adapter with random weights")
    prepare.add_argument("--r", type=int, default=16)
    run = commands.add_parser("run", help="continue every prompt")
    run.add_argument("--prompts", type=pathlib.Path, required=True)
    run.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    run.add_argument("--max-new-tokens", type=int, default=128)
    run.add_argument("--batch-size", type=int, default=1, help="prompts that are continued at once, all of one length")
    run.add_argument("--threads", type=int, default=os.cpu_count())
    for command in [prepare, run]:
        command.add_argument("--model", type=pathlib.Path, required=True)
        command.add_argument("--adapter", type=pathlib.Path)
    return parser.parse_args()


def write_tokenizer(model):
    """A tokenizer whose words are the names of the ids: `t17` is token 17. Nothing ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    size = json.loads((model / "config.json").read_text())["vocab_size"]
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(size)}, unk_token="t0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(model)
    (model / "generation_config.json").unlink(missing_ok=True)


def write_adapter(arguments):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=arguments.r, lora_alpha=2 * arguments.r, target_modules="all-linear",
        init_lora_weights=False, fan_in_fan_out=model.config.model_type == "gpt2",
    )
    get_peft_model(model, config).save_pretrained(arguments.adapter)


class Clock:
    """A stopping criterion that notes when each token of the batch came, and never stops; streamers take one text."""

    def __init__(self):
        self.started, self.times = time.monotonic(), []

    def __call__(self, input_ids, _scores, **_kwargs):
        import torch

        self.times.append(time.monotonic() - self.started)
        return input_ids.new_zeros(len(input_ids), dtype=torch.bool)


def run(arguments):
    # OpenMP reads this when torch is imported.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
    if arguments.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, arguments.adapter, autocast_adapter_dtype=False)
    model.eval()
    model.generation_config.eos_token_id = None
    with open(arguments.prompts) as file:
        prompts = [[int(word[1:]) for word in json.loads(line)["prompt"].split()] for line in file]
    for start in range(0, len(prompts), arguments.batch_size):
        batch = prompts[start : start + arguments.batch_size]
        input_ids, clock = torch.tensor(batch), Clock()
        with torch.inference_mode():
            output = model.generate(
                input_ids=input_ids, attention_mask=torch.ones_like(input_ids), do_sample=False, pad_token_id=0,
                max_new_tokens=arguments.max_new_tokens, stopping_criteria=[clock],
            )
        for prompt, row in zip(batch, output):
            token_ids = row[len(prompt) :].tolist()
            print(json.dumps({
                "token_ids": token_ids, "prompt_tokens": len(prompt), "completion_tokens": len(token_ids),
                "seconds_to_first_token": clock.times[0], "seconds": clock.times[-1],
            }), flush=True)


def main():
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    arguments = parse_arguments()
    if arguments.command == "run":
        return run(arguments)
    write_tokenizer(arguments.model)
    if arguments.adapter:
        write_adapter(arguments)


if __name__ == "__main__":
    main()
