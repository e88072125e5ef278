//! Names: unique, checked, looked up.

use super::*;

/// R4.
#[tokio::test(start_paused = true)]
async fn thirty_names_are_thirty_tools() {
    let names: Vec<String> = (0..30).map(|n| format!("tool-{n}")).collect();
    let mut builder = Toolbox::builder();
    for name in &names {
        let text = name.clone();
        let tool = service_fn(move |_: ToolCall| {
            ready(Ok::<_, ToolError>(ToolOutput::text(text.clone())))
        });
        builder = builder.tool(&**name, tool);
    }
    let toolbox = builder.build().unwrap();
    assert_eq!(toolbox.len(), 30);
    let finished = call_all(toolbox, names.iter().map(call)).await;
    let texts: Vec<String> = finished
        .into_iter()
        .map(|Finished { result, .. }| result.unwrap().text())
        .collect();
    assert_eq!(texts, names);
}

/// R4.
#[tokio::test(start_paused = true)]
async fn duplicate_name_is_an_error_and_overwrites_nothing() {
    let built = Toolbox::builder()
        .tool("search", says("first"))
        .tool("fetch", says("other"))
        .tool("search", says("second"))
        .build();
    let error = built.unwrap_err();
    let text = "there is a tool named `search` already: use `replace`, or another name";
    assert_eq!(error.to_string(), text);
    assert!(matches!(
        error.faults(),
        [ToolboxFault::Duplicate { name, .. }] if name == "search"
    ));

    let toolbox = toolbox(["search"]);
    let error = toolbox.insert("search", says("second")).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(toolbox.len(), 1);
    assert_eq!(text_of(toolbox, call("search")).await, "search");
}

#[test]
fn names_must_be_short_and_printable() {
    let toolbox = toolbox([]);
    let longest = "x".repeat(128);
    toolbox.insert(&*longest, says("")).unwrap();
    for (name, shown) in [
        (String::new(), String::new()),
        ("x".repeat(129), "x".repeat(128) + "..."),
        ("é".repeat(500_000), "é".repeat(64) + "..."),
        ("a\nb".to_owned(), "a\nb".to_owned()),
    ] {
        let error = toolbox.insert(&*name, says("")).unwrap_err();
        let text = format!(
            "`{shown}` cannot be the name of a tool: \
             a name has 1 to 128 bytes and no control characters"
        );
        assert_eq!(error.to_string(), text);
        assert!(!toolbox.contains(&name));
    }
    assert_eq!(toolbox.names(), [&*longest]);
}

#[tokio::test(start_paused = true)]
async fn unknown_tool_is_an_error_with_the_nearest_names() {
    let toolbox = toolbox(["search", "github_search", "fetch", "delete", "searches"]);
    for (name, text) in [
        (
            "serach",
            "there is no tool named `serach`, did you mean `search`?",
        ),
        (
            "searche",
            "there is no tool named `searche`, did you mean `search` or `searches`?",
        ),
        (
            "hub_search",
            "there is no tool named `hub_search`, did you mean `github_search` or `search`?",
        ),
        ("xyz", "there is no tool named `xyz`"),
        ("", "there is no tool named ``"),
    ] {
        let error = error_of(toolbox.clone(), call(name)).await;
        assert_eq!(error.to_string(), text);
        assert_eq!(error.public_message(), text);
        assert_eq!(error.kind(), ErrorKind::UnknownTool);
        assert_eq!((error.started(), error.layer()), (false, Some("toolbox")));
        assert_eq!(error.outcome(), Outcome::Rejected);
        let resolved = toolbox.resolve(name).unwrap_err();
        assert_eq!(resolved.to_string(), text);
    }
    assert_eq!(toolbox.resolve("fetch").unwrap().spec().name(), "fetch");
}

#[tokio::test(start_paused = true)]
async fn setting_for_an_unknown_tool_is_an_error_of_the_builder() {
    let built = Toolbox::builder()
        .tool("search", says("search"))
        .tool("fetch", says("fetch"))
        .tool("fetch", says("fetch"))
        .with_timeout(PerTool::new(ms(5)).with("serach", ms(9)))
        .with_gate_limit(PerTool::new(ms(5)).with("fetsh", None))
        .with_idempotent(PerTool::none().with("zip", true).with("search", true))
        .build();
    assert_eq!(
        faults(&built.unwrap_err()),
        [
            "there is a tool named `fetch` already: use `replace`, or another name",
            "`with_timeout` names the tool `serach`, which is not there: \
             did you mean `search`?",
            "`with_gate_limit` names the tool `fetsh`, which is not there: \
             did you mean `fetch`?",
            "`with_idempotent` names the tool `zip`, which is not there",
        ]
    );
}

#[test]
fn specs_and_names_are_sorted() {
    let toolbox = toolbox(["b", "c", "a"]);
    assert_eq!(toolbox.names(), ["a", "b", "c"]);
    let specs = toolbox.specs();
    let names: Vec<&str> = specs.iter().map(ToolSpec::name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(toolbox.get("b").unwrap().spec(), &ToolSpec::new("b"));
    assert!(toolbox.get("d").is_none() && !toolbox.is_empty());
    let debug = format!("{toolbox:?}");
    assert_eq!(debug, "Toolbox { name: \"toolbox\", tools: 3, .. }");
}
