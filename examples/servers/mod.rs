//! The same tools and layers in two servers: [`http`] in axum, [`grpc`] in tonic.

pub mod grpc;
pub mod http;
mod limits;
mod toolbox;

pub use limits::{Layers, Limits};
pub use toolbox::{Toolbox, toolbox};
