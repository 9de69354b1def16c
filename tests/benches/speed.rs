//! How fast the scanner reads function records. serde_json reads the same bytes into borrowed
//! structs in the same run: `cargo bench -p oom-witness-tests --bench speed`.

mod bodies;

use std::time::{Duration, Instant};

use bodies::{PIECE, json_lines, parse, parse_objects, plain_lines, recorded_lines, scan};

/// Reads a body as a program would that holds all of it.
type Parse = fn(&str);

/// The time of the fastest of several runs.
fn fastest(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..60).map(|_| time(&mut run)).min().unwrap_or_default()
}

fn main() {
    println!("MB/s, and how many times serde_json's");
    println!("{:<18} {:>10} {:>18} {:>18}", "lines", "serde_json", "in one piece", "in 4096 bytes");
    let mut bodies: Vec<(String, String, Parse)> =
        vec![("recorded".to_owned(), recorded_lines(), parse)];
    let sizes = [50, 200, 1_000, 10_000];
    bodies.extend(sizes.map(|size| (format!("{size} bytes"), plain_lines(size), parse as _)));
    let json =
        sizes.map(|size| (format!("JSON, {size} bytes"), json_lines(size), parse_objects as _));
    bodies.extend(json);
    for (name, body, parse) in bodies {
        let parsed = fastest(|| parse(&body));
        let speed = |time: Duration| body.len() as f64 / time.as_secs_f64() / 1e6;
        let beside = |piece| {
            let scanned = fastest(|| scan(&body, piece));
            let ratio = parsed.as_secs_f64() / scanned.as_secs_f64();
            format!("{:.0} ({ratio:.1})", speed(scanned))
        };
        let (whole, pieces) = (beside(usize::MAX), beside(PIECE));
        println!("{name:<18} {:>10.0} {whole:>18} {pieces:>18}", speed(parsed));
    }
}
