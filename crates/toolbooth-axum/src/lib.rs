//! toolbooth's errors, deadlines and tools in axum.
