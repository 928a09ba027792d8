//! OpenAI Responses, as codex speaks it.

use serde_json::{Value, json};

use super::answer::Answer;
use super::api::{Frames, named, unique};
use super::asked::{Asked, Item, Tool, list, schema, texts};

pub fn read(request: &Value) -> Asked {
    let item = |item: &Value| match (item["type"].as_str(), item["role"].as_str()) {
        (Some("message") | None, Some("user")) => Some(Item::User(texts(&item["content"]))),
        (Some("message") | None, Some("assistant")) => Some(Item::Model),
        (Some(kind), _) if kind.ends_with("_output") => Some(Item::Result),
        (Some(kind), _) if kind.ends_with("_call") => Some(Item::Model),
        _ => None,
    };
    let input = match &request["input"] {
        Value::String(text) => vec![Item::User(vec![text.clone()])],
        items => list(items).filter_map(item).collect(),
    };
    Asked {
        items: input,
        tools: list(&request["tools"])
            .map(|tool| Tool {
                name: tool["name"].as_str().unwrap_or_default().to_owned(),
                arguments: tool["parameters"].clone(),
            })
            .collect(),
        schema: schema(&request["text"]["format"]["schema"]),
        stream: request["stream"] == true,
    }
}

/// The answer as an item of the conversation.
fn item(answer: &Answer) -> Value {
    match answer {
        Answer::Call(name, arguments) => json!({
            "type": "function_call", "id": unique("fc"), "call_id": unique("call"),
            "name": name, "arguments": arguments, "status": "completed"}),
        _ => json!({
            "type": "message", "id": unique("msg"), "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": answer.pieces().concat(),
                "annotations": []}]}),
    }
}

fn response(id: &str, status: &str, output: Value) -> Value {
    json!({
        "id": id, "object": "response", "created_at": 0, "status": status, "model": "stand-in",
        "output": output,
        "usage": {
            "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15},
    })
}

pub fn whole(answer: &Answer) -> Value {
    response(&unique("resp"), "completed", json!([item(answer)]))
}

pub fn frames(answer: &Answer) -> Frames {
    let id = unique("resp");
    let done = item(answer);
    // An item is announced before it has anything in it; texts are, calls come whole.
    let mut begun = done.clone();
    if let Some(content) = begun.get_mut("content") {
        *content = json!([]);
    }
    let created = json!({"type": "response.created",
        "response": response(&id, "in_progress", json!([]))});
    let added = json!({"type": "response.output_item.added", "output_index": 0, "item": begun});
    let delta = |text: String| {
        named(
            &json!({"type": "response.output_text.delta", "item_id": done["id"],
            "output_index": 0, "content_index": 0, "delta": text}),
        )
    };
    let end = [
        json!({"type": "response.output_item.done", "output_index": 0, "item": done}),
        json!({"type": "response.completed",
            "response": response(&id, "completed", json!([done]))}),
    ];
    Frames {
        open: named(&created) + &named(&added),
        pieces: answer.pieces().into_iter().map(delta).collect(),
        close: end.iter().map(named).collect(),
    }
}
