#!/usr/bin/env python3
"""Writes tests/data/peft: one folder for each way of configuring a method, and what PEFT computes and saves with it.

    $(scripts/python-env) scripts/golden_peft.py [CASE ...]

The bases in NF4 need `pip install bitsandbytes==0.50.2 accelerate` beside the packages of scripts/requirements.txt.

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import (
    AdaLoraConfig, IA3Config, LNTuningConfig, LoraConfig, TrainableTokensConfig, VeraConfig, get_peft_model,
)
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM, BitsAndBytesConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, T5Config,
    T5ForConditionalGeneration,
)

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "peft"
VOCAB_SIZE = 64
THREE_STEPS = dict(lr=1e-2, weight_decay=0.01)
SPECIAL_TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA_LIKE = SPECIAL_TOKENS | dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, attn_implementation="eager",
)


def llama(**overrides):
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(**LLAMA_LIKE | overrides))


def qwen2():
    torch.manual_seed(2)
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA_LIKE, tie_word_embeddings=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model


def gpt2(n_embd=32):
    torch.manual_seed(3)
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB_SIZE, n_embd=n_embd, n_layer=2, n_head=4, n_positions=128, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, attn_implementation="eager", **SPECIAL_TOKENS,
    ))


def t5():
    torch.manual_seed(5)
    return T5ForConditionalGeneration(T5Config(
        vocab_size=VOCAB_SIZE, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, attn_implementation="eager",
    ))


def nf4(make, double_quant, auto=AutoModelForCausalLM, kept=None):
    """The model in bitsandbytes' blocks but for the modules `kept`, computed in float32 on the CPU."""
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=kept,
    )
    with tempfile.TemporaryDirectory() as folder:
        make().save_pretrained(folder)
        model = auto.from_pretrained(
            folder, quantization_config=config, dtype=torch.float32, device_map="cpu", attn_implementation="eager",
        )
    for module in model.modules():
        # Its kernel for processors with AVX-512 computes in bfloat16, and fails on rows shorter than a block.
        module.support_avx512bf16_for_cpu = False
    return model


MODELS = {
    "llama": llama, "qwen2": qwen2, "gpt2": gpt2, "t5": t5,
    # Rows of whole blocks: bitsandbytes' kernel for the CPU gives wrong values where a block runs over the end of a row.
    "llama_nf4": lambda: nf4(lambda: llama(hidden_size=64, intermediate_size=128), True),
    "gpt2_nf4": lambda: nf4(lambda: gpt2(n_embd=64), False),
}
SEQ_2_SEQ = dict(task_type="SEQ_2_SEQ_LM")


def lora(**overrides):
    return LoraConfig(**dict(task_type="CAUSAL_LM", r=4, lora_alpha=8) | overrides)


def ia3(**overrides):
    return IA3Config(**dict(task_type="CAUSAL_LM") | overrides)


def vera(**overrides):
    return VeraConfig(**dict(task_type="CAUSAL_LM", r=8) | overrides)


def adalora(**overrides):
    """Distributes ranks after the first and the second of three steps, and keeps them from then on."""
    return AdaLoraConfig(
        **dict(task_type="CAUSAL_LM", init_r=6, target_r=3, lora_alpha=8, total_step=3, tfinal=1) | overrides)


