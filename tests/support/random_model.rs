//! Random Llamas of any size.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use checkpoint::{CheckpointError, Dtype, Storage, TensorSpec, write_safetensors};
use serde_json::json;

/// The sizes of a model, under Hugging Face's names.
#[derive(Clone, Copy, Debug)]
pub struct Llama {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the hidden states; heads are 16 wide.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
}

/// Writes a model with weights in ±0.05 and norms of 1 to `dir`, in f32, the head tied.
pub fn write_llama(dir: &Path, model: Llama) {
    write_config(dir, model);
    let mut state = 1u32;
    write_safetensors(&Storage, &dir.join("model.safetensors"), &specs(model), &[("format", "pt")], |spec| {
        let is_norm = spec.shape.len() == 1;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if is_norm { 1.0 } else { (state >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05 }
        };
        let bytes = (0..spec.shape.iter().product::<usize>()).flat_map(|_| draw().to_le_bytes()).collect();
        Ok::<_, CheckpointError>(Cow::Owned(bytes))
    })
    .unwrap();
}

/// Writes a model whose header is true and whose data is a hole, so that it may be larger than any disk.
pub fn write_hollow_llama(dir: &Path, model: Llama) {
    write_config(dir, model);
    let (mut header, mut end) = (serde_json::Map::new(), 0u64);
    for TensorSpec { name, shape, .. } in specs(model) {
        let start = end;
        end += 4 * shape.iter().map(|&size| size as u64).product::<u64>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(dir.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

fn write_config(dir: &Path, model: Llama) {
    let Llama { vocab_size, hidden_size, intermediate_size, num_hidden_layers } = model;
    std::fs::create_dir_all(dir).unwrap();
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocab_size,
        "hidden_size": hidden_size, "intermediate_size": intermediate_size, "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": hidden_size / 16, "num_key_value_heads": hidden_size / 16, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048, "tie_word_embeddings": true, "torch_dtype": "float32",
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

fn specs(model: Llama) -> Vec<TensorSpec> {
    let Llama { vocab_size, hidden_size, intermediate_size, num_hidden_layers } = model;
    let mut specs = vec![spec("model.embed_tokens.weight", &[vocab_size, hidden_size])];
    for layer in 0..num_hidden_layers {
        let name = |end: &str| format!("model.layers.{layer}.{end}.weight");
        for projection in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            specs.push(spec(&name(&format!("self_attn.{projection}")), &[hidden_size, hidden_size]));
        }
        specs.push(spec(&name("mlp.gate_proj"), &[intermediate_size, hidden_size]));
        specs.push(spec(&name("mlp.up_proj"), &[intermediate_size, hidden_size]));
        specs.push(spec(&name("mlp.down_proj"), &[hidden_size, intermediate_size]));
        specs.push(spec(&name("input_layernorm"), &[hidden_size]));
        specs.push(spec(&name("post_attention_layernorm"), &[hidden_size]));
    }
    specs.push(spec("model.norm.weight", &[hidden_size]));
    specs
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec() }
}
