//! toolbooth's errors and deadlines in tonic.
