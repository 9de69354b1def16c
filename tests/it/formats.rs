//! Wire formats: what serde_json reads back from the documents that core writes.

use oom_witness_core::format::datadog::UserTags;
use oom_witness_core::sizes::{
    FUNCTION_NAME_MAX, REQUEST_ID_MAX, RUNTIME_SIZE, SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE,
    SOURCE_TEXT_MAX, SOURCE_WORD_MAX,
};
use oom_witness_core::{
    Confidence, Detection, DetectionKind, Error, Evidence, EvidenceSet, HIGH_WATER_METRIC_NAME,
    METRIC_NAME, Metric, RequestId, Runtime, Source, StartKind, Status, Subject, format,
};
use serde_json::{Value, json};

mod collector;
mod otlp;
mod pairs;

const TIME_MS: u64 = 1_795_332_899_808;

fn detection(id: &str) -> Detection {
    Detection {
        kind: DetectionKind::OutOfMemory,
        subject: Subject::Invocation(RequestId::try_from(id).unwrap()),
        evidence: EvidenceSet::of(&[Evidence::MemoryAtLimit, Evidence::ErrorType]),
        confidence: Confidence::Confirmed,
        status: Status::Error,
        time_ms: TIME_MS,
        memory_size_mb: Some(128),
        max_memory_used_mb: Some(128),
        start: StartKind::Cold,
        count: 1,
    }
}

fn source(name: &str) -> Source<'_> {
    Source {
        function_name: name,
        function_version: "7",
        region: "eu-west-1",
        account_id: "123456789012",
        initialization_type: "on-demand",
        memory_size_mb: "128",
        runtime: Runtime::parse("nodejs:20.v22"),
    }
}

/// What the user adds for Datadog.
fn user(tags: &str) -> UserTags<'_> {
    UserTags { tags, env: "prod", ..UserTags::default() }
}

/// The document of a metric. A buffer that is one byte too small is an error.
fn document(write: impl Fn(&mut [u8]) -> Result<usize, Error>) -> Value {
    let mut buffer = [0; format::DOCUMENT_SIZE];
    let len = write(&mut buffer).unwrap();
    assert_eq!(write(&mut buffer[..len - 1]), Err(Error::BufferFull));
    assert_eq!(write(&mut buffer), Ok(len));
    assert!(!buffer[..len].contains(&b'\n'));
    serde_json::from_slice(&buffer[..len]).unwrap()
}

fn emf(metric: &Metric<'_>) -> Value {
    document(|buffer| format::emf::write(metric, "OomWitness", buffer))
}

