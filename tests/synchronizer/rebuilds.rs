//! A rebuild that meets trouble on its way.

use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::{Progress, Rebuild, RebuildSettings};
use tokio::time::timeout;

use super::set_up::{PATIENCE, payloads, put, settings, storage, view};
use super::trouble::Failing;

#[tokio::test]
async fn what_is_in_the_way_of_a_rebuild_is_told_until_it_is_over() {
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
        let progress = |now: Progress| {
            // It is mended once it was told.
            if now.trouble.is_some() {
                failing.fail(false);
            }
            told.push(now);
        };
        let rebuilt = timeout(PATIENCE, rebuild.run(progress)).await.expect("the trouble is told").unwrap();
        assert_eq!(rebuilt.applied_events, 40);
        assert_eq!(payloads(&view, "a/7"), [1, 2]);
        let trouble = told.iter().find_map(|now| now.trouble.clone()).unwrap();
        assert!(trouble.contains("the database is out of reach"), "{trouble}");
        assert_eq!(told.last().unwrap(), &Progress { read: 40, total: 40, trouble: None });
    }
}
