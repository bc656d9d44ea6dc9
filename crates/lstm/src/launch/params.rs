//! Parameter structs as `cuda/lstm/params.h` defines them.

#![expect(unreachable_pub, reason = "bindgen makes every item pub")]

include!("../params_generated.rs");
