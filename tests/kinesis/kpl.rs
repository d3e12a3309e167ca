//! Aggregated records, compared with another implementation: each reads what the other writes.

use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventsrc_kinesis::record::{AggregatedRecord, AggregatedRecordBuilder, NotAggregated};
use eventsrc_test_servers as servers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A sub-record, in the format of `tests/kpl/records.py`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SubRecord {
    #[serde(default)]
    record: usize,
    partition_key: String,
    data: String,
}

#[tokio::test]
async fn another_implementation_splits_our_aggregated_records() {
    for limit in LIMITS {
        let mut expected = sub_records(limit as u64);
        let (mut records, mut aggregate) = (Vec::new(), AggregatedRecordBuilder::new(limit));
        for sub_record in &mut expected {
            let data = STANDARD.decode(&sub_record.data).unwrap();
            if let Err(data) = aggregate.add(&sub_record.partition_key, data) {
                let full = std::mem::replace(&mut aggregate, AggregatedRecordBuilder::new(limit));
                records.push(STANDARD.encode(full.into_bytes()));
                aggregate.add(&sub_record.partition_key, data).expect("an empty one has room");
            }
            sub_record.record = records.len();
        }
        records.push(STANDARD.encode(aggregate.into_bytes()));
        let found: Vec<SubRecord> =
            run(&["split"], &records).await.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Not `assert_eq`: its output would be thousands of records.
        assert!(found == expected, "records of {limit} bytes are split otherwise");
    }
}

#[tokio::test]
async fn we_split_aggregated_records_of_another_implementation() {
    for limit in LIMITS {
        let expected = sub_records(limit as u64);
        let lines: Vec<_> = expected.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        let records = run(&["join", &limit.to_string()], &lines).await;
        let mut found = Vec::new();
        for record in &records {
            let record = STANDARD.decode(record).unwrap();
            assert!(record.len() <= limit);
            for part in AggregatedRecord::read(&record).unwrap().parts() {
                let part = part.unwrap();
                let (partition_key, data) = (part.partition_key.to_owned(), STANDARD.encode(part.data));
                found.push(SubRecord { record: 0, partition_key, data });
            }
        }
        assert!(records.len() > 1 || limit > SMALL);
        assert!(found == expected, "records of {limit} bytes are split otherwise");
    }
}

#[tokio::test]
async fn plain_records_are_not_aggregated_for_both() {
    let mut aggregate = AggregatedRecordBuilder::new(1_000);
    aggregate.add("key", b"data".to_vec()).unwrap();
    let whole = aggregate.into_bytes();
    let mut damaged = whole.clone();
    damaged[10] ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    let only_magic = whole[..4].to_vec();
    let plain = [damaged, cut, only_magic, b"plain".to_vec(), Vec::new()];

    let lines: Vec<_> = plain.iter().map(|record| STANDARD.encode(record)).collect();
    let found: Vec<SubRecord> =
        run(&["split"], &lines).await.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let themselves = lines.iter().enumerate().map(|(record, data)| SubRecord {
        record,
        partition_key: "none".to_owned(),
        data: data.clone(),
    });
    assert_eq!(found, themselves.collect::<Vec<_>>());
    let why = plain.iter().map(|record| AggregatedRecord::read(record).unwrap_err());
    let (checksum, plain) = (NotAggregated::Checksum, NotAggregated::Plain);
    assert_eq!(why.collect::<Vec<_>>(), [&checksum, &checksum, &plain, &plain, &plain].map(Clone::clone));
}

/// Thousands of records of random data, some of them empty, under repeated keys that are not all ASCII.
fn sub_records(seed: u64) -> Vec<SubRecord> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut sub_record = || {
        let key = random.random_range(0..50);
        let mut data = vec![0_u8; random.random_range(0..300)];
        random.fill(&mut data[..]);
        let partition_key =
            if key < 25 { format!("user/{key}") } else { format!("ключ-{}", "🔑".repeat(key - 24)) };
        SubRecord { record: 0, partition_key, data: STANDARD.encode(data) }
    };
    (0..3_000).map(|_| sub_record()).collect()
}

/// The output of the other implementation for some lines of input.
async fn run(arguments: &[&str], lines: &[String]) -> Vec<String> {
    let mut command = Command::new(servers::kinesis_agg());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kpl/records.py")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let (mut stdin, text) = (process.stdin.take().unwrap(), lines.join("\n") + "\n");
    let (written, output) =
        tokio::join!(async move { stdin.write_all(text.as_bytes()).await }, process.wait_with_output());
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    written.unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

const SMALL: usize = 700;

/// From a few sub-records in a record to the maximum size of a record.
const LIMITS: [usize; 3] = [SMALL, 25_600, 1 << 20];
