#!/usr/bin/env python3
"""One fine-tuning run of transformers + PEFT on the CPU, the peer that `scripts/peers` times.

It reads the same model folder and the same rows of token ids as tunesmith and writes the same `metrics.jsonl`, so
that both are measured from outside in the same way. Its settings are those of transformers' Trainer: scaled dot product
attention, fused AdamW, no clipping, a constant learning rate.

    peer_train.py create --arch smollm2-135m --storage bfloat16 --output DIR      a random model of a published shape
    peer_train.py train --model DIR --data ROWS.jsonl --output DIR ...
"""

import argparse
import json
import os
import pathlib

from peer_cases import METHODS, NUM_VIRTUAL_TOKENS

# name: (transformers config class, its arguments), as published but for dropout, which the programs draw differently
ARCHITECTURES = {
    "gpt2-124m": (
        "gpt2",
        dict(vocab_size=50257, n_embd=768, n_layer=12, n_head=12, n_positions=1024, resid_pdrop=0.0, embd_pdrop=0.0,
             attn_pdrop=0.0),
    ),
    "smollm2-135m": (
        "llama",
        dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
             num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
             rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, bos_token_id=0, eos_token_id=0),
    ),
    "qwen2.5-0.5b": (
        "qwen2",
        dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
             num_key_value_heads=2, max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=True,
             rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
    ),
    "tinyllama-1.1b": (
        "llama",
        dict(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
             num_key_value_heads=4, max_position_embeddings=2048, rms_norm_eps=1e-5,
             rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
    ),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="write a model with random weights")
    create.add_argument("--arch", choices=ARCHITECTURES, required=True)
    create.add_argument("--storage", choices=["float32", "bfloat16"], default="bfloat16")
    create.add_argument("--output", type=pathlib.Path, required=True)
    train = commands.add_parser("train", help="train an adapter, or the whole model")
    train.add_argument("--model", type=pathlib.Path, required=True)
    train.add_argument("--data", type=pathlib.Path, required=True, help="JSON Lines of input_ids and labels, all of one length")
    train.add_argument("--output", type=pathlib.Path, required=True)
    train.add_argument("--method", choices=METHODS, default="lora")
    train.add_argument("--r", type=int, default=16)
    train.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    train.add_argument("--batch", type=int, default=4)
    train.add_argument("--steps", type=int, default=6)
    train.add_argument("--learning-rate", type=float, default=2e-4)
    train.add_argument("--adapter-dtype", choices=["float32", "base"], default="float32", help="PEFT's default is float32")
    train.add_argument("--autocast", action="store_true", help="weights in float32, computed with in bfloat16")
    train.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def create_model(arguments):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    family, shape = ARCHITECTURES[arguments.arch]
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, arguments.storage))
    model.save_pretrained(arguments.output, max_shard_size="100GB")


def adapter_config(arguments, model):
    import peft

    common = dict(task_type="CAUSAL_LM")
    match arguments.method:
        case "lora" | "qlora":
            return peft.LoraConfig(
                r=arguments.r, lora_alpha=2 * arguments.r, target_modules="all-linear",
                fan_in_fan_out=model.config.model_type == "gpt2", **common,
            )
        case "ia3":
            return peft.IA3Config(**common)
        case "prompt_tuning":
            return peft.PromptTuningConfig(num_virtual_tokens=NUM_VIRTUAL_TOKENS, **common)
        case "prefix_tuning":
            return peft.PrefixTuningConfig(num_virtual_tokens=NUM_VIRTUAL_TOKENS, **common)
        case "p_tuning":
            hidden = model.config.hidden_size
            return peft.PromptEncoderConfig(num_virtual_tokens=NUM_VIRTUAL_TOKENS, encoder_hidden_size=hidden, **common)


def load_trainable(arguments, torch):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch.float32 if arguments.autocast else getattr(torch, arguments.dtype)
    quantization = None
    if arguments.method == "qlora":
        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype, quantization_config=quantization)
    model.config.use_cache = False
    if arguments.method != "full":
        from peft import get_peft_model

        to_float32 = arguments.adapter_dtype == "float32"
        model = get_peft_model(model, adapter_config(arguments, model), autocast_adapter_dtype=to_float32)
    return model.train()


def train(arguments):
    # OpenMP reads this when torch is imported.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    model = load_trainable(arguments, torch)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=arguments.learning_rate, weight_decay=0.0, fused=True)

    with open(arguments.data) as file:
        rows = [json.loads(line) for line in file]
    input_ids, labels = (torch.tensor([row[key] for row in rows]) for key in ("input_ids", "labels"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    with open(arguments.output / "metrics.jsonl", "w") as metrics:
        for step in range(arguments.steps):
            batch = slice(step * arguments.batch, (step + 1) * arguments.batch)
            ids = input_ids[batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.autocast):
                loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels[batch]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            print(json.dumps({"step": step + 1, "loss": loss.item()}), file=metrics, flush=True)


def main():
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    arguments = parse_arguments()
    create_model(arguments) if arguments.command == "create" else train(arguments)


if __name__ == "__main__":
    main()
