//! Parameter structs as `cuda/nf4/params.h` defines them.

#![expect(unreachable_pub, reason = "bindgen makes every item pub")]

include!("../params_generated.rs");
