//! The same tools and layers in two servers: [`http`] in axum, [`grpc`] in tonic. And tools whose
//! metrics Prometheus scrapes.

pub mod grpc;
pub mod http;
mod limits;
mod metrics;
mod toolbox;

pub use limits::{Layers, Limits};
pub use metrics::metered;
pub use toolbooth::Toolbox;
pub use toolbox::toolbox;
