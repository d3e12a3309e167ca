//! Rebuilds that meet temporary failures.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::rebuild::{Rebuild, RebuildProgress, RebuildSettings};
use eventsrc_tests::HANG;
use tokio::time::timeout;

use super::failing_view_store::Failing;
use super::set_up::{payloads, put, settings, storage, view};

#[tokio::test]
async fn a_rebuild_reports_its_last_error_until_it_succeeds() {
    let ways: [fn(&Failing); 2] = [|failing| failing.fail(true), Failing::fail_applying_only];
    for fail in ways {
        let (storage, view) = (storage(), view());
        for stream in 0..20 {
            put(&storage, &format!("a/{stream}"), &[1, 2]).await;
        }
        let failing = Arc::new(Failing::new(Arc::clone(&view)));
        fail(&failing);
        let settings = RebuildSettings {
            progress_every: Duration::from_millis(1),
            synchronizer: settings(),
            ..RebuildSettings::default()
        };
        let rebuild = Rebuild::new(Arc::clone(&storage), Arc::clone(&failing)).with(settings);
        let mut told = Vec::new();
        let progress = |now: RebuildProgress| {
            // The failure is repaired once it is reported.
            if now.last_error.is_some() {
                failing.fail(false);
            }
            told.push(now);
        };
        let rebuilt = timeout(HANG, rebuild.run(progress)).await.expect("the failure is reported").unwrap();
        assert_eq!(rebuilt.applied_events, 40);
        assert_eq!(payloads(&view, "a/7"), [1, 2]);
        let error = told.iter().find_map(|now| now.last_error.clone()).unwrap();
        assert!(format!("{error:?}").contains("the database is out of reach"), "{error:?}");
        let last = told.last().unwrap();
        assert!(matches!(last, RebuildProgress { read: 40, total: 40, last_error: None }), "{last:?}");
    }
}
