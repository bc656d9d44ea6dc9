//! What llama.cpp calls families and tensors.

use crate::PeftError;

/// Parts of a block, and what llama.cpp calls them. They are different in all families, so that one table serves.
const PARTS: [(&str, &str); 33] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    // GPT-2
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    // GPT-NeoX
    ("attention.query_key_value", "attn_qkv"),
    ("attention.dense", "attn_output"),
    ("mlp.dense_h_to_4h", "ffn_up"),
    ("mlp.dense_4h_to_h", "ffn_down"),
    // BERT
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    // T5
    ("SelfAttention.q", "attn_q"),
    ("SelfAttention.k", "attn_k"),
    ("SelfAttention.v", "attn_v"),
    ("SelfAttention.o", "attn_o"),
    ("EncDecAttention.q", "cross_attn_q"),
    ("EncDecAttention.k", "cross_attn_k"),
    ("EncDecAttention.v", "cross_attn_v"),
    ("EncDecAttention.o", "cross_attn_o"),
    ("DenseReluDense.wo", "ffn_down"),
    ("DenseReluDense.wi_0", "ffn_gate"),
];
/// T5's, of which a gated and a plain MLP have one each.
const UP: [&str; 2] = ["DenseReluDense.wi", "DenseReluDense.wi_1"];
/// Starts of a block's name, and of what llama.cpp calls it.
const BLOCKS: [(&str, &str); 7] = [
    ("model.layers.", "blk."),
    ("transformer.h.", "blk."),
    ("gpt_neox.layers.", "blk."),
    ("bert.encoder.layer.", "blk."),
    ("encoder.layer.", "blk."),
    ("encoder.block.", "enc.blk."),
    ("decoder.block.", "dec.blk."),
];
/// What is in no block.
const OTHERS: [(&str, &str); 6] = [
    ("model.embed_tokens", "token_embd"),
    ("transformer.wte", "token_embd"),
    ("gpt_neox.embed_in", "token_embd"),
    ("shared", "token_embd"),
    ("lm_head", "output"),
    ("embed_out", "output"),
];

/// What llama.cpp calls the family of a base.
///
/// # Errors
/// [`PeftError::NotConvertible`] for one that it does not have.
pub(super) fn architecture(model_type: &str) -> Result<&'static str, PeftError> {
    Ok(match model_type {
        "llama" | "mistral" => "llama",
        "qwen2" => "qwen2",
        "qwen3" => "qwen3",
        "gemma" => "gemma",
        "gemma2" => "gemma2",
        "gemma3_text" => "gemma3",
        "phi3" => "phi3",
        "gpt2" => "gpt2",
        "gpt_neox" => "gptneox",
        "bert" | "roberta" | "xlm-roberta" => "bert",
        "t5" | "mt5" => "t5",
        other => {
            return Err(PeftError::NotConvertible {
                what: format!("an adapter of a {other} model"),
                format: "GGUF",
                reason: "llama.cpp does not have this family".to_owned(),
            });
        }
    })
}

/// The tensor of llama.cpp that holds the weight of a module; `None` for what adapters do not change there.
pub(super) fn tensor(module: &str, model_type: &str) -> Option<String> {
    // RoBERTa's modules are BERT's under another name.
    let module = match (model_type, module.split_once('.')) {
        ("roberta" | "xlm-roberta", Some(("roberta", rest))) => rest,
        _ => module,
    };
    if let Some((_, name)) = OTHERS.iter().find(|(path, _)| *path == module) {
        return Some(format!("{name}.weight"));
    }
    let (block, number, rest) = BLOCKS.iter().find_map(|(start, block)| {
        let (number, rest) = module.strip_prefix(start)?.split_once('.')?;
        Some((block, number, rest))
    })?;
    // T5's parts are in layers.
    let part = match rest.strip_prefix("layer.").and_then(|rest| rest.split_once('.')) {
        Some((_, part)) => part,
        None => rest,
    };
    let name = PARTS.iter().find(|(path, _)| *path == part).map(|(_, name)| *name);
    let name = name.or_else(|| UP.contains(&part).then_some("ffn_up"))?;
    Some(format!("{block}{number}.{name}.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the mapping of llama.cpp's `gguf` package has them.
    #[test]
    fn names_are_those_of_llama_cpp() {
        for (module, model_type, expected) in [
            ("model.layers.10.self_attn.o_proj", "llama", "blk.10.attn_output.weight"),
            ("model.layers.0.mlp.gate_up_proj", "phi3", "blk.0.ffn_up.weight"),
            ("transformer.h.1.attn.c_attn", "gpt2", "blk.1.attn_qkv.weight"),
            ("gpt_neox.layers.0.attention.dense", "gpt_neox", "blk.0.attn_output.weight"),
            ("bert.encoder.layer.2.attention.output.dense", "bert", "blk.2.attn_output.weight"),
            ("roberta.encoder.layer.2.output.dense", "roberta", "blk.2.ffn_down.weight"),
            ("encoder.layer.2.intermediate.dense", "bert", "blk.2.ffn_up.weight"),
            ("encoder.block.1.layer.1.DenseReluDense.wi_0", "t5", "enc.blk.1.ffn_gate.weight"),
            ("encoder.block.1.layer.1.DenseReluDense.wi", "t5", "enc.blk.1.ffn_up.weight"),
            ("decoder.block.0.layer.1.EncDecAttention.o", "t5", "dec.blk.0.cross_attn_o.weight"),
            ("decoder.block.0.layer.2.DenseReluDense.wo", "t5", "dec.blk.0.ffn_down.weight"),
            ("lm_head", "llama", "output.weight"),
            ("transformer.wte", "gpt2", "token_embd.weight"),
        ] {
            assert_eq!(tensor(module, model_type).as_deref(), Some(expected), "{module}");
        }
        assert_eq!(tensor("model.norm", "llama"), None);
        assert_eq!(tensor("model.layers.0.input_layernorm", "llama"), None);
        assert!(architecture("distilbert").unwrap_err().to_string().contains("does not have this family"));
    }
}
