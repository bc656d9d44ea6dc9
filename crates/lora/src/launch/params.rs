//! Parameter structs as `cuda/lora/params.h` defines them.

#![expect(unreachable_pub, reason = "bindgen makes every item pub")]

use nf4::launch::Nf4Weight;

include!("../params_generated.rs");
