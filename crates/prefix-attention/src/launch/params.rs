//! Parameter structs as `cuda/prefix-attention/params.h` defines them.

#![expect(unreachable_pub, reason = "bindgen makes every item pub")]

include!("../params_generated.rs");
