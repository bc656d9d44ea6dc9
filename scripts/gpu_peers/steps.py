"""A training step of a whole model with random weights through transformers and PEFT: what several programs take a part in."""



def step(sizes, device, mode="bf16 adapters", quantized=False, liger=False):
    """Returns a function that takes one step: LoRA on every linear layer but the head, AdamW, gradients clipped to 1."""
    import torch
    from peft import LoraConfig, get_peft_model

    autocast = mode.endswith("autocast")
    model = base(sizes["config"], device)
    if liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model)
    if quantized:
        quantize(model, device)
    config = LoraConfig(r=sizes["rank"], lora_alpha=2 * sizes["rank"], target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config, autocast_adapter_dtype=autocast)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=device != "cpu")
    call = torch.compile(model) if mode.endswith("compiled") else model
    vocab = model.config.vocab_size
    input_ids = torch.randint(vocab, (sizes["sequences"], sizes["length"]), device=device)

    def take():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
            loss = call(input_ids=input_ids, labels=input_ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return take


def base(config, device):
    """A frozen model in bf16 with the random weights that transformers gives a new one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device(device):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.bfloat16)
    return model.requires_grad_(False).train()


def quantize(model, device):
    """Makes NF4 blocks with double quantization of every linear layer but the head, as `load_in_4bit` does."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name, module in list(model.model.named_modules()):
        if not isinstance(module, torch.nn.Linear):
            continue
        layer = Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
        weight = module.weight.data.cpu()
        layer.weight = Params4bit(weight, requires_grad=False, compress_statistics=True, quant_type="nf4", module=layer)
        if module.bias is not None:
            layer.bias = module.bias
        model.model.set_submodule(name, layer.to(device))
    model.is_loaded_in_4bit = True
