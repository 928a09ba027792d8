//! Anthropic Messages, as claude speaks it.

use serde_json::{Value, json};

use super::answer::Answer;
use super::api::{Frames, named, unique};
use super::asked::{Asked, Item, Tool, list, schema, texts};

pub fn read(request: &Value) -> Asked {
    let mut items = Vec::new();
    for message in list(&request["messages"]) {
        if message["role"] == "assistant" {
            items.push(Item::Model);
            continue;
        }
        // Results of tools come in a user's place, before whatever the user said meanwhile.
        if list(&message["content"]).any(|block| block["type"] == "tool_result") {
            items.push(Item::Result);
        }
        if message["role"] == "user" {
            items.push(Item::User(texts(&message["content"])));
        }
    }
    Asked {
        items,
        tools: list(&request["tools"])
            .map(|tool| Tool {
                name: tool["name"].as_str().unwrap_or_default().to_owned(),
                arguments: tool["input_schema"].clone(),
            })
            .collect(),
        schema: schema(&request["output_config"]["format"]["schema"])
            .or_else(|| schema(&request["output_format"]["schema"])),
        stream: request["stream"] == true,
    }
}

fn message(content: Value, stop: Value) -> Value {
    json!({
        "id": unique("msg"), "type": "message", "role": "assistant", "model": "stand-in",
        "content": content, "stop_reason": stop, "stop_sequence": null,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    })
}

fn stop(answer: &Answer) -> &'static str {
    match answer {
        Answer::Call(..) => "tool_use",
        _ => "end_turn",
    }
}

fn tool_use(name: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": unique("toolu"), "name": name, "input": input})
}

pub fn whole(answer: &Answer) -> Value {
    let content = match answer {
        Answer::Call(name, arguments) => tool_use(name, serde_json::from_str(arguments).unwrap()),
        _ => json!({"type": "text", "text": answer.pieces().concat()}),
    };
    message(json!([content]), json!(stop(answer)))
}

pub fn frames(answer: &Answer) -> Frames {
    let block = match answer {
        Answer::Call(name, _) => tool_use(name, json!({})),
        _ => json!({"type": "text", "text": ""}),
    };
    let deltas = match answer {
        Answer::Call(_, arguments) => {
            vec![json!({"type": "input_json_delta", "partial_json": arguments})]
        }
        _ => {
            let pieces = answer.pieces().into_iter();
            pieces
                .map(|text| json!({"type": "text_delta", "text": text}))
                .collect()
        }
    };
    let start = json!({"type": "message_start", "message": message(json!([]), Value::Null)});
    let begin = json!({"type": "content_block_start", "index": 0, "content_block": block});
    let end = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta",
            "delta": {"stop_reason": stop(answer), "stop_sequence": null},
            "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    Frames {
        open: named(&start) + &named(&begin),
        pieces: deltas
            .into_iter()
            .map(|d| named(&json!({"type": "content_block_delta", "index": 0, "delta": d})))
            .collect(),
        close: end.iter().map(named).collect(),
    }
}

pub fn limit() -> Value {
    json!({"type": "error", "error": {
        "type": "rate_limit_error", "message": "the stand-in's limit is reached"}})
}
