//! Schemas, and arguments that are checked against them.

use serde_json::Value;

use super::*;

fn search() -> Value {
    json!({
        "type": "object",
        "properties": {
            "filter": {
                "properties": { "tags": { "items": { "type": "string", "maxLength": 8 } } },
            },
            "limit": { "type": "integer" },
            "a/b": { "type": "integer" },
        },
        "required": ["limit"],
        "additionalProperties": false,
    })
}

/// A toolbox that checks the arguments of one tool.
fn checked(schema: Value) -> (Toolbox, ScriptedTool) {
    let tool = ScriptedTool::ready();
    let toolbox = Toolbox::builder()
        .tool(
            ToolSpec::new("search").with_input_schema(schema),
            tool.handle(),
        )
        .with_validated_arguments()
        .build();
    (toolbox.expect("a valid schema"), tool)
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(null), |inner, _| Value::Array(vec![inner]))
}

#[tokio::test(start_paused = true)]
async fn arguments_that_do_not_match_are_rejected_with_their_path() {
    let (toolbox, tool) = checked(search());
    for (args, expected) in [
        (
            json!({ "limit": "ten" }),
            "invalid arguments at `limit`: value is not of type \"integer\"",
        ),
        (
            json!({ "limit": 1, "filter": { "tags": ["a", 3] } }),
            "invalid arguments at `filter.tags[1]`: value is not of type \"string\"",
        ),
        (
            json!({}),
            "invalid arguments at `.`: \"limit\" is a required property",
        ),
        (
            json!({ "limit": 1, "a/b": "x" }),
            "invalid arguments at `a/b`: value is not of type \"integer\"",
        ),
        (
            json!([1]),
            "invalid arguments at `.`: value is not of type \"object\"",
        ),
        (
            json!("{\"limit\": 1.5}"),
            "invalid arguments at `limit`: value is not of type \"integer\"",
        ),
        (
            json!("{\"limit\":"),
            "invalid arguments at `.`: value is not of type \"object\"",
        ),
        (
            json!(null),
            "invalid arguments at `.`: \"limit\" is a required property",
        ),
    ] {
        let error = error_of(toolbox.clone(), ToolCall::new("search", args)).await;
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.public_message(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArguments);
        assert!(!error.started());
    }
    assert!(tool.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn arguments_in_each_form_that_models_send_pass() {
    let (toolbox, tool) = checked(search());
    let forms = [
        json!({ "limit": 1 }),
        json!({ "limit": 1.0 }),
        json!("{\"limit\": 1}"),
    ];
    let passed = forms.len();
    for args in forms {
        assert_eq!(
            text_of(toolbox.clone(), ToolCall::new("search", args)).await,
            "done"
        );
    }
    assert_eq!(tool.log().calls.len(), passed);

    let (nothing, _) = checked(json!({ "type": "object" }));
    for args in [
        json!(null),
        json!(""),
        json!("null"),
        json!("{}"),
        json!({}),
    ] {
        assert_eq!(
            text_of(nothing.clone(), ToolCall::new("search", args)).await,
            "done"
        );
    }
    let (text, _) = checked(json!({ "type": "string" }));
    let args = json!("not JSON");
    assert_eq!(text_of(text, ToolCall::new("search", args)).await, "done");
}

#[tokio::test(start_paused = true)]
async fn error_quotes_no_values_and_is_bounded() {
    let (toolbox, _) = checked(search());
    let secret = "hunter2 ".repeat(100_000);
    let args = json!({ "limit": 1, "filter": { "tags": [secret] } });
    let error = error_of(toolbox.clone(), ToolCall::new("search", args)).await;
    assert_eq!(
        error.to_string(),
        "invalid arguments at `filter.tags[0]`: value is longer than 8 characters"
    );
    let args = json!({ "limit": 1, (&*"k".repeat(1_000_000)): 1 });
    let error = error_of(toolbox, ToolCall::new("search", args)).await;
    assert!(error.to_string().len() < 1_000 && error.public_message().len() < 1_000);
}

#[tokio::test(start_paused = true)]
async fn arguments_that_nest_ten_thousand_deep_are_a_typed_error() {
    let (toolbox, tool) = checked(json!(true));
    assert_eq!(
        text_of(toolbox.clone(), ToolCall::new("search", nested(128))).await,
        "done"
    );
    let recursive = json!({
        "$defs": { "list": { "items": { "$ref": "#/$defs/list" } } },
        "$ref": "#/$defs/list",
    });
    for toolbox in [toolbox, checked(recursive).0] {
        let error = error_of(toolbox, ToolCall::new("search", nested(10_000))).await;
        assert_eq!(
            error.to_string(),
            "invalid arguments at `.`: it nests deeper than 128 levels"
        );
    }
    assert_eq!(tool.log().calls.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn arguments_are_checked_before_the_gate_and_only_on_request() {
    let asked = Recorder::new();
    let record = asked.clone();
    let builder = || {
        let record = record.clone();
        Toolbox::builder()
            .tool(
                ToolSpec::new("search").with_input_schema(search()),
                says("done"),
            )
            .gate(move |_| {
                record.record(());
                ready(Ok(()))
            })
    };
    let toolbox = builder().with_validated_arguments().build().unwrap();
    let error = error_of(toolbox, call("search")).await;
    assert_eq!(
        (error.kind(), asked.len()),
        (ErrorKind::InvalidArguments, 0)
    );

    let unchecked = builder().build().unwrap();
    assert_eq!(text_of(unchecked, call("search")).await, "done");
    assert_eq!(asked.len(), 1);
}

#[test]
fn schema_that_is_no_schema_is_a_fault() {
    let input = |schema| ToolSpec::new("t").with_input_schema(schema);
    let no_schema = "a JSON Schema is an object or a boolean";
    let too_deep = "it nests deeper than 128 levels";
    // Not by `json!`, which serializes.
    let deep = Value::from_iter([("not", nested(10_000))]);
    let toolbox = toolbox([]);
    for (spec, which, message) in [
        (input(json!("object")), "input", no_schema),
        (input(deep), "input", too_deep),
        (
            ToolSpec::new("t").with_output_schema(json!([])),
            "output",
            no_schema,
        ),
    ] {
        let error = toolbox.insert(spec, says("")).unwrap_err();
        let text = format!("the {which} schema of `t` is invalid: {message}");
        assert_eq!(error.to_string(), text);
    }
    toolbox
        .insert(input(json!({ "type": 5 })), says(""))
        .unwrap();
    assert_eq!(toolbox.len(), 1);

    let (checking, _) = checked(json!(false));
    for schema in [
        json!({ "type": 5 }),
        json!({ "pattern": "(" }),
        json!({ "$ref": "https://example.com/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
    ] {
        let error = checking.insert(input(schema), says("")).unwrap_err();
        assert!(
            matches!(
                error.faults(),
                [ToolboxFault::InvalidSchema { tool, schema: "input", .. }] if tool == "t"
            ),
            "{error}"
        );
    }
    assert_eq!(checking.names(), ["search"]);
}

#[test]
fn spec_has_the_json_of_mcp() {
    let spec = ToolSpec::new("search")
        .with_title("Search")
        .with_description("Finds files")
        .with_input_schema(json!({ "type": "object", "required": ["pattern"] }))
        .with_output_schema(json!({ "type": "array" }))
        .with_annotations(ToolAnnotations::new().with_read_only(true));
    let json = json!({
        "name": "search",
        "title": "Search",
        "description": "Finds files",
        "inputSchema": { "type": "object", "required": ["pattern"] },
        "outputSchema": { "type": "array" },
        "annotations": { "readOnlyHint": true },
    });
    assert_eq!(serde_json::to_value(&spec).unwrap(), json);
    assert_eq!(serde_json::from_value::<ToolSpec>(json).unwrap(), spec);
    let least = json!({ "name": "x", "inputSchema": { "type": "object" } });
    assert_eq!(serde_json::to_value(ToolSpec::new("x")).unwrap(), least);
    let more = json!({ "name": "x", "icons": [], "_meta": { "a": 1 } });
    assert_eq!(
        serde_json::from_value::<ToolSpec>(more).unwrap(),
        ToolSpec::new("x")
    );
    assert_eq!(
        (spec.title(), spec.description()),
        (Some("Search"), Some("Finds files"))
    );
}

#[test]
fn schema_of_a_type_without_content_is_an_object() {
    let spec = ToolSpec::of::<()>("now").with_output_of::<u8>();
    assert_eq!(spec.input_schema(), &json!({ "type": "object" }));
    assert_eq!(spec.output_schema().unwrap()["type"], "integer");
    let spec = ToolSpec::of::<Vec<bool>>("flags");
    assert_eq!(spec.input_schema()["items"], json!({ "type": "boolean" }));
}

/// A node of a tree, of one of two kinds: each has children of either kind.
fn tree() -> Value {
    let kind = |name: &str| {
        json!({
            "properties": { "child": { "$ref": "#" }, "kind": { "const": name } },
            "required": ["kind"],
        })
    };
    json!({ "oneOf": [kind("and"), kind("or")] })
}

fn branch(depth: usize, leaf: Value) -> Value {
    let wrap = |child, _| json!({ "kind": "and", "child": child });
    (0..depth).fold(leaf, wrap)
}

/// An explanation tries both kinds at each of 100 levels.
#[tokio::test(start_paused = true)]
async fn a_deep_mismatch_of_a_recursive_schema_is_rejected_without_its_path() {
    let (toolbox, tool) = checked(tree());
    let call = |args| ToolCall::new("search", args);
    let valid = call(branch(100, json!({ "kind": "or" })));
    assert_eq!(text_of(toolbox.clone(), valid).await, "done");
    let deep = call(branch(100, json!({ "kind": "xor" })));
    let error = error_of(toolbox.clone(), deep).await;
    assert_eq!(
        error.public_message(),
        "invalid arguments at `.`: it does not match the schema"
    );
    let error = error_of(toolbox, call(json!({ "kind": 5 }))).await;
    assert!(error.public_message().contains("oneOf"), "{error}");
    assert_eq!(tool.log().calls.len(), 1);
}

#[test]
fn output_schema_without_a_bound_is_not_checked() {
    let mut schema = json!({ "$ref": "#/$defs/25", "$defs": { "0": { "type": "object" } } });
    for at in 0..25 {
        let next = json!({ "$ref": format!("#/$defs/{at}") });
        schema["$defs"][(at + 1).to_string()] = json!({ "allOf": [next, next, next, next] });
    }
    let mut known = schema.clone();
    known["$ref"] = json!("#/$defs/3");
    let spec = |name, schema| ToolSpec::new(name).with_output_schema(schema);
    let toolbox = Toolbox::builder()
        .tool(spec("huge", schema), ScriptedTool::ready())
        .tool(spec("small", known), ScriptedTool::ready())
        .build()
        .expect("valid");
    let check = |name, value| toolbox.get(name).expect("a tool").check_output(&value);
    assert_eq!(check("huge", json!(5)), Ok(()));
    assert!(check("small", json!({})).is_ok());
    assert!(check("small", json!(5)).is_err());
}
