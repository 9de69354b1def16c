//! What the outbox keeps, sends and counts. No child is started.

use std::sync::LazyLock;

use oom_witness_core::format::otlp::OtlpSums;
use oom_witness_core::{
    Confidence, Detection, DetectionKind, Evidence, EvidenceSet, Source, StartKind, Status, Subject,
};

use super::requests::BATCH_MAX;
use super::{BODY_SIZE, FAILURES_MAX, Outbox, QueuedDetection, SendResult, Sink, SinkSet};
use crate::delivery::queue::WAITING_MAX;
use crate::delivery::sink::datadog::DatadogTags;
use crate::delivery::sink::{RequestContext, SinkContext, SinkSettings};

static SETTINGS: LazyLock<SinkSettings> = LazyLock::new(SinkSettings::default);

/// A function without a name, and no settings.
fn sink_context() -> SinkContext<'static> {
    SinkContext { source: Source::default(), settings: &SETTINGS }
}

fn detection(time_ms: u64) -> Detection {
    Detection {
        kind: DetectionKind::OutOfMemory,
        subject: Subject::Environment,
        evidence: EvidenceSet::EMPTY,
        confidence: Confidence::Confirmed,
        status: Status::Error,
        time_ms,
        memory_size_mb: None,
        max_memory_used_mb: None,
        start: StartKind::Warm,
        count: 1,
    }
}

/// What a request for this function is written from, at the time 0.
fn context<'a>(source: &'a Source<'a>) -> RequestContext<'a> {
    RequestContext {
        source,
        settings: &SETTINGS,
        now_ms: 0,
        start_ms: 0,
        environment: 0,
        before: OtlpSums::ZERO,
    }
}

/// An outbox in which `count` detections wait for Datadog.
fn outbox(count: u64) -> Outbox {
    let mut sinks = SinkSet::default();
    sinks.insert(Sink::Datadog);
    let mut outbox = Outbox::new();
    outbox.set_sinks(sinks);
    for time_ms in 0..count {
        outbox.keep(&detection(time_ms), &sink_context());
    }
    outbox
}

#[test]
fn a_line_waits_for_no_network() {
    let mut sinks = SinkSet::default();
    sinks.insert(Sink::Emf);
    let mut outbox = Outbox::new();
    outbox.set_sinks(sinks);
    assert!(!outbox.begin_writes(false));
    outbox.keep(&detection(1), &sink_context());
    assert!(!outbox.is_due(true));
    assert!(outbox.begin_writes(false));
    let kept: Vec<QueuedDetection> = outbox.waiting().copied().collect();
    outbox.write(&sink_context());
    assert!(outbox.is_sent());
    assert_eq!(outbox.tally().written + outbox.tally().unwritten, 1);
    // If the agent is killed in between, the line is not written again.
    let [waiting] = kept.as_slice() else { panic!("one waits") };
    let [sinks, begun] = waiting.bits();
    let waiting = QueuedDetection::restore(waiting.detection, sinks, begun).unwrap();
    let mut after = Outbox::new();
    after.restore(waiting);
    assert!(after.waiting().next().is_none() && !after.begin_writes(true));
    assert_eq!(after.tally.unknown, 1);
}

#[test]
fn a_send_that_had_not_begun_goes_out_after_a_restart() {
    let outbox = outbox(1);
    let mut after = Outbox::new();
    for waiting in outbox.waiting() {
        let [sinks, begun] = waiting.bits();
        after.restore(QueuedDetection::restore(waiting.detection, sinks, begun).unwrap());
    }
    assert!(after.is_due(false));
    assert_eq!(after.tally.unknown, 0);
    assert_eq!(QueuedDetection::restore(detection(1), 0, 0), None);
}

/// Begins a request, which ends with this result. Returns how many detections it carried.
fn sends(outbox: &mut Outbox, result: SendResult) -> u32 {
    let mut buffer = [0; BODY_SIZE];
    let source = Source { function_name: "function", ..Source::default() };
    let (sink, length) = outbox.begin_send(true, &context(&source), &mut buffer).unwrap();
    if sink == Sink::Datadog {
        let body = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(body.starts_with("{\"series\":[") && body.ends_with("]}"), "{body}");
    }
    let begun = outbox.waiting().filter(|waiting| waiting.begun.contains(sink));
    let carried = begun.map(|waiting| waiting.detection.count).sum();
    outbox.settle(sink, result);
    carried
}

