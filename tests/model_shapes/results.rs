//! What models read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toolbooth::ErrorKind;

use super::SHAPES;
use super::ends::ends;

/// Every end of a call, in each shape.
#[tokio::test(start_paused = true)]
async fn each_end_of_a_call_has_the_documented_result() {
    let ends = ends().await;
    for shape in SHAPES {
        let golden: BTreeMap<&str, Value> = serde_json::from_str(shape.golden).expect("JSON");
        let results: BTreeMap<&str, Value> = ends
            .iter()
            .map(|(end, result)| (*end, (shape.result)(result)))
            .collect();
        for (end, result) in &results {
            assert_eq!(Some(result), golden.get(end), "{end}");
        }
        assert_eq!(results.len(), golden.len());
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_error_has_a_result_without_secrets() {
    let ends = ends().await;
    let mut kinds = BTreeSet::new();
    for (end, result) in &ends {
        assert_eq!(result.id(), "call_1");
        if let Err(error) = result.result() {
            kinds.insert(error.kind().as_str());
            assert!(result.is_error(), "{end}");
            let text = result.text();
            assert!(text.ends_with(&error.model_message()), "{text}");
        }
        for shape in SHAPES {
            let written = (shape.result)(result);
            assert_eq!(written[shape.id], "call_1");
            assert!(!written.to_string().contains("hunter2"), "{written}");
        }
    }
    let all = [
        ErrorKind::Timeout,
        ErrorKind::Cancelled,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::CircuitOpen,
        ErrorKind::Panicked,
        ErrorKind::InvalidArguments,
        ErrorKind::UnknownTool,
        ErrorKind::Denied,
        ErrorKind::TooDeep,
        ErrorKind::Tool,
    ];
    assert_eq!(kinds, all.map(ErrorKind::as_str).into());
}
