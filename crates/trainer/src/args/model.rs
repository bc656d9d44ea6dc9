//! A model with its adapters.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use device::Device;

use crate::config::{BaseDType, DeviceChoice, MOST_THREADS, Quantization, WeightStorage};

/// A model, perhaps with an adapter, and what computes it.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// The model, a directory in Hugging Face layout.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// An adapter over it: a directory in the format of PEFT, AdapterHub or MLX, or a GGUF file. It may be repeated, with
    /// names that rows choose from: --adapter law=out/law --adapter mail=out/mail.
    #[arg(long = "adapter", value_name = "[NAME=]DIR")]
    pub adapters: Vec<AdapterArg>,
    /// Where to compute: auto, cpu, cuda, cuda:N or emulated.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// What the base computes with; auto is as in its files.
    #[arg(long, default_value = "auto")]
    pub dtype: BaseDType,
    /// How the base is held.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Threads to compute with; 0 takes every core.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=i64::from(MOST_THREADS)))]
    pub threads: u16,
}

impl ModelArgs {
    /// Where to compute. Eight bits are computed on the CPU, so no other device is looked for.
    pub fn device_choice(&self) -> DeviceChoice {
        match (self.device, self.storage.quantization) {
            (DeviceChoice::Auto, Quantization::Int8) => DeviceChoice::Named(Device::Cpu),
            (device, _) => device,
        }
    }
}

/// An adapter on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterArg {
    /// What rows call it; its path if it was given no name.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
}

impl FromStr for AdapterArg {
    type Err = NoDirectory;
    /// A path that exists is taken whole, so that it may have an equals sign.
    fn from_str(text: &str) -> Result<Self, NoDirectory> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !Path::new(text).exists());
        let (name, dir) = named.unwrap_or((text, text));
        match dir.is_empty() {
            true => Err(NoDirectory),
            false => Ok(Self { name: name.to_owned(), dir: dir.into() }),
        }
    }
}

/// An adapter that is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an adapter is a directory or NAME=DIR, and no directory is given")]
pub struct NoDirectory;

/// How the weights of the base are held.
#[derive(Args, Clone, Copy, Debug)]
pub struct StorageArgs {
    /// Hold the linear modules of the base in 4-bit blocks, or on the CPU in 8-bit integers: model.quantization of the run
    /// that trained the adapter.
    #[arg(long, default_value = "none")]
    pub quantization: Quantization,
    /// Whether their scales are quantized as well: model.double_quant.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub double_quant: bool,
}

impl StorageArgs {
    /// As a value.
    pub fn storage(&self) -> WeightStorage {
        WeightStorage { quantization: self.quantization, double_quant: self.double_quant }
    }
}

impl ValueEnum for BaseDType {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Float32, Self::BFloat16]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Quantization {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::None, Self::Nf4, Self::Int8]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_may_have_names() {
        let arg = |text: &str| text.parse::<AdapterArg>().map(|AdapterArg { name, dir }| (name, dir));
        assert_eq!(arg("law=out/law"), Ok(("law".to_owned(), "out/law".into())));
        assert_eq!(arg("out/law"), Ok(("out/law".to_owned(), "out/law".into())));
        assert_eq!(arg("=out"), Ok(("=out".to_owned(), "=out".into())));
        assert_eq!(["", "law="].map(arg), [Err(NoDirectory), Err(NoDirectory)]);
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a=b");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(arg(odd.to_str().unwrap()).unwrap().1, odd);
    }
}
