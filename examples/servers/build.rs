//! Generates the client and the server of the gRPC service `toolbooth.examples.Tools`.
//!
//! The service is described here in Rust. For a `.proto` file, `tonic-prost-build` does the same
//! with `protoc`, or with `protox` if `protoc` is not installed.

fn main() {
    println!("cargo::rerun-if-changed=servers/build.rs");
    #[cfg(feature = "servers")]
    tools();
}

#[cfg(feature = "servers")]
fn tools() {
    use tonic_build::manual::{Builder, Method, Service};

    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .codec_path("tonic_prost::ProstCodec")
    };
    let call = method("call", "Call")
        .input_type("crate::servers::grpc::CallRequest")
        .output_type("crate::servers::grpc::CallReply")
        .build();
    let count = method("count", "Count")
        .input_type("crate::servers::grpc::CountRequest")
        .output_type("crate::servers::grpc::Number")
        .server_streaming()
        .build();
    let service = Service::builder()
        .name("Tools")
        .package("toolbooth.examples")
        .method(call)
        .method(count)
        .build();
    Builder::new().build_transport(false).compile(&[service]);
}
