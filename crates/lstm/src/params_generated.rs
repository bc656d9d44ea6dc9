// Written by scripts/bindings from params.h.

#[doc = " Threads of a block."]
pub const LSTM_THREADS: u32 = 256;
#[doc = " Units of a state that a block of the forward takes: one for each warp."]
pub const LSTM_FORWARD_UNITS: u32 = 8;
#[doc = " Units that a block of the backward takes: one for each lane."]
pub const LSTM_BACKWARD_UNITS: u32 = 32;
#[doc = " Shared memory of that block: a part of each unit's sum for each warp."]
pub const LSTM_BACKWARD_SHARED_BYTES: u32 = 1024;
#[doc = " No step."]
pub const LSTM_NONE: u64 = 18446744073709551615;
#[doc = " One step: `[i f g o] = input_gates_t + h_before W_hh^T`, `c_t = f c_before + i g`, `h_t = o tanh(c_t)`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LstmForwardParams {
    #[doc = " `[num_steps, 4 * hidden]`"]
    pub input_gates: u64,
    #[doc = " `[4 * hidden, hidden]`"]
    pub weight_hh: u64,
    #[doc = " `[num_steps, hidden]`, row `step` written."]
    pub h: u64,
    #[doc = " `[num_steps, 4 * hidden]`, row `step` written: after sigmoid and tanh."]
    pub gates: u64,
    #[doc = " `[num_steps, hidden]`, row `step` written."]
    pub cells: u64,
    #[doc = " Elements of a state."]
    pub hidden: u64,
    #[doc = " The step."]
    pub step: u64,
    #[doc = " The one before it, or `LSTM_NONE`."]
    pub before: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LstmForwardParams"][::std::mem::size_of::<LstmForwardParams>() - 64usize];
    ["Alignment of LstmForwardParams"][::std::mem::align_of::<LstmForwardParams>() - 8usize];
    ["Offset of field: LstmForwardParams::input_gates"]
        [::std::mem::offset_of!(LstmForwardParams, input_gates) - 0usize];
    ["Offset of field: LstmForwardParams::weight_hh"][::std::mem::offset_of!(LstmForwardParams, weight_hh) - 8usize];
    ["Offset of field: LstmForwardParams::h"][::std::mem::offset_of!(LstmForwardParams, h) - 16usize];
    ["Offset of field: LstmForwardParams::gates"][::std::mem::offset_of!(LstmForwardParams, gates) - 24usize];
    ["Offset of field: LstmForwardParams::cells"][::std::mem::offset_of!(LstmForwardParams, cells) - 32usize];
    ["Offset of field: LstmForwardParams::hidden"][::std::mem::offset_of!(LstmForwardParams, hidden) - 40usize];
    ["Offset of field: LstmForwardParams::step"][::std::mem::offset_of!(LstmForwardParams, step) - 48usize];
    ["Offset of field: LstmForwardParams::before"][::std::mem::offset_of!(LstmForwardParams, before) - 56usize];
};
#[doc = " The gradient of the gates of one step."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LstmBackwardParams {
    #[doc = " `[4 * hidden, hidden]`"]
    pub weight_hh: u64,
    #[doc = " `[num_steps, 4 * hidden]`: after sigmoid and tanh."]
    pub gates: u64,
    #[doc = " `[num_steps, hidden]`"]
    pub cells: u64,
    #[doc = " `[num_steps, hidden]`"]
    pub grad_h: u64,
    #[doc = " `[num_steps, 4 * hidden]`, row `step` written, row `after` read."]
    pub grad_gates: u64,
    #[doc = " `[hidden]`: what the later steps say about the cell, replaced by what this one says about the cell before."]
    pub later_cell: u64,
    #[doc = " Elements of a state."]
    pub hidden: u64,
    #[doc = " The step."]
    pub step: u64,
    #[doc = " The one before it, or `LSTM_NONE`."]
    pub before: u64,
    #[doc = " The one after it, or `LSTM_NONE`."]
    pub after: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LstmBackwardParams"][::std::mem::size_of::<LstmBackwardParams>() - 80usize];
    ["Alignment of LstmBackwardParams"][::std::mem::align_of::<LstmBackwardParams>() - 8usize];
    ["Offset of field: LstmBackwardParams::weight_hh"][::std::mem::offset_of!(LstmBackwardParams, weight_hh) - 0usize];
    ["Offset of field: LstmBackwardParams::gates"][::std::mem::offset_of!(LstmBackwardParams, gates) - 8usize];
    ["Offset of field: LstmBackwardParams::cells"][::std::mem::offset_of!(LstmBackwardParams, cells) - 16usize];
    ["Offset of field: LstmBackwardParams::grad_h"][::std::mem::offset_of!(LstmBackwardParams, grad_h) - 24usize];
    ["Offset of field: LstmBackwardParams::grad_gates"]
        [::std::mem::offset_of!(LstmBackwardParams, grad_gates) - 32usize];
    ["Offset of field: LstmBackwardParams::later_cell"]
        [::std::mem::offset_of!(LstmBackwardParams, later_cell) - 40usize];
    ["Offset of field: LstmBackwardParams::hidden"][::std::mem::offset_of!(LstmBackwardParams, hidden) - 48usize];
    ["Offset of field: LstmBackwardParams::step"][::std::mem::offset_of!(LstmBackwardParams, step) - 56usize];
    ["Offset of field: LstmBackwardParams::before"][::std::mem::offset_of!(LstmBackwardParams, before) - 64usize];
    ["Offset of field: LstmBackwardParams::after"][::std::mem::offset_of!(LstmBackwardParams, after) - 72usize];
};
