//! Mock tools, probes, recorders and paused-clock helpers for testing stacks of toolbooth's layers.
