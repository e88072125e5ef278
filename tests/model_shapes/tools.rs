//! The definitions of tools.

use serde_json::{Value, json};
use toolbooth::ToolSpec;
use toolbooth::model::{anthropic, openai_chat, openai_responses};

/// What each shape has in common: the name, the description and the schema.
fn common(spec: &ToolSpec) -> [Value; 3] {
    let specs = std::slice::from_ref(spec);
    let common = |tool: &Value, schema: &str| {
        let description = tool.get("description");
        json!([tool["name"], description, tool[schema]])
    };
    [
        common(&openai_chat::tools(specs)[0]["function"], "parameters"),
        common(&openai_responses::tools(specs)[0], "parameters"),
        common(&anthropic::tools(specs)[0], "input_schema"),
    ]
}

#[test]
fn definition_has_the_name_the_description_and_the_schema() {
    let schema = json!({
        "type": "object",
        "properties": { "pattern": { "type": "string" } },
        "required": ["pattern"],
    });
    let spec = ToolSpec::new("search")
        .with_title("Search")
        .with_description("Finds files by a pattern")
        .with_input_schema(schema.clone());
    let expected = json!(["search", "Finds files by a pattern", schema]);
    assert_eq!(common(&spec), [&expected; 3].map(Value::clone));
    // Both tools, in order.
    let names: Vec<_> = anthropic::tools(&[spec, ToolSpec::new("list")])
        .iter()
        .map(|tool| tool["name"].clone())
        .collect();
    assert_eq!(names, ["search", "list"]);
}

/// The APIs reject the schema of an object without properties, and one without a type.
#[test]
fn schema_is_of_an_object_with_properties() {
    let properties = json!({ "all": { "type": "boolean" } });
    for (schema, expected) in [
        (json!({ "type": "object" }), json!({})),
        (json!(true), json!({})),
        (json!({}), json!({})),
        (json!({ "properties": properties }), properties),
    ] {
        let spec = ToolSpec::new("list").with_input_schema(schema);
        let expected = json!({ "type": "object", "properties": expected });
        let expected = json!(["list", null, expected]);
        assert_eq!(common(&spec), [&expected; 3].map(Value::clone));
    }
}

#[test]
fn title_is_the_description_if_there_is_none() {
    let [chat, ..] = common(&ToolSpec::new("list").with_title("List files"));
    assert_eq!(chat[1], "List files");
}
