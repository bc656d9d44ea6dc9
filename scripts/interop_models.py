"""A random tiny model of every kind and family, with rows for its task: what scripts/interop exchanges adapters on."""

import dataclasses
import struct
import zlib

import torch
import transformers
from transformers import (
    BertConfig, DeiTConfig, DistilBertConfig, GPT2Config, LlamaConfig, MT5Config, Qwen2Config, RobertaConfig, T5Config, ViTConfig,
)

import tiny_models

VOCAB_SIZE = 61
LABELS = 3
# Height and width of an image, two patches by three.
IMAGE = (8, 12)
SPECIAL_TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA = SPECIAL_TOKENS | dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, num_labels=LABELS,
)
GPT2 = SPECIAL_TOKENS | dict(
    vocab_size=VOCAB_SIZE, n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    num_labels=LABELS,
)
BERT = dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0, num_labels=LABELS,
)
DISTILBERT = dict(
    vocab_size=VOCAB_SIZE, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64, dropout=0.0,
    attention_dropout=0.0, seq_classif_dropout=0.0, pad_token_id=0, num_labels=LABELS,
)
T5 = dict(
    vocab_size=VOCAB_SIZE, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0,
    decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
)
VIT = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=list(IMAGE), patch_size=4,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=LABELS,
)
# Pixels as they are, from -1 to 1.
PROCESSOR = dict(
    image_processor_type="ViTImageProcessor", do_resize=False, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3,
)


@dataclasses.dataclass(frozen=True)
class Model:
    """Its `model_type`, what is trained, what makes it, and what PEFT cannot find by itself: its modules for some methods, and
    its sizes."""

    family: str
    task: str
    make: object
    targets: dict
    sizes: dict = dataclasses.field(default_factory=dict)


def decoder(family, **targets):
    """One of those that scripts/golden.py records, under its head."""
    make = lambda: tiny_models.make_model(tiny_models.make_config(family), 1)
    return Model(family, "CAUSAL_LM", make, LLAMA_PARTS | targets)


def make(task, architecture, config, **targets):
    """One of transformers' classes."""
    make = lambda: stirred(getattr(transformers, architecture)(config))
    return Model(config.model_type, task, make, targets, SIZES.get(config.model_type, {}))


