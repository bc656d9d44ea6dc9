//! Frozen base models: one decoder built from parts, one file per family.
