//! An agent loop: a model requests tool calls, and every call has a result, however it ends.
//!
//! ```text
//! cargo run --example model_loop
//! ```
//!
//! The model is a recording in the shapes of OpenAI Chat Completions and of Anthropic Messages, so
//! the example needs no network. As the APIs do, it rejects a request in which a call has no
//! result. In its first message it makes four calls at once: one succeeds, one times out with a
//! partial result, one has invalid arguments, and one names a tool that does not exist.
//!
//! tokio's clock is paused, so the run takes no time. It exits with 1 if a result is not the
//! expected one.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

mod tools;

use std::process::ExitCode;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use toolbooth::model::{MessageError, ModelCall, ModelResult, anthropic, openai_chat};
use toolbooth::{BoxError, ToolSpec, Toolbox};

/// What differs between the APIs.
struct Api {
    name: &'static str,
    recording: &'static str,
    /// The definitions of tools in a request.
    tools: fn(&[ToolSpec]) -> Vec<Value>,
    /// The message of a response.
    message: fn(&Value) -> Value,
    calls: fn(&Value) -> Result<Vec<ModelCall>, MessageError>,
    /// The messages that carry results.
    replies: fn(&[ModelResult]) -> Vec<Value>,
}

const APIS: [Api; 2] = [
    Api {
        name: "OpenAI Chat Completions",
        recording: include_str!("openai.json"),
        tools: openai_chat::tools,
        message: |response| response["choices"][0]["message"].clone(),
        calls: openai_chat::calls,
        replies: |results| results.iter().map(openai_chat::result).collect(),
    },
    Api {
        name: "Anthropic Messages",
        recording: include_str!("anthropic.json"),
        tools: anthropic::tools,
        message: |response| json!({ "role": "assistant", "content": response["content"] }),
        calls: anthropic::calls,
        replies: |results| {
            let blocks: Vec<_> = results.iter().map(anthropic::result).collect();
            vec![json!({ "role": "user", "content": blocks })]
        },
    },
];

/// A model that responds with what was recorded.
struct RecordedModel(std::vec::IntoIter<Value>);

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    for api in APIS {
        println!("{}", api.name);
        if let Err(error) = run(&api).await {
            eprintln!("model_loop: {}: {error}", api.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn run(api: &Api) -> Result<(), BoxError> {
    let toolbox = tools::toolbox()?;
    let started = Instant::now();
    let texts = agent_loop(api, &toolbox).await?;

    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let [weather, timeout, invalid, unknown, pages, found, last] = texts[..] else {
        return Err(format!("{} texts", texts.len()).into());
    };
    for (text, expected) in [
        (weather, "rain, 7 degrees"),
        (timeout, "The tool \"crawl\" timed out after 2 s."),
        (
            invalid,
            "The call of the tool \"search\" has invalid arguments",
        ),
        (
            unknown,
            "There is no tool named `serach`, did you mean `search`?",
        ),
        (pages, "page 1 of example.org\npage 2 of example.org"),
        (found, "changelog.md"),
        (last, "It rains in Oslo, and the site has a changelog."),
    ] {
        if !text.contains(expected) {
            return Err(format!("{text:?} instead of {expected:?}").into());
        }
    }
    // The partial result is before what happened.
    if !timeout.starts_with("page 1 of example.org\n") {
        return Err(format!("{timeout:?} has no partial result").into());
    }
    // The calls of a message run at once: only the one that timed out took long.
    match started.elapsed().as_millis() {
        2_000..3_000 => Ok(()),
        millis => Err(format!("took {millis} ms").into()),
    }
}

/// Runs the calls of the model until it makes no more; returns the texts of the results, and the
/// last message.
async fn agent_loop(api: &Api, toolbox: &Toolbox) -> Result<Vec<String>, BoxError> {
    let recording: Vec<Value> = serde_json::from_str(api.recording)?;
    let mut model = RecordedModel(recording.into_iter());
    let mut messages = vec![json!({ "role": "user", "content": "Weather in Oslo, and the news?" })];
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    loop {
        let request = json!({ "tools": (api.tools)(&toolbox.specs()), "messages": messages });
        let message = (api.message)(&model.respond(&request, &ids)?);
        let calls = (api.calls)(&message)?;
        ids = calls.iter().map(|call| call.id().to_owned()).collect();
        let is_last = calls.is_empty();
        if is_last {
            let content = &message["content"];
            let text = content.as_str().or_else(|| content[0]["text"].as_str());
            texts.push(text.unwrap_or_default().to_owned());
            println!("  {}\n", texts[texts.len() - 1]);
            return Ok(texts);
        }
        messages.push(message);

        let runs = calls.into_iter().map(|call| call.run(toolbox.clone()));
        let results = join_all(runs).await;
        for result in &results {
            println!(
                "  {}: {}",
                result.id(),
                result.text().replace('\n', "\n    ")
            );
            texts.push(result.text());
        }
        messages.extend((api.replies)(&results));
    }
}

// === impl RecordedModel ===

impl RecordedModel {
    /// Returns the next response. Fails if a call with one of these ids has no result: its id is in
    /// the request once, in the call, and a second time in the result.
    fn respond(&mut self, request: &Value, ids: &[String]) -> Result<Value, BoxError> {
        let request = request.to_string();
        for id in ids {
            if request.matches(&format!("\"{id}\"")).count() != 2 {
                return Err(format!("the call {id} has no result").into());
            }
        }
        self.0.next().ok_or_else(|| "the recording is over".into())
    }
}