#[test]
fn one_request_carries_all_waiting_detections() {
    for result in [SendResult::Taken, SendResult::Unknown, SendResult::Refused] {
        let mut outbox = outbox(2);
        assert_eq!(sends(&mut outbox, result), 2);
        assert!(outbox.is_sent(), "{result:?}");
    }
}

#[test]
fn an_untaken_detection_stays_in_the_queue() {
    let mut outbox = outbox(3);
    assert_eq!(sends(&mut outbox, SendResult::NotTaken), 3);
    assert!(outbox.is_due(false));
    assert_eq!((outbox.tally.failed, outbox.tally.sent), (1, 0));
    assert_eq!(sends(&mut outbox, SendResult::Taken), 3);
    assert_eq!(outbox.tally.sent, 3);
}

#[test]
fn a_dead_sink_is_tried_in_shutdown_only() {
    let mut outbox = outbox(1);
    for _ in 0..FAILURES_MAX {
        assert!(outbox.is_due(false));
        sends(&mut outbox, SendResult::NotTaken);
    }
    assert!(!outbox.is_due(false));
    assert!(outbox.is_due(true));
    sends(&mut outbox, SendResult::Taken);
    outbox.keep(&detection(9), &sink_context());
    assert!(outbox.is_due(false), "it lives again");
}

/// The sum is right, however many detections there are and whatever is being sent.
#[test]
fn detections_without_room_are_joined() {
    for (count, failures) in [(25, 0), (64, 0), (256, 0), (1000, 3)] {
        let mut outbox = outbox(count);
        let mut buffer = [0; BODY_SIZE];
        for _ in 0..failures {
            // Half of them come while a request is being sent.
            outbox.begin_send(true, &context(&Source::default()), &mut buffer).unwrap();
            for time_ms in 0..count {
                outbox.keep(&detection(time_ms), &sink_context());
            }
            outbox.settle(Sink::Datadog, SendResult::NotTaken);
        }
        assert!(outbox.waiting().count() <= WAITING_MAX);
        let mut sent = 0;
        while outbox.is_due(true) {
            sent += u64::from(sends(&mut outbox, SendResult::Taken));
        }
        assert_eq!(sent, count * (failures + 1));
        assert_eq!(u64::from(outbox.tally.sent), sent);
        assert_eq!(outbox.tally.overflowed, 0);
    }
}

/// There is room with every sink, both kinds of confidence and any evidence, at any stage of
/// delivery.
#[test]
fn there_is_always_room_for_one_more() {
    let evidence = [&[Evidence::Fatal][..], &[Evidence::Mention], &[], &[Evidence::ErrorType]];
    let mut state = 1_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let mut sinks = SinkSet::default();
    Sink::ALL.iter().for_each(|sink| sinks.insert(*sink));
    let (mut outbox, mut kept) = (Outbox::new(), 0);
    outbox.set_sinks(sinks);
    let mut buffer = [0; BODY_SIZE];
    let mut sending = None;
    for _ in 0..3_000 {
        match random(8) {
            0 if sending.is_none() => {
                let begun = outbox.begin_send(true, &context(&Source::default()), &mut buffer);
                sending = begun.map(|(sink, _)| sink);
            }
            1 => {
                let result = [SendResult::Taken, SendResult::NotTaken][random(2) as usize];
                if let Some(sink) = sending.take() {
                    outbox.settle(sink, result);
                }
            }
            2 if outbox.begin_writes(true) => outbox.write(&sink_context()),
            _ => {
                let confidence = [Confidence::Confirmed, Confidence::Suspected][random(2) as usize];
                let evidence = EvidenceSet::of(evidence[random(4) as usize]);
                let kind = match random(4) {
                    0 => DetectionKind::HighWater,
                    _ => DetectionKind::OutOfMemory,
                };
                let found = detection(random(9).into());
                let detection = Detection { kind, confidence, evidence, ..found };
                outbox.keep(&detection, &sink_context());
                kept += 1;
            }
        }
    }
    if let Some(sink) = sending {
        outbox.settle(sink, SendResult::NotTaken);
    }
    while outbox.is_due(true) {
        sends(&mut outbox, SendResult::Taken);
    }
    let network_sinks = u32::try_from(sinks.network().iter().count()).unwrap();
    assert_eq!((outbox.tally.sent, outbox.tally.overflowed), (kept * network_sinks, 0));
}

