#![expect(
    clippy::exhaustive_structs,
    reason = "the messages are what the wire says"
)]

/// A call of a tool.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CallRequest {
    /// The tool's name.
    #[prost(string, tag = "1")]
    pub tool: String,
    /// Its arguments, in JSON.
    #[prost(string, tag = "2")]
    pub args: String,
}

/// What the tool answered.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CallReply {
    /// In JSON.
    #[prost(string, tag = "1")]
    pub result: String,
}

/// How far to count.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CountRequest {
    /// The last number.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}

/// One number.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Number {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}
