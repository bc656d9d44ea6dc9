"""Draws the cases of scripts/interop: a model, an option of the method, rows and training settings, all from one seed."""

import dataclasses
import random

from tiny_models import FAMILIES, TARGETS_WITHOUT_DEFAULT

STEPS = 6


@dataclasses.dataclass
class Case:
    name: str
    family: str
    seed: int
    model: dict  # overrides of the family's config
    storage: str  # dtype of the model file
    lora: dict | None  # PEFT's names, what is absent is left to both programs' defaults; None trains the whole model
    training: dict  # the names of tunesmith's [training] section
    rows: list  # (input_ids, labels)
    eval_rows: list
    from_peft: bool  # start from an adapter that PEFT wrote, not from one that tunesmith drew


def linear_names(family):
    """The linear layers of one block, outermost name last."""
    if family == "gpt2":
        return ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    if family == "gpt_neox":
        return ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]
    if family == "phi3":
        return ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"]
    return [f"self_attn.{x}_proj" for x in "qkvo"] + ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def blocks(family):
    return {"gpt2": "h", "gpt_neox": "layers"}.get(family, "layers")


def default_targets(family, draw, layers):
    return {}


def all_linear(family, draw, layers):
    return {"target_modules": "all-linear"}


def rslora(family, draw, layers):
    return {"use_rslora": True, "target_modules": draw.sample(linear_names(family), 2)}


def patterns(family, draw, layers):
    names = linear_names(family)
    first, last = names[0].split(".")[-1], names[-1]
    return {
        "target_modules": "all-linear",
        "rank_pattern": {first: draw.choice([1, 5]), rf"{blocks(family)}\.{layers - 1}\.{last}": 3},
        "alpha_pattern": {last: draw.choice([1, 5]), rf".*\.0\.{names[1]}": 7},
        "use_rslora": draw.random() < 0.5,
    }


def layer_selection(family, draw, layers):
    chosen = sorted(draw.sample(range(layers), draw.randint(1, layers - 1)))
    return {"target_modules": [name.split(".")[-1] for name in linear_names(family)[:2]], "layers_to_transform": chosen,
            "layers_pattern": blocks(family)}


def bias_all(family, draw, layers):
    return {"bias": "all"}


def bias_lora_only(family, draw, layers):
    return {"bias": "lora_only", "target_modules": "all-linear"}


def save_head(family, draw, layers):
    return {"modules_to_save": ["lm_head"]}


def save_embeddings(family, draw, layers):
    embeddings = {"gpt2": ["wte", "wpe"], "gpt_neox": ["embed_in"]}.get(family, ["embed_tokens"])
    return {"modules_to_save": embeddings}


def save_norms(family, draw, layers):
    return {"modules_to_save": {"gpt2": ["ln_1", "ln_f"], "gpt_neox": ["input_layernorm"]}.get(family, ["input_layernorm"])}


def adapt_head(family, draw, layers):
    return {"target_modules": [linear_names(family)[0], "lm_head"], "lora_bias": draw.random() < 0.5}


def adapt_embeddings(family, draw, layers):
    embeddings = {"gpt2": "wte", "gpt_neox": "embed_in"}.get(family, "embed_tokens")
    return {"target_modules": [linear_names(family)[-1], embeddings]}


def full(family, draw, layers):
    return None


def regular_expression(family, draw, layers):
    return {"target_modules": rf".*\.{layers - 1}\..*({'|'.join(n.split('.')[-1] for n in linear_names(family)[-2:])})"}


def exclude(family, draw, layers):
    return {"target_modules": "all-linear", "exclude_modules": [linear_names(family)[1]]}


OPTIONS = [default_targets, all_linear, rslora, patterns, layer_selection, bias_all, bias_lora_only, save_head,
           save_embeddings, save_norms, regular_expression, exclude, adapt_head, adapt_embeddings, full]