/// The longest request fits to the last byte.
#[test]
fn a_batch_is_as_long_as_fits() {
    let tags = "key:value,".repeat(100);
    let datadog = DatadogTags { tags, ..DatadogTags::default() };
    let settings = SinkSettings { datadog, ..SinkSettings::default() };
    let source = Source::default();
    let context = RequestContext { settings: &settings, ..context(&source) };
    let mut outbox = outbox(0);
    for index in 0..BATCH_MAX {
        let evidence = EvidenceSet::of(&[Evidence::ALL[index % Evidence::ALL.len()]]);
        outbox.keep(&Detection { evidence, ..detection(index as u64) }, &sink_context());
    }
    let mut buffer = [0; BODY_SIZE];
    let mut requests = 0;
    while let Some((sink, length)) = outbox.begin_send(true, &context, &mut buffer) {
        assert!(length > BODY_SIZE / 2 || requests > 0);
        outbox.settle(sink, SendResult::Taken);
        requests += 1;
    }
    assert!(requests > 1, "not all of it fits into one");
    assert_eq!(outbox.tally.sent as usize, BATCH_MAX);
}

/// A sum counts what a sink has been given, whatever became of it.
#[test]
fn what_is_over_is_in_the_sum_of_the_next_request() {
    let mut outbox = outbox(1);
    let mut expected = OtlpSums::ZERO;
    let sum = |outbox: &Outbox| outbox.sums[Sink::Datadog as usize];
    sends(&mut outbox, SendResult::NotTaken);
    assert_eq!(sum(&outbox), expected, "it is sent again");
    for result in [SendResult::Taken, SendResult::Unknown, SendResult::Refused] {
        sends(&mut outbox, result);
        expected.add(&detection(0));
        assert_eq!(sum(&outbox), expected, "{result:?}");
        outbox.keep(&detection(0), &sink_context());
    }
}

#[test]
fn a_detection_for_a_sink_of_another_build_is_dropped_and_counted() {
    let mut outbox = Outbox::new();
    let emf_and_unbuilt = 0x82;
    outbox.restore(QueuedDetection::restore(detection(1), emf_and_unbuilt, 0).unwrap());
    outbox.restore(QueuedDetection::restore(detection(2), 0x80, 0x80).unwrap());
    assert_eq!((outbox.tally().dropped, outbox.unbuilt), (2, 2));
    let sinks: Vec<Vec<Sink>> = outbox.waiting().map(|one| one.sinks.iter().collect()).collect();
    assert_eq!(sinks, [[Sink::Emf]]);
}

/// A high-water mark and an out-of-memory detection have different metrics.
#[test]
fn only_detections_of_one_kind_are_joined() {
    let mut outbox = Outbox::new();
    let mut sinks = SinkSet::EMPTY;
    sinks.insert(Sink::Datadog);
    outbox.set_sinks(sinks);
    for number in 0..40_u32 {
        let kind = match number % 2 {
            0 => DetectionKind::HighWater,
            _ => DetectionKind::OutOfMemory,
        };
        let max_memory_used_mb = Some(number);
        let detection = Detection { kind, max_memory_used_mb, ..detection(number.into()) };
        outbox.keep(&detection, &sink_context());
    }
    let of_kind = |kind| outbox.waiting().filter(move |queued| queued.detection.kind == kind);
    for (kind, highest) in [(DetectionKind::HighWater, 38), (DetectionKind::OutOfMemory, 39)] {
        assert_eq!(of_kind(kind).map(|queued| queued.detection.count).sum::<u32>(), 20);
        let marks = of_kind(kind).map(|queued| queued.detection.max_memory_used_mb);
        assert_eq!(marks.max(), Some(Some(highest)));
    }
}
