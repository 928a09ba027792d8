//! OpenAI Chat Completions, as pi, opencode and goose speak it.

use serde_json::{Value, json};

use super::answer::Answer;
use super::api::{Frames, unique};
use super::asked::{Asked, Item, Tool, list, schema, texts};

pub fn read(request: &Value) -> Asked {
    let item = |message: &Value| match message["role"].as_str()? {
        "user" => Some(Item::User(texts(&message["content"]))),
        "tool" => Some(Item::Result),
        "assistant" => Some(Item::Model),
        _ => None,
    };
    Asked {
        items: list(&request["messages"]).filter_map(item).collect(),
        tools: list(&request["tools"])
            .map(|tool| Tool {
                name: tool["function"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                arguments: tool["function"]["parameters"].clone(),
            })
            .collect(),
        schema: schema(&request["response_format"]["json_schema"]["schema"]),
        stream: request["stream"] == true,
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
}

fn finish(answer: &Answer) -> &'static str {
    match answer {
        Answer::Call(..) => "tool_calls",
        _ => "stop",
    }
}

fn call(name: &str, arguments: &str) -> Value {
    json!([{"index": 0, "id": unique("call"), "type": "function",
        "function": {"name": name, "arguments": arguments}}])
}

pub fn whole(answer: &Answer) -> Value {
    let message = match answer {
        Answer::Call(name, arguments) => {
            json!({"role": "assistant", "content": null, "tool_calls": call(name, arguments)})
        }
        _ => json!({"role": "assistant", "content": answer.pieces().concat()}),
    };
    json!({
        "id": unique("chatcmpl"), "object": "chat.completion", "created": 0, "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": finish(answer)}],
        "usage": usage(),
    })
}

pub fn frames(answer: &Answer) -> Frames {
    let id = unique("chatcmpl");
    let chunk = |delta: Value, stop: Option<&str>| {
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": 0, "model": "stand-in",
            "choices": [{"index": 0, "delta": delta, "finish_reason": stop}],
            "usage": stop.map(|_| usage()),
        });
        format!("data: {chunk}\n\n")
    };
    let pieces = match answer {
        Answer::Call(name, arguments) => {
            vec![chunk(json!({"tool_calls": call(name, arguments)}), None)]
        }
        _ => {
            let pieces = answer.pieces().into_iter();
            pieces
                .map(|text| chunk(json!({"content": text}), None))
                .collect()
        }
    };
    Frames {
        open: chunk(json!({"role": "assistant", "content": ""}), None),
        pieces,
        close: chunk(json!({}), Some(finish(answer))) + "data: [DONE]\n\n",
    }
}

/// OpenAI's refusal, for both of its interfaces; the seconds are said in words only, and some read
/// them there.
pub fn limit(seconds: u64) -> Value {
    json!({"error": {
        "message": format!("the stand-in's limit is reached, please try again in {seconds}s"),
        "type": "requests", "param": null, "code": "rate_limit_exceeded"}})
}
