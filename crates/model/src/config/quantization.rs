//! `quantization_config`: which quantized files are read.

use super::Keys;
use crate::Result;

/// Refuses what is not bitsandbytes' NF4. How each weight is quantized is said beside the weight; this key says how the
/// library that wrote the file would read it.
pub(crate) fn check_quantization(keys: &Keys<'_>) -> Result<()> {
    let Some(config) = keys.object("quantization_config")? else { return Ok(()) };
    let method = config.text("quant_method")?.unwrap_or("bitsandbytes");
    if method != "bitsandbytes" {
        return Err(config.unsupported("quant_method", "of quantized models those of bitsandbytes alone are read"));
    }
    if config.flag("load_in_8bit", false)? {
        return Err(config.unsupported("load_in_8bit", "of bitsandbytes' types nf4 alone is computed"));
    }
    if config.text("bnb_4bit_quant_type")?.is_some_and(|kind| kind != "nf4") {
        return Err(config.unsupported("bnb_4bit_quant_type", "of bitsandbytes' types nf4 alone is computed"));
    }
    Ok(())
}
