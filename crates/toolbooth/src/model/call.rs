use std::future::poll_fn;

use serde_json::Value;
use toolbooth_core::{
    BoxError, Collected, MAX_JSON_DEPTH, MAX_NAME, ToolCall, ToolError, ToolOutput, nests_too_deep,
    start_of,
};
use tower_service::Service;

use super::ModelResult;

/// A call that a model requests, and the id that its result must have.
///
/// [`run`](Self::run) makes the call. A call that cannot be made, such as one whose arguments are
/// not JSON, has an error instead, and `run` returns that.
#[derive(Debug)]
#[must_use = "the model expects a result of each call"]
pub struct ModelCall {
    id: String,
    call: Result<ToolCall, ToolError>,
}

// === impl ModelCall ===

impl ModelCall {
    /// Reads a call from its fields in a message.
    pub(super) fn read(
        id: Option<&Value>,
        name: Option<&Value>,
        arguments: Option<&Value>,
    ) -> Self {
        // A server that omits ids accepts an empty one.
        let id = id.and_then(Value::as_str).unwrap_or_default();
        let name = name.and_then(Value::as_str).unwrap_or_default();
        Self {
            id: id.to_owned(),
            call: to_call(id, name, arguments),
        }
    }

    /// Returns the model's id of the call, empty if the message has none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the call.
    ///
    /// # Errors
    /// The reason why the call cannot be made.
    pub const fn call(&self) -> Result<&ToolCall, &ToolError> {
        self.call.as_ref()
    }

    /// Changes the call, such as its tenant or its deadline. A call that cannot be made stays as it
    /// is.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::model::anthropic;
    ///
    /// # fn main() -> Result<(), toolbooth::BoxError> {
    /// let message = json!({
    ///     "role": "assistant",
    ///     "content": [{ "type": "tool_use", "id": "toolu_1", "name": "list", "input": {} }],
    /// });
    /// for call in anthropic::calls(&message)? {
    ///     let call = call.map(|call| call.with_tenant("acme").with_priority(1));
    ///     let tenant = call.call().map(|call| call.context().tenant());
    ///     assert_eq!(tenant.map_err(Clone::clone)?, Some("acme"));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn map(self, change: impl FnOnce(ToolCall) -> ToolCall) -> Self {
        Self {
            id: self.id,
            call: self.call.map(change),
        }
    }

    /// Makes the call, reads the response to its end, and returns the result for the model.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends the call, and the model receives no result.
    pub async fn run<S>(self, service: S) -> ModelResult
    where
        S: Service<ToolCall, Response = ToolOutput>,
        S::Error: Into<BoxError> + 'static,
    {
        let result = match self.call {
            Ok(call) => collect(call, service).await,
            Err(error) => Err(error),
        };
        ModelResult::new(self.id, result)
    }
}

/// Makes a call and reads its response. An error that no layer received is assigned to the call.
async fn collect<S>(call: ToolCall, mut service: S) -> Result<Collected, ToolError>
where
    S: Service<ToolCall, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    // Not a handle to the context: it would be another owner of the hooks.
    let (id, name) = (call.context().id(), call.name().to_owned());
    let made = async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(call).await
    };
    let result = match made.await {
        Ok(output) => output.collect().await,
        Err(error) => Err(ToolError::from_error(error)),
    };
    result.map_err(|error| match error.call_id() {
        Some(_) => error,
        None => error.with_call(ToolCall::new(name, Value::Null).with_id(id).context()),
    })
}

fn to_call(id: &str, name: &str, arguments: Option<&Value>) -> Result<ToolCall, ToolError> {
    let mut call = ToolCall::new(start_of(name, MAX_NAME), Value::Null);
    if !id.is_empty() {
        call = call.with_id(start_of(id, MAX_NAME));
    }
    let error = if id.len() > MAX_NAME {
        ToolError::invalid_arguments("id", format!("longer than {MAX_NAME} bytes"))
    } else if name.is_empty() {
        ToolError::invalid_arguments("name", "the call has no name")
    } else if name.len() > MAX_NAME {
        ToolError::unknown_tool(start_of(name, MAX_NAME))
    } else {
        match read_arguments(arguments) {
            Ok(arguments) => return Ok(call.map_args(|_| arguments)),
            Err(error) => error,
        }
    };
    Err(error.with_call(call.context()))
}

fn read_arguments(arguments: Option<&Value>) -> Result<Value, ToolError> {
    match arguments {
        None => Ok(Value::Null),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Value::Null),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|error| ToolError::invalid_arguments(".", format!("not JSON: {error}"))),
        Some(value) if nests_too_deep(value) => {
            let message = format!("nests deeper than {MAX_JSON_DEPTH} levels");
            Err(ToolError::invalid_arguments(".", message))
        }
        Some(value) => Ok(value.clone()),
    }
}
