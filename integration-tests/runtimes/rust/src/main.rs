//! Ends an invocation as its payload asks: `{"behavior": "kill"}`.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::hint::black_box;
use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    init(&std::env::var("SANDBOX_INIT").unwrap_or_default());
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (payload, context) = event.into_parts();
    for line in payload["lines"].as_array().into_iter().flatten() {
        println!("{}", line.as_str().unwrap_or_default().replace("{id}", &context.request_id));
    }
    let mb = payload["mb"].as_u64().unwrap_or(64) as usize;
    match payload["behavior"].as_str().unwrap_or("succeed") {
        "kill" | "grow" => touch(1 << 20),
        "allocation" => {
            // One request that no address space holds: the program ends by itself.
            black_box(vec![1_u8; black_box(1 << 46)]);
        }
        "capacity" => {
            let mut held: Vec<u8> = Vec::new();
            held.reserve(black_box(usize::MAX)); // capacity overflow: a panic, not memory
        }
        "handled" => {
            let mut held: Vec<u8> = Vec::new();
            if let Err(error) = held.try_reserve_exact(black_box(1 << 46)) {
                eprintln!("served without a cache: {error}");
            }
        }
        "hook" => {
            let layout = Layout::from_size_align(1 << 46, 8)?;
            // SAFETY: the layout is not of size zero, and nobody uses what it would give.
            if unsafe { alloc(layout) }.is_null() {
                handle_alloc_error(layout);
            }
        }
        "near-limit" => touch(mb),
        "crash" => std::process::exit(payload["code"].as_i64().unwrap_or(1) as i32),
        "panic" => panic!("asked for"),
        "abort" => std::process::abort(),
        "timeout" => tokio::time::sleep(Duration::from_secs(3600)).await,
        "error" => return Err("asked for".into()),
        _ => {}
    }
    Ok(json!({"status": "ok"}))
}

/// Touches this many MiB.
fn touch(mb: usize) {
    let mut held = Vec::new();
    for _ in 0..mb {
        held.push(vec![1_u8; 1 << 20]);
        black_box(&held);
    }
}

fn init(what: &str) {
    let folder = std::env::var("TMPDIR").unwrap_or_default();
    let mark = std::path::Path::new(&folder).join("died-once");
    if what.ends_with("-once") && (mark.exists() || std::fs::write(&mark, "").is_err()) {
        return;
    }
    if what.starts_with("kill") {
        touch(1 << 20);
    }
}
