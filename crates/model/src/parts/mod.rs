//! The parts of a model. Each declares its modules when it is made and looks its parameters up when it runs, so that the
//! parts of a model are known before a weight is read, and an adapter can put others in their place.

mod attention;
mod block;
mod blocks;
mod embedding;
mod head;
mod linear;
mod mlp;
mod network;
mod norm;
mod residual;
mod scope;

pub(crate) use attention::{Attention, FusedColumns, Prefix, fused_columns};
pub(crate) use block::{Block, BlockSite};
pub(crate) use blocks::Blocks;
pub(crate) use embedding::Embedding;
pub(crate) use head::ClassifierHead;
pub(crate) use linear::Linear;
pub(crate) use mlp::Mlp;
pub(crate) use network::Network;
pub(crate) use norm::Norm;
pub(crate) use residual::Residual;
pub(crate) use scope::Scope;
