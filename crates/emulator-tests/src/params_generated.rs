// Written by scripts/bindings from params.h.

#[doc = " Threads of every block."]
pub const PROBE_THREADS: u32 = 64;
#[doc = " Shared memory of every block."]
pub const PROBE_SHARED_BYTES: u32 = 1024;
#[doc = " One array in, one array out."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ProbeParams {
    #[doc = " Address of the input, f32 or bf16 as the kernel says."]
    pub input: u64,
    #[doc = " Address of `[len]` f32, written."]
    pub output: u64,
    #[doc = " Elements."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProbeParams"][::std::mem::size_of::<ProbeParams>() - 24usize];
    ["Alignment of ProbeParams"][::std::mem::align_of::<ProbeParams>() - 8usize];
    ["Offset of field: ProbeParams::input"][::std::mem::offset_of!(ProbeParams, input) - 0usize];
    ["Offset of field: ProbeParams::output"][::std::mem::offset_of!(ProbeParams, output) - 8usize];
    ["Offset of field: ProbeParams::len"][::std::mem::offset_of!(ProbeParams, len) - 16usize];
};
