//! How fast function records are scanned, beside serde_json into borrowed structs on the same bytes
//! in the same run: `cargo bench -p oom-witness-tests`.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use oom_witness_core::Scanner;
use serde::Deserialize;

#[derive(Deserialize)]
struct Element<'a> {
    time: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    record: Cow<'a, str>,
}

/// A batch of text records, each of about `size` bytes.
fn batch(size: usize) -> String {
    let words = "2026-11-22T07:34:59.678Z\\t3c1a12d9-9e13-4869-b291-e5945001f202\\tINFO\\tuser 17 asked \
                 for the key of another memory, and was told why not; the queue took 12 ms ";
    let line: String = words.chars().cycle().take(size).collect();
    let line = line.trim_end_matches('\\');
    let element =
        format!(r#"{{"time":"2026-11-22T07:34:59.678Z","type":"function","record":"{line}\n"}}"#);
    format!("[{}]", vec![element; 256 * 1024 / size.max(100)].join(","))
}

/// The fastest of several runs.
fn fastest(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..40).map(|_| time(&mut run)).min().unwrap_or_default()
}

fn main() {
    for size in [50, 200, 1_000, 10_000] {
        let body = batch(size);
        let scanned = fastest(|| {
            let mut scanner = Scanner::new();
            for piece in body.as_bytes().chunks(4096) {
                scanner.feed(black_box(piece), &mut |event| {
                    black_box(event);
                });
            }
            scanner.end_body(&mut |_| {});
        });
        let parsed = fastest(|| {
            let elements: Vec<Element<'_>> = serde_json::from_str(black_box(&body)).unwrap();
            for element in &elements {
                black_box((element.time, element.kind, &element.record));
            }
        });
        let speed = |time: Duration| body.len() as f64 / time.as_secs_f64() / 1e6;
        println!(
            "records of {size:>6} bytes: {:>5.0} MB/s, serde_json {:>5.0} MB/s, ratio {:.2}",
            speed(scanned),
            speed(parsed),
            parsed.as_secs_f64() / scanned.as_secs_f64()
        );
    }
}
