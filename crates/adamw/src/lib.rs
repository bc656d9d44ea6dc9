//! AdamW step over one flat buffer, and the global gradient norm.