def draw_rope(draw, head_dim):
    """One of the rotary scalings that Llama-like models share, with its threshold inside the rows' lengths."""
    theta = draw.choice([500.0, 10000.0, 1e6])
    scaled = {"rope_theta": theta, "factor": draw.choice([2.0, 3.5, 8.0])}
    yarn = scaled | {"rope_type": "yarn", "original_max_position_embeddings": 16}
    return draw.choice([
        {"rope_type": "default", "rope_theta": theta},
        scaled | {"rope_type": "linear"},
        scaled | {"rope_type": "dynamic"},
        scaled | {"rope_type": "llama3", "original_max_position_embeddings": 16, "low_freq_factor": 1.0,
                  "high_freq_factor": draw.choice([2.0, 4.0])},
        yarn,
        yarn | {"attention_factor": 0.9, "truncate": False, "beta_fast": 2.0, "beta_slow": 0.5},
        yarn | {"mscale": 0.8, "mscale_all_dim": 1.3},
    ])


def draw_model(family, draw):
    heads = draw.choice([2, 3, 4, 6])
    key_value_heads = draw.choice([n for n in range(1, heads + 1) if heads % n == 0])
    head_dim = draw.choice([6, 8, 10, 16])
    layers = draw.randint(2, 4)
    vocab = draw.randint(40, 90)
    hidden = heads * draw.choice([6, 8, 10])
    intermediate = draw.randint(17, 60)
    tied = draw.random() < 0.4
    if family == "gpt2":
        return dict(
            vocab_size=vocab, n_embd=hidden, n_layer=layers, n_head=heads, n_inner=draw.choice([None, intermediate]),
            activation_function=draw.choice(["gelu_new", "gelu", "relu"]), tie_word_embeddings=draw.random() < 0.8,
            scale_attn_by_inverse_layer_idx=draw.random() < 0.3, scale_attn_weights=draw.random() < 0.8,
        )
    if family == "gpt_neox":
        head_dim = draw.choice([8, 16])
        return dict(
            vocab_size=vocab, hidden_size=heads * head_dim, intermediate_size=intermediate, num_hidden_layers=layers,
            num_attention_heads=heads, use_parallel_residual=draw.random() < 0.5, tie_word_embeddings=tied,
            attention_bias=draw.random() < 0.7,
            rope_parameters={"rope_type": "default", "rope_theta": draw.choice([1000.0, 10000.0]),
                             "partial_rotary_factor": draw.choice([0.25, 0.5, 1.0])},
        )
    shape = dict(
        vocab_size=vocab, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_value_heads, tie_word_embeddings=tied,
        rms_norm_eps=draw.choice([1e-5, 1e-2]),
    )
    window = draw.choice([3, 7, 12])
    if family == "phi3":
        shape["hidden_size"] = heads * 8
        long = draw.random() < 0.5
        rotary = draw.choice([0.5, 0.75, 1.0]) if not long else 1.0
        shape["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": rotary}
        if long:
            shape["original_max_position_embeddings"] = 16
            shape["rope_parameters"] |= {
                "rope_type": "longrope", "short_factor": [round(draw.uniform(1, 2), 3) for _ in range(4)],
                "long_factor": [round(draw.uniform(1, 9), 3) for _ in range(4)],
            }
        return shape | dict(sliding_window=draw.choice([None, window]))
    shape["head_dim"] = head_dim
    if family in ("llama", "mistral", "qwen2", "qwen3"):
        shape["rope_parameters"] = draw_rope(draw, head_dim)
        if shape["rope_parameters"]["rope_type"] == "dynamic":
            shape["max_position_embeddings"] = 16
    if family == "llama":
        shape |= dict(attention_bias=draw.random() < 0.5, mlp_bias=draw.random() < 0.5)
    if family == "mistral":
        shape |= dict(sliding_window=draw.choice([None, window]))
    if family in ("qwen2", "qwen3") and draw.random() < 0.5:
        shape |= dict(use_sliding_window=True, sliding_window=window, max_window_layers=draw.randint(0, layers))
    if family == "qwen2":
        del shape["head_dim"]
    if family == "qwen3":
        shape |= dict(attention_bias=draw.random() < 0.3)
    if family in ("gemma2", "gemma3_text"):
        shape |= dict(query_pre_attn_scalar=draw.randint(4, 20), sliding_window=window)
    if family == "gemma2":
        shape |= dict(attn_logit_softcapping=draw.choice([None, 2.0, 50.0]), final_logit_softcapping=draw.choice([None, 3.0]))
    if family == "gemma3_text":
        kinds = [draw.choice(["sliding_attention", "full_attention"]) for _ in range(layers - 1)] + ["full_attention"]
        shape |= dict(layer_types=["sliding_attention"] + kinds[1:])
        if draw.random() < 0.5:
            shape["rope_parameters"] = {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
            }
    return shape


