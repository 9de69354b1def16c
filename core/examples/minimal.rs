//! Telemetry in, verdicts out: reads one body of the Telemetry API from standard input.
//!
//! ```sh
//! cargo run -p oom-witness-core --example minimal < body.json
//! ```

use std::io::{self, Read, Write};

use oom_witness_core::sizes::SENTENCE_SIZE;
use oom_witness_core::{Detection, Settings, ShutdownReason, Witness, format};

fn main() -> io::Result<()> {
    let mut witness = Witness::new(Settings::default());
    let mut sentence = [0; SENTENCE_SIZE];
    let mut on_detection = |detection: &Detection| {
        if let Ok(length) = format::sentence::write(detection, &mut sentence) {
            let _ = io::stdout().write_all(&sentence[..length]);
            println!();
        }
    };
    let now_ms = 0; // Only for events without a time.
    let mut piece = [0; 4096];
    loop {
        let length = io::stdin().read(&mut piece)?;
        if length == 0 {
            break;
        }
        witness.feed(&piece[..length], now_ms, &mut on_detection);
    }
    witness.end_body(now_ms, &mut on_detection);
    // No more comes, so what is only suspected counts now.
    witness.shutdown(ShutdownReason::Spindown, &mut on_detection);
    Ok(())
}
