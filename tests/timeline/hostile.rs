//! Names and contents that a client chooses.

use toolbooth_timeline::Text;

use super::*;

/// What a client may send as a name or as a content.
fn texts() -> Vec<String> {
    vec![
        "</script><script>alert(1)</script>".to_owned(),
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\n\u{9b}31m".to_owned(),
        "\u{202e}gpj.exe\u{2066}\u{200f}\u{2028}\u{feff}".to_owned(),
        "\"},{\"ph\":\"X\\".to_owned(),
        "搜索引擎🔍".repeat(20),
        "x".repeat(1_000_000),
        String::new(),
    ]
}

/// Records calls whose tool, id, tenant, error and items are such texts.
async fn hostile() -> Timeline {
    let recorder = Recorder::new().with_contents();
    for text in texts() {
        let fails = {
            let text = text.clone();
            tool_fn(text.clone(), move |call: CallContext, _: ()| {
                let text = text.clone();
                async move {
                    call.emit(text.clone());
                    call.emit(json!({ "key": text }));
                    Err::<(), BoxError>(text.into())
                }
            })
        };
        let tool = EventsLayer::new(recorder.clone()).layer(fails);
        let call = call(text.clone())
            .with_id(text.clone())
            .with_tenant(text.clone());
        call_all(tool, [call]).await;
    }
    recorder.snapshot()
}

/// Characters that a terminal obeys, or that change the order of others.
fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[tokio::test(start_paused = true)]
async fn records_of_long_texts_are_bounded() {
    for call in hostile().await.calls {
        for name in [Some(&call.id), Some(&call.tool), call.tenant.as_ref()] {
            assert!(name.is_some_and(|name| name.len() <= 256));
        }
        let contents: usize = call.contents.iter().map(String::len).sum();
        assert!(contents <= 16 * 1_024);
        assert!(call.error.is_some_and(|error| error.len() <= 2 * 1_024));
        assert_eq!(call.contents_left_out, call.bytes > 16 * 1_024);
    }
}

#[tokio::test(start_paused = true)]
async fn text_has_no_character_that_a_terminal_obeys() {
    let timeline = hostile().await;
    for width in [40, 57, 80, 200] {
        let text = timeline.to_text(width);
        for line in text.lines() {
            assert!(!line.chars().any(is_obeyed), "{line:?}");
            assert!(columns(line) <= width, "{} columns: {line}", columns(line));
        }
    }
    let color = Text::new(&timeline).with_color(true).to_string();
    let plain = without_color(&color);
    assert_eq!(plain, timeline.to_text(100));
    insta::assert_snapshot!(timeline.to_text(100));
}

#[tokio::test(start_paused = true)]
async fn trace_is_json_that_a_page_can_embed() {
    let trace = trace(hostile().await);
    assert!(trace.lines().all(|line| !line.chars().any(is_obeyed)));
    assert!(!trace.contains('<'));
    // The names are visible.
    for name in [
        "script>alert(1)",
        "\\\\u{1b}[2J",
        "\\\\u{202e}gpj.exe",
        "搜索引擎🔍",
    ] {
        assert!(trace.contains(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn page_has_no_script_of_a_call() {
    let html = hostile().await.to_html();
    assert!(!html.contains("<script>alert"));
    assert!(!html.contains("</script><script"));
}

/// Returns the width of a line on a terminal.
fn columns(line: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(line)
}

/// Removes the sequences that set a colour.
fn without_color(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('m').expect("a colour");
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        plain.push_str(rest);
    }
    plain
}