def draw_rows(draw, vocab, count):
    """Rows of several lengths; some supervise everything, some a completion, some have holes."""
    rows = []
    for _ in range(count):
        input_ids = [draw.randrange(vocab) for _ in range(draw.randint(4, 31))]
        labels = list(input_ids)
        style = draw.choice(["all", "completion", "holes"])
        if style == "completion":
            prompt = draw.randint(1, len(labels) - 2)
            labels[:prompt] = [-100] * prompt
        elif style == "holes":
            labels = [label if draw.random() < 0.7 or i == 1 else -100 for i, label in enumerate(labels)]
        rows.append((input_ids, labels))
    return rows


def draw_case(index, family, option, seed):
    draw = random.Random(f"{seed}/{index}/{family}/{option.__name__}")
    model = draw_model(family, draw)
    layers = model.get("num_hidden_layers", model.get("n_layer"))
    lora = option(family, draw, layers)
    if lora is not None:
        targets = {"target_modules": TARGETS_WITHOUT_DEFAULT[family]} if family in TARGETS_WITHOUT_DEFAULT else {}
        # A large scaling makes the model so steep that the rounding of one program shows as a difference to the other.
        rank = draw.choice([1, 2, 4, 8])
        lora = {"r": rank, "lora_alpha": rank * draw.choice([1, 2, 3])} | targets | lora
    batch, accumulation = draw.randint(1, 4), draw.choice([1, 1, 2, 3])
    schedule = draw.choice(["linear", "cosine", "constant", "constant_with_warmup"])
    training = {
        "max_steps": STEPS,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": draw.choice([1e-3, 5e-3, 1e-2]),
        "lr_scheduler_type": schedule,
        "warmup_steps": draw.choice([1, 2]) if schedule == "constant_with_warmup" else draw.choice([0, 0, 2]),
        "weight_decay": draw.choice([0.0, 0.01, 0.1]),
        "adam_beta1": draw.choice([0.9, 0.8]),
        "adam_beta2": draw.choice([0.999, 0.95]),
        # Adam divides a gradient by its size: one that is nothing but rounding, such as a key bias's, would become a whole
        # step in a random direction. Beside this it stays small.
        "adam_epsilon": 1e-4 if lora is None or {"bias", "modules_to_save"} & lora.keys() else 1e-6,
        "max_grad_norm": draw.choice([0.0, 0.5, 1.0]),
        "gradient_checkpointing": draw.random() < 0.25,
        "seed": draw.randrange(1000),
        "threads": draw.choice([1, 2]),
    }
    vocab = model["vocab_size"]
    epochs = draw.choice([1, 2, 3])
    return Case(
        name=f"{index:03d} {family} {option.__name__.replace('_', '-')}",
        family=family,
        seed=draw.randrange(2**31),
        model=model,
        storage=draw.choice(["float32", "float32", "bfloat16", "float16"]),
        lora=lora,
        training=training,
        rows=draw_rows(draw, vocab, batch * accumulation * STEPS // epochs),
        eval_rows=draw_rows(draw, vocab, 5),
        from_peft=lora is not None and draw.random() < 0.6,
    )


def draw_cases(seed, count):
    """Every family meets every option once in 150 cases; any shorter run spreads over both."""
    families = list(FAMILIES)
    for index in range(count):
        family = families[index % len(families)]
        yield draw_case(index, family, OPTIONS[(index + index // len(families)) % len(OPTIONS)], seed)