/// The request for these metrics.
fn datadog(metrics: &[Metric<'_>], user: &UserTags<'_>) -> Value {
    document(|buffer| format::datadog::write(metrics, user, buffer))
}

#[test]
fn emf_is_metric_and_log_in_one_line() {
    let (detection, source) = (detection("3c1a12d9-9e13-4869-b291-e5945001f202"), source("resize"));
    let document = emf(&Metric::new(&detection, &source));
    let directive = &document["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(document["_aws"]["Timestamp"], TIME_MS);
    assert_eq!(directive["Namespace"], "OomWitness");
    assert_eq!(directive["Dimensions"], json!([["FunctionName"], ["FunctionName", "Confidence"]]));
    assert_eq!(directive["Metrics"], json!([{ "Name": METRIC_NAME, "Unit": "Count" }]));
    assert_eq!(document[METRIC_NAME], 1);
    assert_eq!(document["FunctionName"], "resize");
    assert_eq!(document["Confidence"], "confirmed");
    assert_eq!(document["evidence"], "error_type,memory_at_limit");
    assert_eq!(document["requestId"], "3c1a12d9-9e13-4869-b291-e5945001f202");
    assert_eq!(
        (&document["maxMemoryUsedMB"], &document["memorySizeMB"]),
        (&json!(128), &json!(128))
    );
    assert_eq!(
        (&document["level"], &document["timestamp"]),
        (&json!("ERROR"), &json!("2026-11-22T07:34:59.808Z"))
    );
    assert_eq!(
        document["message"],
        "oom-witness: invocation 3c1a12d9-9e13-4869-b291-e5945001f202 ran out of memory \
         (confirmed: error_type,memory_at_limit; status error; 128 of 128 MB used)"
    );
}

/// A detection that warns, and says nothing of running out of memory.
fn high_water(used_mb: u32) -> Detection {
    Detection {
        kind: DetectionKind::HighWater,
        evidence: EvidenceSet::EMPTY,
        status: Status::Success,
        max_memory_used_mb: Some(used_mb),
        ..detection("A")
    }
}

#[test]
fn a_high_water_mark_in_emf_looks_like_no_out_of_memory_error() {
    let (detection, source) = (high_water(118), source("resize"));
    let document = emf(&Metric::new(&detection, &source));
    let directive = &document["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Namespace"], "OomWitness");
    assert_eq!(directive["Dimensions"], json!([["FunctionName"]]));
    let metric = json!([{ "Name": HIGH_WATER_METRIC_NAME, "Unit": "Megabytes" }]);
    assert_eq!(directive["Metrics"], metric);
    assert_eq!(
        (&document[HIGH_WATER_METRIC_NAME], &document["maxMemoryUsedMB"]),
        (&json!(118), &json!(118))
    );
    assert_eq!((&document["level"], &document["requestId"]), (&json!("WARN"), &json!("A")));
    let message = "oom-witness: invocation A came near the memory limit (118 of 128 MB used)";
    assert_eq!(document["message"], message);
    for absent in [METRIC_NAME, "Confidence", "evidence"] {
        assert_eq!(document.get(absent), None, "{absent}");
    }
}

#[test]
fn high_water_marks_are_series_of_their_own_in_datadog() {
    let source = source("f");
    let (mark, confirmed) = (high_water(118), detection("B"));
    let metrics = [Metric::new(&mark, &source), Metric::new(&confirmed, &source)];
    let document = datadog(&metrics, &user("team:red"));
    let series = &document["series"][0];
    assert_eq!(series["metric"], HIGH_WATER_METRIC_NAME);
    assert_eq!(series["points"], json!([[1_795_332_899, [118.0]]]));
    let tags = series["tags"].as_array().unwrap();
    assert_eq!((&tags[0], &tags[tags.len() - 1]), (&json!("functionname:f"), &json!("team:red")));
    assert_eq!(document["series"][1]["metric"], METRIC_NAME);
    assert_eq!(document["series"][1]["tags"][0], "confidence:confirmed");
}

#[test]
fn joined_high_water_marks_have_the_highest_value() {
    let joined = high_water(118).join(&high_water(125)).join(&high_water(120));
    let source = source("f");
    let document = emf(&Metric::new(&joined, &source));
    assert_eq!(document[HIGH_WATER_METRIC_NAME], 125);
    let message = "oom-witness: 3 invocations came near the memory limit (125 of 128 MB used)";
    assert_eq!(document["message"], message);
}

#[test]
fn datadog_gets_a_distribution_point_with_the_tags_of_its_own_extension() {
    let (detection, source) = (detection("A"), source("Resize"));
    let tags = "team:red, bad tag:blue,:x,y:";
    let document = datadog(&[Metric::new(&detection, &source)], &user(tags));
    let series = &document["series"][0];
    assert_eq!(series["metric"], METRIC_NAME);
    assert_eq!(series["type"], "distribution");
    assert_eq!(series["points"], json!([[1_795_332_899, [1.0]]]));
    let tags: Vec<&str> =
        series["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(
        tags,
        [
            "confidence:confirmed",
            "evidence:error_type",
            "evidence:memory_at_limit",
            "functionname:Resize",
            "region:eu-west-1",
            "account_id:123456789012",
            "aws_account:123456789012",
            "resource:Resize:7",
            "executedversion:7",
            "memorysize:128",
            "init_type:on-demand",
            "runtime:nodejs20.x",
            "architecture:x86_64",
            "env:prod",
            "function_arn:arn:aws:lambda:eu-west-1:123456789012:function:resize",
            "cold_start:true",
            "team:red",
            "tag:blue",
        ]
    );
}

/// The tags of one series.
fn datadog_tags(detection: &Detection, source: &Source<'_>, user: &UserTags<'_>) -> Vec<String> {
    let document = datadog(&[Metric::new(detection, source)], user);
    let tags = document["series"][0]["tags"].as_array().expect("tags");
    tags.iter().map(|tag| tag.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn tags_of_the_user_replace_those_of_the_function() {
    let tags = "env:dev,resource:own,function_arn:mine,SERVICE:x,cold_start:maybe";
    let user = UserTags { service: "Shop", ..user(tags) };
    let written = datadog_tags(&detection("A"), &source("Resize"), &user);
    let of = |key: &str| -> Vec<&str> {
        let values = written.iter().filter_map(|tag| tag.strip_prefix(key)?.strip_prefix(':'));
        values.collect()
    };
    assert_eq!(
        (of("env"), of("resource"), of("function_arn")),
        (vec!["dev"], vec!["own"], vec!["mine"])
    );
    assert_eq!((of("service"), of("SERVICE")), (vec!["shop"], vec!["x"]), "in lower case");
    assert_eq!(of("cold_start"), ["true", "maybe"], "that of the invocation is not replaced");
}

#[test]
fn tags_of_the_start_are_those_of_datadogs_extension() {
    let runtime = Runtime::parse("python:3.14.DurableFunction.v13");
    let source = Source { runtime, ..source("f") };
    for (start, expected) in [
        (StartKind::Cold, &["cold_start:true"][..]),
        (StartKind::Proactive, &["cold_start:false", "proactive_initialization:true"]),
        (StartKind::Warm, &["cold_start:false"]),
        (StartKind::Unknown, &[]),
    ] {
        let tags = datadog_tags(&Detection { start, ..detection("A") }, &source, &user(""));
        let is_of_start = |tag: &&String| tag.contains("cold_start") || tag.contains("proactive");
        assert_eq!(tags.iter().filter(is_of_start).collect::<Vec<_>>(), expected, "{start:?}");
        assert!(tags.contains(&"durable_function:true".to_owned()));
    }
    // Points with different tags are different series.
    let warm = Detection { start: StartKind::Warm, ..detection("B") };
    let cold = detection("A");
    let metrics = [Metric::new(&cold, &source), Metric::new(&warm, &source)];
    let body = datadog(&metrics, &user(""));
    assert_eq!(body["series"].as_array().unwrap().len(), 2);
}

#[test]
fn one_request_to_datadog_carries_many_detections() {
    let source = source("f");
    let confirmed = detection("A");
    let joined = Detection { time_ms: TIME_MS + 1000, ..confirmed.join(&detection("B")) };
    let suspected = Detection { confidence: Confidence::Suspected, ..detection("C") };
    let late = Metric::new(&confirmed, &source).not_older(TIME_MS + 9_000_000, 1);
    let metrics = [
        Metric::new(&confirmed, &source),
        Metric::new(&suspected, &source),
        Metric::new(&joined, &source),
        late,
    ];
    let document = datadog(&metrics, &user(""));
    let points: Vec<&Value> =
        document["series"].as_array().unwrap().iter().map(|series| &series["points"]).collect();
    let of_confirmed = json!([[1_795_332_899, [1.0]], [1_795_332_900, [2.0]]]);
    let of_late = json!([[1_795_341_899, [1.0]]]);
    assert_eq!(points, [&of_confirmed, &json!([[1_795_332_899, [1.0]]]), &of_late]);
}

#[test]
fn joined_detections_have_a_sum_and_no_request_id() {
    let (one, other) = (detection("A"), Detection { status: Status::Timeout, ..detection("B") });
    let joined = one.join(&other).join(&detection("C"));
    let source = source("f");
    let document = emf(&Metric::new(&joined, &source));
    assert_eq!((&document[METRIC_NAME], document.get("requestId")), (&json!(3), None));
    let message = "oom-witness: 3 invocations ran out of memory (confirmed: \
                   error_type,memory_at_limit; 128 of 128 MB used)";
    assert_eq!(document["message"], message);
}

#[test]
fn a_detection_too_old_for_datadog_goes_out_as_late() {
    let (detection, source) = (detection("A"), source("f"));
    let metric = Metric::new(&detection, &source);
    let on_time = metric.not_older(TIME_MS + 3_299_999, 3_300_000);
    assert_eq!((on_time.time_ms, on_time.late), (TIME_MS, false));
    let late = metric.not_older(TIME_MS + 3_300_000, 3_300_000);
    assert_eq!((late.time_ms, late.late), (TIME_MS + 3_300_000, true));
    let document = datadog(&[late], &user(""));
    assert!(document["series"][0]["tags"].as_array().unwrap().contains(&json!("late:true")));
}

#[test]
fn every_byte_is_escaped() {
    let every: Vec<char> = (1..=0x2ff).filter_map(char::from_u32).collect();
    let every = every.chunks(64).map(|chunk| chunk.iter().collect::<String>());
    let odd = ["\"", "\\", "\u{7f}", "\n\r\t\0", "\u{1f4a5}é"].map(str::to_owned);
    for name in &every.chain(odd).collect::<Vec<_>>() {
        let (detection, source) = (detection("a\"b\\c"), source(name));
        let metric = Metric::new(&detection, &source);
        let emf = emf(&metric);
        assert_eq!(emf["FunctionName"], name.as_str());
        assert_eq!(emf["requestId"], "a\"b\\c");
        let datadog = datadog(&[metric], &user(""));
        let tags = datadog["series"][0]["tags"].as_array().unwrap();
        assert!(tags.contains(&json!(format!("functionname:{name}"))));
    }
}

#[test]
fn subjects_without_a_request_have_no_request_id() {
    for (subject, words) in [
        (Subject::Init, "the init may have"),
        (Subject::Restore, "the restore may have"),
        (Subject::Environment, "the environment may have"),
    ] {
        let mut detection = detection("A");
        detection.subject = subject;
        detection.confidence = Confidence::Suspected;
        detection.status = Status::Unknown;
        detection.max_memory_used_mb = None;
        let source = Source::default();
        let emf = emf(&Metric::new(&detection, &source));
        assert_eq!(emf.get("requestId"), None);
        assert_eq!(emf["FunctionName"], "unknown");
        let message = emf["message"].as_str().unwrap();
        assert!(message.contains(words) && message.ends_with("; limit 128 MB)"), "{message}");
    }
}

/// A text that takes `size` bytes in a document. Almost all of them are escapes.
fn escapes(size: usize) -> String {
    let text = "\u{1}".repeat(size / 6) + &"x".repeat(size % 6);
    assert_eq!(format::escaped_size(&text), size);
    text
}

/// Each text is as long as it may be, and every character of it is escaped.
#[test]
fn the_longest_of_everything_fits() {
    let mut detection = detection(&"\"".repeat(REQUEST_ID_MAX));
    detection.evidence = EvidenceSet::of(&Evidence::ALL);
    detection.confidence = Confidence::Suspected;
    detection.start = StartKind::Proactive;
    detection.status = Status::Timeout;
    (detection.memory_size_mb, detection.max_memory_used_mb) = (Some(u32::MAX), Some(u32::MAX));
    let word = escapes(SOURCE_WORD_MAX);
    let text = escapes(SOURCE_TEXT_MAX);
    let name = escapes(FUNCTION_NAME_MAX);
    let account = "\u{1}".repeat(16);
    // As many tags, and as many bytes of tags, as the agent accepts.
    let mut tags: Vec<String> = (0..SOURCE_TAGS_MAX).map(|_| "a:b".to_owned()).collect();
    let size =
        |tags: &[String]| -> usize { tags.iter().map(|tag| format::escaped_size(tag) + 3).sum() };
    let left = SOURCE_TAGS_SIZE - size(&tags);
    tags[0] += &escapes(left);
    assert_eq!(size(&tags), SOURCE_TAGS_SIZE);
    let tags = tags.join(",");
    let runtime = Runtime::parse("provided:al345678901.DurableFunction");
    assert_eq!(runtime.as_str().len(), RUNTIME_SIZE);
    let source = Source {
        function_name: &name,
        function_version: &word,
        region: &word,
        account_id: &account,
        initialization_type: &word,
        memory_size_mb: &word,
        runtime,
    };
    let user = UserTags { tags: &tags, env: &text, service: &text, version: &text };
    let metric = Metric::new(&detection, &source).not_older(u64::MAX, 0);
    // With its line break, the line must fit into a pipe in one piece.
    let mut line = [0; 4095];
    format::emf::write(&metric, &"n".repeat(256), &mut line).expect("it fits");
    // A request of the agent has 4,000 bytes.
    let mut body = [0; 3500];
    let length = format::datadog::write(&[metric], &user, &mut body).expect("it fits");
    let body: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert!(body["series"][0]["tags"].as_array().unwrap().len() <= 100);
}
