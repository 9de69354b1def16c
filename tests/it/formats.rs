//! Wire formats: what serde_json reads back from the documents that core writes.

use oom_witness_core::sizes::{
    FUNCTION_NAME_MAX, REQUEST_ID_MAX, SOURCE_TAGS_MAX, SOURCE_TAGS_SIZE, SOURCE_TEXT_MAX,
    SOURCE_WORD_MAX,
};
use oom_witness_core::{
    Confidence, Detection, Error, Evidence, EvidenceSet, METRIC_NAME, Metric, RequestId, Source,
    Status, Subject, format,
};
use serde_json::{Value, json};

mod collector;
mod otlp;
mod pairs;

const TIME_MS: u64 = 1_795_332_899_808;

fn detection(id: &str) -> Detection {
    Detection {
        subject: Subject::Invocation(RequestId::try_from(id).unwrap()),
        evidence: EvidenceSet::of(&[Evidence::MemoryAtLimit, Evidence::ErrorType]),
        confidence: Confidence::Confirmed,
        status: Status::Error,
        time_ms: TIME_MS,
        memory_size_mb: Some(128),
        max_memory_used_mb: Some(128),
        count: 1,
    }
}

fn source<'a>(name: &'a str, tags: &'a str) -> Source<'a> {
    Source {
        function_name: name,
        function_version: "7",
        region: "eu-west-1",
        account_id: "123456789012",
        initialization_type: "on-demand",
        memory_size_mb: "128",
        tags,
        env: "prod",
        ..Source::default()
    }
}

type DocumentWriter = fn(&Metric<'_>, &mut [u8]) -> Result<usize, Error>;

/// The document of a metric. A buffer that is one byte too small is an error.
fn document(write: DocumentWriter, metric: &Metric<'_>) -> Value {
    let mut buffer = [0; format::DOCUMENT_SIZE];
    let len = write(metric, &mut buffer).unwrap();
    assert_eq!(write(metric, &mut buffer[..len - 1]), Err(Error::BufferFull));
    assert_eq!(write(metric, &mut buffer), Ok(len));
    assert!(!buffer[..len].contains(&b'\n'));
    serde_json::from_slice(&buffer[..len]).unwrap()
}

/// Writes one metric in a request of its own.
fn datadog(metric: &Metric<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
    format::datadog::write(&[*metric], buffer)
}

#[test]
fn emf_is_metric_and_log_in_one_line() {
    let (detection, source) =
        (detection("3c1a12d9-9e13-4869-b291-e5945001f202"), source("resize", ""));
    let document = document(format::emf::write, &Metric::new(&detection, &source));
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

#[test]
fn datadog_gets_a_distribution_point_with_the_tags_of_its_own_extension() {
    let (detection, source) = (detection("A"), source("Resize", "team:red, bad tag:blue,:x,y:"));
    let document = document(datadog, &Metric::new(&detection, &source));
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
            "function_arn:arn:aws:lambda:eu-west-1:123456789012:function:resize",
            "memorysize:128",
            "init_type:on-demand",
            "architecture:x86_64",
            "env:prod",
            "team:red",
            "tag:blue",
        ]
    );
}

#[test]
fn one_request_to_datadog_carries_many_detections() {
    let source = source("f", "");
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
    let mut buffer = [0; format::DOCUMENT_SIZE];
    let length = format::datadog::write(&metrics, &mut buffer).unwrap();
    let document: Value = serde_json::from_slice(&buffer[..length]).unwrap();
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
    let source = source("f", "");
    let document = document(format::emf::write, &Metric::new(&joined, &source));
    assert_eq!((&document[METRIC_NAME], document.get("requestId")), (&json!(3), None));
    let message = "oom-witness: 3 invocations ran out of memory (confirmed: \
                   error_type,memory_at_limit; 128 of 128 MB used)";
    assert_eq!(document["message"], message);
}

#[test]
fn a_detection_too_old_for_datadog_goes_out_as_late() {
    let (detection, source) = (detection("A"), source("f", ""));
    let metric = Metric::new(&detection, &source);
    let on_time = metric.not_older(TIME_MS + 3_299_999, 3_300_000);
    assert_eq!((on_time.time_ms, on_time.late), (TIME_MS, false));
    let late = metric.not_older(TIME_MS + 3_300_000, 3_300_000);
    assert_eq!((late.time_ms, late.late), (TIME_MS + 3_300_000, true));
    let document = document(datadog, &late);
    assert!(document["series"][0]["tags"].as_array().unwrap().contains(&json!("late:true")));
}

#[test]
fn every_byte_is_escaped() {
    let every: Vec<char> = (1..=0x2ff).filter_map(char::from_u32).collect();
    let every = every.chunks(64).map(|chunk| chunk.iter().collect::<String>());
    let odd = ["\"", "\\", "\u{7f}", "\n\r\t\0", "\u{1f4a5}é"].map(str::to_owned);
    for name in &every.chain(odd).collect::<Vec<_>>() {
        let (detection, source) = (detection("a\"b\\c"), source(name, ""));
        let metric = Metric::new(&detection, &source);
        let emf = document(format::emf::write, &metric);
        assert_eq!(emf["FunctionName"], name.as_str());
        assert_eq!(emf["requestId"], "a\"b\\c");
        let datadog = document(datadog, &metric);
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
        let emf = document(format::emf::write, &Metric::new(&detection, &source));
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
    let source = Source {
        namespace: &"n".repeat(256),
        function_name: &name,
        function_version: &word,
        region: &word,
        account_id: &account,
        initialization_type: &word,
        memory_size_mb: &word,
        tags: &tags,
        env: &text,
        service: &text,
        version: &text,
    };
    let metric = Metric::new(&detection, &source).not_older(u64::MAX, 0);
    // With its line break, the line must fit into a pipe in one piece.
    let mut line = [0; 4095];
    format::emf::write(&metric, &mut line).expect("it fits");
    // A request of the agent has 4,000 bytes.
    let mut body = [0; 3500];
    let length = format::datadog::write(&[metric], &mut body).expect("it fits");
    let body: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert!(body["series"][0]["tags"].as_array().unwrap().len() <= 100);
}
