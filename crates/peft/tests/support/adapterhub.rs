//! What AdapterHub recorded of one case.

use std::path::PathBuf;

use checkpoint::SafetensorsFile;

use super::network::{Network, network};
use super::{Batch, data, integers};

/// A case: its folder, its base, what was recorded, and the batch of two rows of ten tokens that it was recorded with.
pub(crate) struct Recorded {
    pub(crate) folder: PathBuf,
    pub(crate) network: Box<dyn Network>,
    pub(crate) io: SafetensorsFile,
    pub(crate) batch: Batch,
}

impl Recorded {
    /// Case `name` of `collection`; names begin with the family of the base.
    pub(crate) fn open(collection: &str, name: &str) -> Self {
        let (folder, family) = (data(collection).join(name), name.split('-').next().unwrap());
        let io = SafetensorsFile::open(folder.join("io.safetensors")).unwrap();
        let (ids, mask, labels) =
            (integers(&io, "input_ids"), integers(&io, "attention_mask"), integers(&io, "labels"));
        let real = |row: usize| row * 10..row * 10 + mask[row * 10..row * 10 + 10].iter().sum::<i64>() as usize;
        let row = |row: usize| match family {
            // Labels of their own, six for each row.
            "t5" => (ids[real(row)].to_vec(), labels[6 * row..][..6].to_vec()),
            "bert" => (ids[real(row)].to_vec(), vec![labels[row]]),
            _ => (ids[real(row)].to_vec(), labels[real(row)].to_vec()),
        };
        let rows = [row(0), row(1)];
        let batch = if family == "gpt2" { Batch::new(&rows) } else { Batch::of_targets(&rows) };
        let bases = if family == "bert" { "peft-classifiers" } else { "peft" };
        Self { network: network(&data(&format!("{bases}/base-{family}")), family), folder, io, batch }
    }
}
