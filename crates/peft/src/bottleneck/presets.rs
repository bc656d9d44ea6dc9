//! AdapterHub's configurations by name.

use super::config::{BottleneckConfig, Init, ReductionFactor};

impl BottleneckConfig {
    /// Names of [`BottleneckConfig::preset`]; those in a row mean the same.
    pub const PRESETS: [&'static str; 8] =
        ["seq_bn", "pfeiffer", "double_seq_bn", "houlsby", "par_bn", "parallel", "compacter", "compacter++"];

    /// AdapterHub's configuration of this name, if it is one of a bottleneck and supported.
    pub fn preset(name: &str) -> Option<Self> {
        let houlsby =
            Self { mh_adapter: true, original_ln_before: false, non_linearity: "swish".to_owned(), ..Self::default() };
        let phm = |base: Self| Self {
            phm_layer: true,
            reduction_factor: ReductionFactor::Same(32.0),
            non_linearity: "gelu".to_owned(),
            ..base
        };
        Some(match name {
            "seq_bn" | "pfeiffer" => Self::default(),
            "double_seq_bn" | "houlsby" => houlsby,
            "par_bn" | "parallel" => Self {
                original_ln_before: false,
                reduction_factor: ReductionFactor::Same(2.0),
                init_weights: Init::MamAdapter,
                is_parallel: true,
                scaling: 4.0,
                ..Self::default()
            },
            "compacter" => phm(houlsby),
            "compacter++" => phm(Self::default()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one() {
        assert!(BottleneckConfig::PRESETS.iter().all(|name| BottleneckConfig::preset(name).is_some()));
        assert_eq!(BottleneckConfig::preset("pfeiffer"), BottleneckConfig::preset("seq_bn"));
        assert_eq!(BottleneckConfig::preset("seq_bn_inv"), None);
    }
}