def stirred(model):
    """Biases and norms away from zero and one, attention away from uniform."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter + 0.1 * torch.randn_like(parameter) if parameter.dim() == 1 else 2 * parameter)
    return model


LLAMA_PARTS = dict(
    lora=["q_proj", "v_proj"], ia3=["k_proj", "v_proj", "down_proj"], feedforward=["down_proj"],
    norms=["input_layernorm", "post_attention_layernorm", "norm"])
GPT2_PARTS = dict(
    lora=["c_attn"], ia3=["c_attn", "mlp.c_proj"], feedforward=["mlp.c_proj"], norms=["ln_1", "ln_2", "ln_f"])
BERT_PARTS = dict(
    lora=["query", "value"], ia3=["key", "value", "output.dense"], feedforward=["output.dense"], norms=["LayerNorm"])
T5_PARTS = dict(lora=["q", "v"], ia3=["k", "v", "wo"], feedforward=["wo"], norms=["layer_norm", "final_layer_norm"])
DISTILBERT_PARTS = dict(
    lora=["q_lin", "v_lin"], ia3=["k_lin", "v_lin", "lin2"], feedforward=["lin2"],
    norms=["sa_layer_norm", "output_layer_norm"])
SIZES = {"distilbert": dict(token_dim=32, num_layers=2, num_attention_heads=4)}
VIT_PARTS = dict(
    lora=["q_proj", "v_proj"], ia3=["k_proj", "v_proj", "fc2"], feedforward=["fc2"],
    norms=["layernorm_before", "layernorm_after"])

MODELS = {
    "llama": make("CAUSAL_LM", "LlamaForCausalLM", LlamaConfig(**LLAMA), **LLAMA_PARTS),
    "qwen2-tied": make("CAUSAL_LM", "Qwen2ForCausalLM", Qwen2Config(**LLAMA, tie_word_embeddings=True), **LLAMA_PARTS),
    "gpt2": make("CAUSAL_LM", "GPT2LMHeadModel", GPT2Config(**GPT2), **GPT2_PARTS),
    "mistral": decoder("mistral"),
    "qwen3": decoder("qwen3"),
    "gemma": decoder("gemma"),
    "gemma2": decoder("gemma2"),
    "gemma3": decoder("gemma3_text"),
    "phi3": decoder("phi3", lora=["qkv_proj", "o_proj"], ia3=["qkv_proj", "down_proj"]),
    "gpt_neox": decoder(
        "gpt_neox", lora=["query_key_value"], ia3=["query_key_value", "dense_4h_to_h"], feedforward=["dense_4h_to_h"],
        norms=["input_layernorm", "final_layer_norm"]),
    "llama-classifier": make("SEQ_CLS", "LlamaForSequenceClassification", LlamaConfig(**LLAMA), **LLAMA_PARTS),
    "gpt2-classifier": make("SEQ_CLS", "GPT2ForSequenceClassification", GPT2Config(**GPT2), **GPT2_PARTS),
    "bert-classifier": make("SEQ_CLS", "BertForSequenceClassification", BertConfig(**BERT), **BERT_PARTS),
    "bert-tagger": make("TOKEN_CLS", "BertForTokenClassification", BertConfig(**BERT), **BERT_PARTS),
    "roberta-classifier": make(
        "SEQ_CLS", "RobertaForSequenceClassification",
        RobertaConfig(**BERT | dict(pad_token_id=1, type_vocab_size=1)), **BERT_PARTS),
    "distilbert-tagger": make(
        "TOKEN_CLS", "DistilBertForTokenClassification", DistilBertConfig(**DISTILBERT), **DISTILBERT_PARTS),
    "t5": make("SEQ_2_SEQ_LM", "T5ForConditionalGeneration", T5Config(**T5), **T5_PARTS),
    "mt5": make(
        "SEQ_2_SEQ_LM", "MT5ForConditionalGeneration",
        MT5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False), **T5_PARTS),
    "vit": make("IMAGE_CLS", "ViTForImageClassification", ViTConfig(**VIT), **VIT_PARTS),
    "deit": make("IMAGE_CLS", "DeiTForImageClassification", DeiTConfig(**VIT), **VIT_PARTS),
    "deit-teacher": make("IMAGE_CLS", "DeiTForImageClassificationWithTeacher", DeiTConfig(**VIT), **VIT_PARTS),
}


def make_base(name):
    torch.manual_seed(1)
    return MODELS[name].make().eval()


def make_rows(name, folder):
    """Rows of one length, so that a batch needs no padding; images are written to `folder`."""
    task = MODELS[name].task
    generator = torch.Generator().manual_seed(2)
    vocab_size = min(VOCAB_SIZE, tiny_models.VOCAB_SIZE)
    draw = lambda count, below=vocab_size, low=3: torch.randint(low, below, (count,), generator=generator).tolist()
    rows = []
    for index in range(4):
        if task == "IMAGE_CLS":
            path = folder / f"{index}.png"
            pixels = torch.randint(0, 256, (*IMAGE, 3), generator=generator, dtype=torch.uint8)
            path.write_bytes(png(pixels))
            rows.append({"image": path.name, "label": index % LABELS})
            continue
        row = {"input_ids": draw(9)}
        row |= {
            "CAUSAL_LM": lambda: {"labels": row["input_ids"]},
            "SEQ_CLS": lambda: {"label": draw(1, LABELS, 0)[0]},
            "TOKEN_CLS": lambda: {"labels": draw(9, LABELS, 0)},
            "SEQ_2_SEQ_LM": lambda: {"labels": draw(5)},
        }[task]()
        rows.append(row)
    return rows


def png(pixels):
    """An image file of `[height, width, 3]` bytes."""
    height, width, _ = pixels.shape
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    lines = b"".join(b"\0" + bytes(row.flatten().tolist()) for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def pixel_values(path):
    """What the processor makes of a file that `png` wrote, `[3, height, width]`."""
    data = path.read_bytes()
    (length,) = struct.unpack(">I", data[33:37])
    height, width = IMAGE
    lines = torch.tensor(list(zlib.decompress(data[41 : 41 + length]))).view(height, 1 + 3 * width)
    return (lines[:, 1:].view(height, width, 3).permute(2, 0, 1) / 255 - 0.5) / 0.5


@torch.no_grad()
def logits_of(name, model, rows, folder):
    """What `model`, an adapter over the base `name`, computes for all rows at once."""
    if MODELS[name].task == "IMAGE_CLS":
        return model(pixel_values=torch.stack([pixel_values(folder / row["image"]) for row in rows])).logits
    batch = {"input_ids": torch.tensor([row["input_ids"] for row in rows])}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if MODELS[name].task == "SEQ_2_SEQ_LM":
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        batch["decoder_input_ids"] = base._shift_right(torch.tensor([row["labels"] for row in rows]))
    logits = model(**batch).logits
    # PEFT scores the tokens of a prompt as well, which have no class.
    return logits[:, -len(rows[0]["input_ids"]) :] if MODELS[name].task == "TOKEN_CLS" else logits
