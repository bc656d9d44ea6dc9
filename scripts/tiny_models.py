"""Tiny random decoders of every family that tunesmith trains, made with transformers.

`scripts/golden.py` records what they compute, `scripts/interop.py` trains them with both programs. The weights are
drawn so that mistakes show: logits are of order one, attention is far from uniform, no norm weight is one, no bias zero.
"""

import copy
import zlib

import torch
import transformers
from transformers import AutoModelForCausalLM

VOCAB_SIZE = 51

# Keyword arguments of each family's config, small enough that a model of two layers is a file of some 40 KB. The
# epsilon of the norms is large so that it matters.
_LLAMA_LIKE = dict(
    vocab_size=VOCAB_SIZE, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=0.01,
    bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
FAMILIES = {
    "gpt2": dict(
        vocab_size=VOCAB_SIZE, n_embd=24, n_layer=2, n_head=4, n_inner=36, n_positions=64, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, layer_norm_epsilon=0.01, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ),
    "llama": _LLAMA_LIKE,
    "mistral": _LLAMA_LIKE | dict(sliding_window=None),
    "qwen2": _LLAMA_LIKE,
    "qwen3": _LLAMA_LIKE | dict(head_dim=10),
    "gemma": _LLAMA_LIKE | dict(head_dim=10),
    "gemma2": _LLAMA_LIKE | dict(
        head_dim=10, query_pre_attn_scalar=7, sliding_window=6, attn_logit_softcapping=3.0, final_logit_softcapping=4.0,
    ),
    "gemma3_text": _LLAMA_LIKE | dict(
        head_dim=10, query_pre_attn_scalar=7, sliding_window=6,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 100000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    ),
    "phi3": _LLAMA_LIKE,
    "gpt_neox": dict(
        vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, layer_norm_eps=0.01, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
    ),
}

# PEFT has no default targets for Phi-3; these are its two attention projections.
TARGETS_WITHOUT_DEFAULT = {"phi3": ["qkv_proj", "o_proj"]}


def seed_of(name):
    """A seed that depends on nothing but the name."""
    return zlib.crc32(name.encode())


def make_config(family, **overrides):
    """A config of the family; `overrides` replace or add keyword arguments."""
    arguments = copy.deepcopy(FAMILIES[family] | overrides)
    return transformers.AutoConfig.for_model(family, **arguments)


def make_model(config, seed):
    """A float32 model with the random weights of `seed`, attention written out in plain torch."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomize(model, torch.Generator().manual_seed(seed))
    return model.eval()


def load_model(folder, **arguments):
    """The model of a folder, widened to float32."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True, **arguments
    )
    return model.eval()


def randomize(model, generator):
    """Draws every weight anew; see the module's head for what the draws are meant to give."""
    tied = model.config.tie_word_embeddings
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    conv1d = {id(m.weight) for m in model.modules() if type(m).__name__ == "Conv1D"}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif parameter.dim() == 1:  # a norm: 1 or, in Gemma, 0 until here
                parameter.add_(0.3 * noise)
            elif id(parameter) in embeddings:
                parameter.copy_((0.4 if tied or "wpe" in name else 1.0) * noise)
            else:
                fan_in = parameter.shape[0 if id(parameter) in conv1d else 1]
                gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key", "c_attn")) else 1.0
                parameter.copy_(gain * fan_in**-0.5 * noise)


def transformers4_config(config, rope_type_key="rope_type"):
    """The same config spelt as transformers 4 wrote it: `rope_theta`, `rope_scaling`, `torch_dtype`, and without the
    keys that did not exist then. `rope_type_key` is "type" in the older files."""
    family = config["model_type"]
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype", "layer_types")}
    old["torch_dtype"] = config["dtype"]
    old["transformers_version"] = "4.44.2"
    rope = copy.deepcopy(config.get("rope_parameters"))
    if family == "gemma3_text":
        old["rope_theta"] = rope["full_attention"].pop("rope_theta")
        old["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        old["sliding_window_pattern"] = config["layer_types"].index("full_attention") + 1
        rope = rope["full_attention"]
        old["rope_scaling"] = None
    elif family == "gpt_neox":
        old["rotary_emb_base"] = rope.pop("rope_theta")
        old["rotary_pct"] = rope.pop("partial_rotary_factor")
    elif rope is not None:
        old["rope_theta"] = rope.pop("rope_theta")
        old["rope_scaling"] = None
        if "partial_rotary_factor" in rope:
            old["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope is not None:
        kind = rope.pop("rope_type")
        if family == "phi3":
            rope.pop("original_max_position_embeddings", None)  # stands beside rope_scaling in this family
        if kind != "default":
            old["rope_scaling"] = {rope_type_key: kind} | rope
    if family == "gemma":
        old["hidden_act"] = "gelu"  # what the first files said; it always meant the tanh form
    if family in ("qwen2", "qwen3") and not config["use_sliding_window"]:
        old["sliding_window"] = 4  # written, and to be ignored
    if "head_dim" in old and old["head_dim"] * old["num_attention_heads"] == old["hidden_size"]:
        del old["head_dim"]
    if family == "llama" and old["num_key_value_heads"] == old["num_attention_heads"]:
        del old["num_key_value_heads"]
    return dict(sorted(old.items()))


def forward(model, input_ids):
    """The logits of one sequence, `[tokens, vocab]`, as if it were the first that the model sees: transformers keeps the
    frequencies of dynamic scaling from the longest sequence so far."""
    for module in model.modules():
        if hasattr(module, "max_seq_len_cached") and hasattr(module, "original_inv_freq"):
            module.max_seq_len_cached = module.original_max_seq_len
            module.inv_freq = module.original_inv_freq.clone()
    return model(input_ids=input_ids[None]).logits[0]


def training_loss(model, sequences):
    """Cross entropy over the supervised tokens of all sequences together, each run alone. `sequences` holds pairs of
    input ids and labels; the label of token t is compared with what the model says after token t-1."""
    total, count = 0.0, 0
    for input_ids, labels in sequences:
        logits = forward(model, input_ids)
        total = total + torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
        count += int((labels[1:] != -100).sum())
    return total / count


def gradient_norm(parameters):
    """The Euclidean norm of all gradients together, added up in float64."""
    return float(sum(p.grad.double().square().sum() for p in parameters if p.grad is not None).sqrt())
