//! The requests and notifications that a server receives.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};

use super::changes::notify;
use super::http::Session;
use super::{McpServer, page};
use crate::convert::to_tool;

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        self.settings.info()
    }

    /// The service has stored the information of the client. It stays, also if the client
    /// initializes again.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        if let Some(session) = context.extensions.get::<Arc<Session>>() {
            session.set_peer(context.peer);
        }
        self.negotiate_initialize(&request)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.toolbox.get(name).map(|tool| to_tool(tool.spec()))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let specs = self.toolbox.specs();
        page::page(&specs, cursor.as_deref(), self.settings.page_size)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.call(request, context).await.map(Into::into)
    }

    /// Over stdio, and in a session.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.clients.add(&self.toolbox, context.peer);
    }

    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        notify(self.toolbox.changes(), &context).await;
        Ok(())
    }

    /// A request whose parameters do not have the form of its method, or an unknown one.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        match &*request.method {
            method @ ("tools/call" | "tools/list") => {
                let message = format!("the parameters of `{method}` are malformed");
                Err(ErrorData::invalid_params(message, None))
            }
            _ => {
                let message = "there is no such method";
                Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None))
            }
        }
    }
}