CASES = {
    "llama-lora": lora,
    "gpt2-lora": lora,
    "gpt2-lora-notask": lambda: lora(task_type=None),
    "qwen2-lora": lora,
    "qwen2-lora-biasall": lambda: lora(bias="all"),
    "qwen2-lora-biasloraonly": lambda: lora(bias="lora_only"),
    "llama-lora-bias": lambda: lora(lora_bias=True, target_modules=["q_proj"]),
    "llama-lora-embed-head": lambda: lora(target_modules=["q_proj", "embed_tokens", "lm_head"]),
    "llama-lora-layers": lambda: lora(
        target_modules=["q_proj", "v_proj", "down_proj"], layers_to_transform=[1], layers_pattern="layers"),
    "llama-lora-modules-to-save": lambda: lora(modules_to_save=["embed_tokens", "lm_head"]),
    "llama-lora-rslora-pattern-all-linear": lambda: lora(
        use_rslora=True, target_modules="all-linear", rank_pattern={r"layers\.0\.self_attn\.q_proj": 2},
        alpha_pattern={"down_proj": 16}),
    "llama-pissa": lambda: lora(init_lora_weights="pissa"),
    "gpt2-pissa": lambda: lora(init_lora_weights="pissa", use_rslora=True, rank_pattern={"h.0.attn.c_attn": 7}),
    "llama-olora": lambda: lora(init_lora_weights="olora", target_modules="all-linear"),
    "llama-lora-orthogonal": lambda: lora(init_lora_weights="orthogonal"),
    "llama-dora": lambda: lora(use_dora=True),
    "gpt2-dora": lambda: lora(use_dora=True, target_modules=["c_attn", "mlp.c_proj", "wte"]),
    "qwen2-dora-biasall": lambda: lora(use_dora=True, target_modules="all-linear", bias="all", use_rslora=True),
    "llama_nf4-lora": lora,
    "llama_nf4-lora-all-linear": lambda: lora(target_modules="all-linear"),
    "gpt2_nf4-lora": lora,
    "llama_nf4-dora": lambda: lora(use_dora=True, target_modules="all-linear"),
    "gpt2_nf4-dora": lambda: lora(use_dora=True),
    "llama_nf4-ia3": ia3,
    "llama-ia3": ia3,
    "qwen2-ia3": ia3,
    "gpt2-ia3": ia3,
    "gpt2-ia3-modules-to-save": lambda: ia3(
        target_modules=r".*\.(c_attn|c_fc|c_proj)", feedforward_modules=r".*\.c_(fc|proj)",
        exclude_modules=["h.0.attn.c_proj"], modules_to_save=["ln_f"]),
    "llama-lora-trainable-tokens": lambda: lora(trainable_token_indices=[9, 4, 63]),
    "qwen2-lora-trainable-tokens": lambda: lora(trainable_token_indices=[63, 0, 17, 18]),
    "llama-lora-trainable-tokens-modules": lambda: lora(
        trainable_token_indices={"embed_tokens": [3, 9], "lm_head": [5, 4, 9]}),
    "qwen2-lora-trainable-tokens-modules": lambda: lora(
        trainable_token_indices={"embed_tokens": [3, 9], "lm_head": [5, 4, 9]}),
    "gpt2-trainable-tokens": lambda: TrainableTokensConfig(task_type="CAUSAL_LM", token_indices=[12, 3, 40]),
    "llama-trainable-tokens-head": lambda: TrainableTokensConfig(
        task_type="CAUSAL_LM", token_indices=[12, 3, 40], target_modules=["embed_tokens", "lm_head"]),
    "t5-trainable-tokens": lambda: TrainableTokensConfig(**SEQ_2_SEQ, token_indices=[12, 3, 40, 41]),
    "llama-lntuning": lambda: LNTuningConfig(task_type="CAUSAL_LM"),
    "gpt2-lntuning": lambda: LNTuningConfig(task_type="CAUSAL_LM", exclude_modules=["h.1.ln_1"]),
    "qwen2-lntuning-modules-to-save": lambda: LNTuningConfig(
        task_type="CAUSAL_LM", target_modules=["input_layernorm", "v_proj"], modules_to_save=["o_proj"]),
    "t5-lntuning": lambda: LNTuningConfig(**SEQ_2_SEQ),
    "llama-vera": vera,
    "gpt2-vera": lambda: vera(target_modules=["c_attn", "c_proj"], d_initial=0.3, save_projection=False),
    "qwen2-vera-biasveraonly": lambda: vera(
        target_modules="all-linear", bias="vera_only", projection_prng_key=5, r=40, init_weights=False),
    "t5-vera": lambda: vera(**SEQ_2_SEQ),
    "llama_nf4-vera": vera,
    "llama-adalora": adalora,
    "gpt2-adalora": lambda: adalora(init_lora_weights=False, orth_reg_weight=0.1, target_r=1, lora_alpha=1),
    "qwen2-adalora-biasall": lambda: adalora(bias="all", target_modules="all-linear", tinit=1, tfinal=0, beta1=0.5),
    "t5-adalora": lambda: adalora(**SEQ_2_SEQ, deltaT=2),
    "t5-lora": lambda: lora(**SEQ_2_SEQ),
    "t5-lora-embed-head": lambda: lora(
        **SEQ_2_SEQ, target_modules=["wi", "k", "lm_head", "embed_tokens", "relative_attention_bias"]),
    "t5-lora-modules-to-save": lambda: lora(
        **SEQ_2_SEQ, target_modules="all-linear", modules_to_save=["relative_attention_bias", "layer_norm"]),
    "t5-ia3": lambda: ia3(**SEQ_2_SEQ),
}


def make_batch(family):
    """Two sequences of 10 and 7 tokens, padded on the right; the first three tokens are not supervised. An encoder-decoder
    has labels of its own, six for each, the last two of the second row not supervised."""
    generator = torch.Generator().manual_seed(7)
    input_ids = torch.randint(3, VOCAB_SIZE, (2, 10), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 7:] = 0
    input_ids[1, 7:] = 0
    if family == "t5":
        labels = torch.randint(3, VOCAB_SIZE, (2, 6), generator=generator)
        labels[1, 4:] = -100
        return dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
    labels = input_ids.clone()
    labels[attention_mask == 0] = -100
    labels[:, :3] = -100
    return dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels)


def trainable(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def record_case(folder, base, batch, config):
    """Writes what `base` with `config` computes for `batch`, before and after three steps, and what PEFT saves."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record = dict(batch)
    with torch.no_grad():
        record["logits_base"] = base(**batch).logits

    torch.manual_seed(11)
    model = get_peft_model(base, config).eval()
    save_file(trainable(model), folder / "trainable_init.safetensors")
    result = model(**batch)
    record |= {"logits_init": result.logits.detach(), "loss_init": result.loss.detach().reshape(1)}
    result.loss.backward()
    record |= {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], **THREE_STEPS)
    losses = []
    for step in range(1, 4):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        if isinstance(config, AdaLoraConfig):
            model.base_model.update_and_allocate(step)
        losses.append(loss.item())
    with torch.no_grad():
        record["logits_final"] = model(**batch).logits
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    save_file(trainable(model), folder / "trainable_final.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in record.items()}, folder / "io.safetensors")
    (folder / "losses.json").write_text(json.dumps(losses) + "\n")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"{folder.name:40} losses {' '.join(f'{loss:.6f}' for loss in losses)}")


def write_case(name, output=OUTPUT):
    family = name.split("-")[0]
    base = MODELS[family]().eval()
    base.name_or_path = base.config._name_or_path = f"tiny/{family}"
    record_case(output / name, base, make_batch(family), CASES[name]())


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
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    for family, make in MODELS.items():
        folder = OUTPUT / f"base-{family}"
        shutil.rmtree(folder, ignore_errors=True)
        make().save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        (folder / "model.safetensors").chmod(0o644)
    for name in chosen:
        write_case(name)


if __name__ == "__main__":
    main()
