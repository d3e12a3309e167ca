//! The list of runs. A new run is one more entry here, and a module of its own.

use anyhow::Result;
use futures::future::BoxFuture;

use crate::{
    bus, contention, histories, hung_server, kills, lost_http_replies, lost_replies, restored_store,
    rolling_migration, seeded_bugs, server_kills, views,
};

/// One of the reliability runs.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// The unit of the attempts.
    pub(crate) unit: &'static str,
    /// Number of attempts in a full run, and in a quick one.
    pub(crate) full: u64,
    pub(crate) quick: u64,
    pub(crate) run: fn(Trial) -> BoxFuture<'static, Result<Findings>>,
}

/// Number of attempts, and the seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) attempts: u64,
    pub(crate) seed: u64,
}

/// Number of attempts, and the violations.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) attempted: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) note: String,
}

/// All runs, in the order in which they are run.
pub(crate) const RUNS: &[Run] = &[
    Run {
        name: "histories-memory",
        unit: "racing operations",
        full: 200_000,
        quick: 50_000,
        run: |trial| Box::pin(histories::memory(trial)),
    },
    Run {
        name: "histories-memory-faults",
        unit: "racing operations under faults",
        full: 200_000,
        quick: 20_000,
        run: |trial| Box::pin(histories::memory_under_faults(trial)),
    },
    Run {
        name: "histories-sqlite",
        unit: "racing operations",
        full: 200_000,
        quick: 20_000,
        run: |trial| Box::pin(histories::sqlite(trial)),
    },
    Run {
        name: "histories-sqlite-faults",
        unit: "racing operations under faults",
        full: 200_000,
        quick: 10_000,
        run: |trial| Box::pin(histories::sqlite_under_faults(trial)),
    },
    Run {
        name: "histories-postgres",
        unit: "racing operations",
        full: 200_000,
        quick: 2_000,
        run: |trial| Box::pin(histories::postgres(trial)),
    },
    Run {
        name: "histories-postgres-faults",
        unit: "racing operations under faults",
        full: 200_000,
        quick: 2_000,
        run: |trial| Box::pin(histories::postgres_under_faults(trial)),
    },
    Run {
        name: "histories-dynamo",
        unit: "racing operations",
        full: 200_000,
        quick: 500,
        run: |trial| Box::pin(histories::dynamo(trial)),
    },
    Run {
        name: "histories-dynamo-faults",
        unit: "racing operations under faults",
        full: 200_000,
        quick: 400,
        run: |trial| Box::pin(histories::dynamo_under_faults(trial)),
    },
    Run {
        name: "seeded-bugs",
        unit: "wrong storages, each to be found out",
        full: 5,
        quick: 5,
        run: |trial| Box::pin(seeded_bugs::detected(trial)),
    },
    Run {
        name: "lost-replies-memory",
        unit: "lost replies, each put or saved again",
        full: 10_000,
        quick: 2_000,
        run: |trial| Box::pin(lost_replies::memory(trial)),
    },
    Run {
        name: "lost-replies-sqlite",
        unit: "lost replies, each put or saved again",
        full: 10_000,
        quick: 2_000,
        run: |trial| Box::pin(lost_replies::sqlite(trial)),
    },
    Run {
        name: "lost-replies-dynamo",
        unit: "lost replies, each put or saved again",
        full: 10_000,
        quick: 200,
        run: |trial| Box::pin(lost_http_replies::dynamo(trial)),
    },
    Run {
        name: "contention",
        unit: "saves against a writer that never rests",
        full: 10_000,
        quick: 500,
        run: |trial| Box::pin(contention::saves(trial)),
    },
    Run {
        name: "hung-server",
        unit: "saves while the server is silent at times",
        full: 10_000,
        quick: 300,
        run: |trial| Box::pin(hung_server::saves(trial)),
    },
    Run {
        name: "restored-store",
        unit: "saves on what a restore has undone",
        full: 8_000,
        quick: 400,
        run: |trial| Box::pin(restored_store::all_backends(trial)),
    },
    Run {
        name: "rolling-migration",
        unit: "events saved during moves to another storage",
        full: 100_000,
        quick: 2_000,
        run: |trial| Box::pin(rolling_migration::sqlite(trial)),
    },
    Run {
        name: "sqlite-kills",
        unit: "writers killed",
        full: 200,
        quick: 20,
        run: |trial| Box::pin(kills::sqlite(trial)),
    },
    Run {
        name: "dynamo-kills",
        unit: "writers killed",
        full: 200,
        quick: 10,
        run: |trial| Box::pin(kills::dynamo(trial)),
    },
    Run {
        name: "dynamo-server-kills",
        unit: "servers killed",
        full: 20,
        quick: 1,
        run: |trial| Box::pin(server_kills::dynamo(trial)),
    },
    Run {
        name: "git-history-kills",
        unit: "imports killed",
        full: 20,
        quick: 3,
        run: |trial| Box::pin(kills::git_history(trial)),
    },
    Run {
        name: "git-history-rebuild-kills",
        unit: "rebuilds killed",
        full: 20,
        quick: 3,
        run: |trial| Box::pin(kills::git_history_rebuilds(trial)),
    },
    Run {
        name: "view-deliveries-sqlite",
        unit: "deliveries to racing workers",
        full: 1_000_000,
        quick: 20_000,
        run: |trial| Box::pin(views::deliveries_sqlite(trial)),
    },
    Run {
        name: "view-kills-sqlite",
        unit: "workers killed",
        full: 500,
        quick: 20,
        run: |trial| Box::pin(views::kills_sqlite(trial)),
    },
    Run {
        name: "rebuild-kills-sqlite",
        unit: "rebuilds killed",
        full: 20,
        quick: 5,
        run: |trial| Box::pin(views::rebuilds_sqlite(trial)),
    },
    Run {
        name: "view-deliveries-postgres",
        unit: "deliveries to racing workers",
        full: 1_000_000,
        quick: 20_000,
        run: |trial| Box::pin(views::deliveries_postgres(trial)),
    },
    Run {
        name: "view-kills-postgres",
        unit: "workers killed",
        full: 500,
        quick: 20,
        run: |trial| Box::pin(views::kills_postgres(trial)),
    },
    Run {
        name: "view-zombies-postgres",
        unit: "workers stopped, overtaken and woken up",
        full: 50,
        quick: 5,
        run: |trial| Box::pin(views::zombies_postgres(trial)),
    },
    Run {
        name: "rebuild-kills-postgres",
        unit: "rebuilds killed",
        full: 20,
        quick: 5,
        run: |trial| Box::pin(views::rebuilds_postgres(trial)),
    },
    Run {
        name: "fresh-reads",
        unit: "reads at least as new as a token",
        full: 100_000,
        quick: 10_000,
        run: |trial| Box::pin(views::fresh_reads(trial)),
    },
    Run {
        name: "bus-kills",
        unit: "processes killed or paused between DynamoDB and Postgres",
        full: 250,
        quick: 5,
        run: |trial| Box::pin(bus::kills(trial)),
    },
    Run {
        name: "bus-native",
        unit: "commits whose records come out of order, repeatedly or not at all",
        full: 20_000,
        quick: 400,
        run: |trial| Box::pin(bus::native(trial)),
    },
    Run {
        name: "bus-reads",
        unit: "writes, each read with its token from another process",
        full: 10_000,
        quick: 100,
        run: |trial| Box::pin(bus::reads(trial)),
    },
];
