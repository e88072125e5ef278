use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use toolbooth_tonic::status;

use super::generated::tools_server::Tools;
use super::{CallReply, CallRequest, CountRequest, Number, ToolsServer};
use crate::servers::Toolbox;
use crate::servers::http::paced;
use crate::servers::toolbox::call_json;

/// The methods without limits. They do not depend on any layer.
#[derive(Debug, Clone)]
pub struct Service {
    tools: Toolbox,
}

// === impl Service ===

impl Service {
    /// Makes a service of the tools.
    #[must_use]
    pub const fn new(tools: Toolbox) -> Self {
        Self { tools }
    }

    /// Converts the service for tonic's server.
    #[must_use]
    pub fn into_server(self) -> ToolsServer<Self> {
        ToolsServer::new(self)
    }
}

#[tonic::async_trait]
impl Tools for Service {
    type CountStream = Pin<Box<dyn Stream<Item = Result<Number, Status>> + Send>>;

    async fn call(&self, mut request: Request<CallRequest>) -> Result<Response<CallReply>, Status> {
        let context = toolbooth_tonic::context(&mut request);
        let CallRequest { tool, args } = request.into_inner();
        // The tool parses arguments that are a string.
        let call = context.child(tool, args.into());
        let call = call.map_err(|error| status(&error))?;
        let result = call_json(self.tools.clone(), call).await;
        let result = result.map_err(|error| status(&error))?;
        let result = result.to_string();
        Ok(Response::new(CallReply { result }))
    }

    async fn count(
        &self,
        request: Request<CountRequest>,
    ) -> Result<Response<Self::CountStream>, Status> {
        let numbers = paced(request.into_inner().count);
        let numbers = numbers.map(|value| Ok(Number { value }));
        Ok(Response::new(Box::pin(numbers)))
    }
}
