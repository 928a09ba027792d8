//! Gemini's generateContent and streamGenerateContent, as gemini speaks them.

use serde_json::{Value, json};

use super::answer::Answer;
use super::api::{Frames, unique};
use super::asked::{Asked, Item, Tool, list, schema, texts};

pub fn read(path: &str, request: &Value) -> Asked {
    let mut items = Vec::new();
    for content in list(&request["contents"]) {
        if content["role"] == "model" {
            items.push(Item::Model);
            continue;
        }
        if list(&content["parts"]).any(|part| part["functionResponse"].is_object()) {
            items.push(Item::Result);
        }
        items.push(Item::User(texts(&content["parts"])));
    }
    let config = &request["generationConfig"];
    Asked {
        items,
        tools: list(&request["tools"])
            .flat_map(|tools| list(&tools["functionDeclarations"]))
            .map(|tool| Tool {
                name: tool["name"].as_str().unwrap_or_default().to_owned(),
                arguments: schema(&tool["parametersJsonSchema"])
                    .unwrap_or_else(|| tool["parameters"].clone()),
            })
            .collect(),
        schema: schema(&config["responseJsonSchema"]).or_else(|| schema(&config["responseSchema"])),
        stream: path.ends_with(":streamGenerateContent"),
    }
}

fn chunk(parts: Value, finish: Option<&str>) -> Value {
    let mut chunk = json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}}],
        "usageMetadata": {
            "promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
        "modelVersion": "stand-in", "responseId": unique("response"),
    });
    if let Some(finish) = finish {
        chunk["candidates"][0]["finishReason"] = json!(finish);
    }
    chunk
}

fn call(name: &str, arguments: &str) -> Value {
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    json!([{"functionCall": {"id": unique("call"), "name": name, "args": arguments}}])
}

pub fn whole(answer: &Answer) -> Value {
    let parts = match answer {
        Answer::Call(name, arguments) => call(name, arguments),
        _ => json!([{"text": answer.pieces().concat()}]),
    };
    chunk(parts, Some("STOP"))
}

pub fn frames(answer: &Answer) -> Frames {
    let event = |chunk: Value| format!("data: {chunk}\n\n");
    let pieces = match answer {
        Answer::Call(name, arguments) => vec![event(chunk(call(name, arguments), None))],
        _ => {
            let pieces = answer.pieces().into_iter();
            pieces
                .map(|text| event(chunk(json!([{"text": text}]), None)))
                .collect()
        }
    };
    Frames {
        open: String::new(),
        pieces,
        close: event(chunk(json!([{"text": ""}]), Some("STOP"))),
    }
}

pub fn limit(seconds: u64) -> Value {
    json!({"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "the stand-in's limit is reached",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s")}]}})
}
