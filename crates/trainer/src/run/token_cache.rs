//! Which rows are kept encoded, and where.

use std::path::Path;

use data::TokenCache;

use crate::config::{CacheUse, Config};

/// In the output directory, unless the config names another.
const TOKENS: &str = "tokens";
/// A file of so many bytes takes seconds to encode: some 5 MB a second on each core.
const LONG: u64 = 32 << 20;

/// Who asks for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only looks, and leaves the disk as it is.
    Read,
    /// Will train on them.
    Write,
}

/// Where the rows of the file `path` are kept, if they are.
pub fn of_file(path: &Path, config: &Config, access: Access) -> Option<TokenCache> {
    // What can be read only once, as a pipe, cannot be looked up first.
    let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let is_kept = match config.data.cache {
        CacheUse::Always => true,
        CacheUse::Never => false,
        CacheUse::Auto => file.len() >= LONG,
    };
    let dir = || config.data.cache_dir.clone().unwrap_or_else(|| config.training.output_dir.join(TOKENS));
    is_kept.then(|| match access {
        Access::Read => TokenCache::read_only(dir()),
        Access::Write => TokenCache::new(dir()),
    })
}
