//! The names of fields: those of OpenTelemetry's generative AI conventions, those that
//! `tracing-opentelemetry` reads, and our own.

/// The target of spans and events, for filters.
pub(super) const TARGET: &str = "toolbooth::call";

pub(super) const OTEL_NAME: &str = "otel.name";
pub(super) const OTEL_KIND: &str = "otel.kind";
pub(super) const OTEL_STATUS: &str = "otel.status_code";
pub(super) const OTEL_DESCRIPTION: &str = "otel.status_description";

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const TOOL: &str = "gen_ai.tool.name";
pub(super) const TOOL_TYPE: &str = "gen_ai.tool.type";
pub(super) const DESCRIPTION: &str = "gen_ai.tool.description";
pub(super) const CALL_ID: &str = "gen_ai.tool.call.id";
pub(super) const ARGUMENTS: &str = "gen_ai.tool.call.arguments";
pub(super) const RESULT: &str = "gen_ai.tool.call.result";
pub(super) const ERROR_TYPE: &str = "error.type";

pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const PARENT_SPAN_ID: &str = "parent_span_id";

pub(super) const ATTEMPT: &str = "toolbooth.attempt";
pub(super) const TENANT: &str = "toolbooth.tenant";
pub(super) const OUTCOME: &str = "toolbooth.outcome";
pub(super) const DURATION: &str = "toolbooth.duration";
pub(super) const WAIT_TOTAL: &str = "toolbooth.wait.total";
pub(super) const WAIT_CONCURRENCY: &str = "toolbooth.wait.concurrency";
pub(super) const WAIT_RATE: &str = "toolbooth.wait.rate";
