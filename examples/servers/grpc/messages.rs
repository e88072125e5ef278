#![expect(
    clippy::exhaustive_structs,
    reason = "the fields are those of the messages"
)]

/// A call of a tool.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CallRequest {
    /// The name of the tool.
    #[prost(string, tag = "1")]
    pub tool: String,
    /// The arguments in JSON.
    #[prost(string, tag = "2")]
    pub args: String,
}

/// The response of the tool.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CallReply {
    /// The response in JSON.
    #[prost(string, tag = "1")]
    pub result: String,
}

/// A request to count.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CountRequest {
    /// The last number.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}

/// One number.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Number {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}
