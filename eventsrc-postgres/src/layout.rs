//! The tables of events and snapshots. This file alone knows their names and the SQL.
//!
//! A commit is one row: its payloads are packed as [`EncodedPayloads`](eventsrc_core::backend::EncodedPayloads) defines it, text as text, so that a table can be read with
//! `psql`. The primary key is what a scan goes along, so that a segment is a range of it, read in pages that begin where
//! the last one ended. There is no number that counts all commits: it would be given out before a transaction commits, so
//! that a reader who had seen 11 could not know whether 10 was still to come, unless all writers waited for each other.

mod columns;
mod snapshots;

use eventsrc_core::StreamName;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::bucket::bucket;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::migration::{Part, in_schema};
use crate::settings::Settings;
pub(crate) use columns::{Bytes, CommitRow, HeadRow, PageRow, Unreadable};
pub(crate) use snapshots::{SnapshotKey, SnapshotLayout, SnapshotRow};

/// Events and snapshots.
pub(crate) const PART: Part = Part { name: "events", migrations: &[VERSION_1], grants: GRANTS };

const VERSION_1: &str = r#"
    CREATE TABLE {schema}.commits (
        number bigint NOT NULL,         -- of the first event
        time bigint NOT NULL,           -- microseconds since 1970
        version bigint NOT NULL,        -- of the payloads
        zone integer NOT NULL,
        count integer NOT NULL,
        bucket smallint NOT NULL,       -- a hash of the name
        commit_id uuid NOT NULL,
        category text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        payload_text text,              -- one of the two
        payload_bytes bytea,
        lengths bytea,                  -- NULL for one payload
        metadata text,                  -- JSON; NULL if it says no more than the commit id
        PRIMARY KEY (bucket, category, id, number)
    );
    CREATE FUNCTION {schema}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'stored commits are never changed' USING ERRCODE = 'insufficient_privilege';
        END
    $$;
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.commits
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
    CREATE TABLE {schema}.cached (
        name text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        fold_version bigint NOT NULL,
        number bigint NOT NULL,
        zone integer NOT NULL,
        time bigint NOT NULL,
        version bigint NOT NULL,        -- of the value
        value_text text,                -- both NULL for a deleted value
        value_bytes bytea,
        PRIMARY KEY (name, key, fold_version)
    );
    CREATE TABLE {schema}.epochs (
        LIKE {schema}.cached,
        PRIMARY KEY (name, key, fold_version, number, zone)
    );
"#;

const GRANTS: &str = "
    REVOKE ALL ON {schema}.commits, {schema}.cached, {schema}.epochs FROM {role};
    GRANT SELECT, INSERT ON {schema}.commits TO {role};
    GRANT SELECT, INSERT, UPDATE ON {schema}.cached, {schema}.epochs TO {role};
";

/// The statements, for the tables of one schema.
pub(crate) struct Layout {
    put: String,
    look: String,
    head: String,
    stream_page: String,
    segment_page: String,
    heads_page: String,
}

/// The columns of a commit, in the order of [`CommitRow::read`].
const COMMIT: &str =
    "number, zone, count, time, commit_id, version, payload_text, payload_bytes, lengths, metadata";

/// The commits of the stream that `given` names.
const OWN: &str = "
    FROM {schema}.commits AS own
    WHERE own.bucket = given.bucket AND own.category = given.category AND own.id = given.id";

/// The head of the stream that `given` names.
const HEAD: &str = "SELECT number + (count - 1) AS number, zone, time {own} ORDER BY own.number DESC LIMIT 1";

/// The last commit of the stream that `given` names which does not begin after the number that is given.
const EXISTING: &str =
    "SELECT {commit} {own} AND own.number <= given.number ORDER BY own.number DESC LIMIT 1";

/// Commits of different streams, each of which goes after the head of its stream, if that is where it belongs. One row
/// for each that is stored, without a head, and for each that does not belong there, with what is in the way. Of a
/// commit that somebody else was faster than, in a transaction that this one does not see yet, there is none.
///
/// Most often the head is right before the commit, or beyond it. It is looked for there first, because a search in the
/// whole of a long stream reads a whole page of the index.
///
/// The rows go in in the order in which they are given, which is the same for everybody: so nobody waits in a circle.
const PUT: &str = "
    WITH given AS MATERIALIZED (
        SELECT given.*, coalesce(near.number, head.number) AS head_number, coalesce(near.zone, head.zone) AS head_zone,
            coalesce(near.time, head.time) AS head_time
        FROM unnest(
            $1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::integer[], $6::integer[], $7::bigint[],
            $8::uuid[], $9::bigint[], $10::text[], $11::bytea[], $12::bytea[], $13::text[]
        ) WITH ORDINALITY AS given (bucket, category, id, {commit}, place)
        LEFT JOIN LATERAL (
            SELECT number + (count - 1) AS number, zone, time {own} AND own.number >= given.number - 4
            ORDER BY own.number DESC LIMIT 1
        ) AS near ON true
        LEFT JOIN LATERAL (
            SELECT number + (count - 1) AS number, zone, time {own} AND near.number IS NULL AND given.number > 1
            ORDER BY own.number DESC LIMIT 1
        ) AS head ON true
    ), stored AS (
        INSERT INTO {schema}.commits (bucket, category, id, {commit})
        SELECT bucket, category, id, {commit} FROM given
        WHERE number - 1 = coalesce(head_number, number - 1) ORDER BY place
        ON CONFLICT DO NOTHING RETURNING category, id
    )
    SELECT category, id, NULL AS head_number, NULL AS head_zone, NULL AS head_time,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM stored
    UNION ALL
    SELECT category, id, head_number, head_zone, head_time, existing.*
    FROM given LEFT JOIN LATERAL ({existing}) AS existing ON true
    WHERE given.number - 1 <> head_number";

/// What is in the way of commits, in the columns of [`PUT`].
const LOOK: &str = "
    SELECT category, id, head.number, head.zone, head.time, existing.*
    FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bigint[]) AS given (bucket, category, id, number)
    JOIN LATERAL ({head}) AS head ON true LEFT JOIN LATERAL ({existing}) AS existing ON true";

/// A stream's commits, from the one on that holds the number $4.
const IN_STREAM: &str = "
    bucket = $1 AND category = $2 AND id = $3 AND (number >= $4 OR number + (count - 1) >= $4)
    AND number >= coalesce(
        (SELECT max(number) FROM {schema}.commits
         WHERE bucket = $1 AND category = $2 AND id = $3 AND number <= $4), $4)";

/// The commits of the buckets before $5, after a place in the primary key.
const IN_SEGMENT: &str = "(bucket, category, id, number) > ($1, $2, $3, $4) AND bucket < $5";

/// The streams of the buckets before $4, after a place in the primary key, each found in one step from the last.
const HEADS_PAGE: &str = "
    WITH RECURSIVE given AS (
        (SELECT bucket, category, id FROM {schema}.commits
         WHERE (bucket, category, id) > ($1, $2, $3) AND bucket < $4 ORDER BY bucket, category, id LIMIT 1)
        UNION ALL
        SELECT next.* FROM given, LATERAL (
            SELECT bucket, category, id FROM {schema}.commits AS own
            WHERE (own.bucket, own.category, own.id) > (given.bucket, given.category, given.id)
            AND own.bucket < $4 ORDER BY own.bucket, own.category, own.id LIMIT 1
        ) AS next
    )
    SELECT bucket, category, given.id, head.number, head.zone, head.time
    FROM (SELECT * FROM given LIMIT {commits_per_page}) AS given, LATERAL ({head}) AS head";

impl Layout {
    /// The statements for the tables in `schema`, and pages of the size that `settings` ask for.
    ///
    /// The size stands in the SQL, so that the planner knows how little is wanted.
    pub(crate) fn new(schema: &Identifier, settings: &Settings) -> Self {
        let commits_per_page = settings.commits_per_page.max(1).to_string();
        let bytes_per_page = settings.bytes_per_page.max(1).to_string();
        let fill = |sql: &str| {
            let sql = sql.replace("{head}", HEAD).replace("{existing}", EXISTING).replace("{own}", OWN);
            let sql = sql.replace("{commit}", COMMIT).replace("{commits_per_page}", &commits_per_page);
            in_schema(&sql, schema)
        };
        let page = |columns: &str, order: &str, condition: &str| {
            fill(&format!(
                "SELECT {columns} FROM (
                    SELECT *, sum(size) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - size AS before FROM (
                        SELECT {columns}, octet_length(coalesce(payload_text, ''))
                            + octet_length(coalesce(payload_bytes, '')) + octet_length(coalesce(lengths, ''))
                            + octet_length(coalesce(metadata, '')) AS size
                        FROM {{schema}}.commits WHERE {condition} ORDER BY {order} LIMIT {commits_per_page}
                    ) AS read
                ) AS sized WHERE before < {bytes_per_page} ORDER BY {order}"
            ))
        };
        Self {
            put: fill(PUT),
            look: fill(LOOK),
            head: fill("SELECT head.* FROM (SELECT $1::smallint, $2::text, $3::text) AS given (bucket, category, id),
                 LATERAL ({head}) AS head"),
            stream_page: page(COMMIT, "number", IN_STREAM),
            segment_page: page(&format!("{COMMIT}, bucket, category, id"), "bucket, category, id, number", IN_SEGMENT),
            heads_page: fill(HEADS_PAGE),
        }
    }

    /// Puts `commits`, which are of different streams and in the order of [`Stream`]. What each came to is in its place;
    /// `None` where it takes [`look`](Layout::look) to tell.
    pub(crate) async fn put(
        &self,
        connections: &Connections,
        commits: &[(&Stream, &CommitRow)],
    ) -> Result<Vec<Option<Found>>, Failure> {
        let all = || commits.iter().copied();
        let parameters: [&(dyn ToSql + Sync); 13] = [
            &all().map(|(stream, _)| stream.bucket).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.category()).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.id()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.number).collect::<Vec<_>>(),
            &all().map(|(_, commit)| i32::from(commit.zone)).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.count).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.time).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.commit_id).collect::<Vec<_>>(),
            &all().map(|(_, commit)| i64::from(commit.version)).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.payloads.as_text()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.payloads.as_binary()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.lengths.as_deref()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.metadata.as_deref()).collect::<Vec<_>>(),
        ];
        let rows = connections.query("cannot store", &self.put, &parameters).await?;
        found(&rows, &all().map(|(stream, _)| stream).collect::<Vec<_>>())
    }

    /// What is in the way of `commits`, which are of different streams; `None` for a stream without commits.
    pub(crate) async fn look(
        &self,
        connections: &Connections,
        commits: &[(&Stream, &CommitRow)],
    ) -> Result<Vec<Option<Found>>, Failure> {
        let all = || commits.iter().copied();
        let parameters: [&(dyn ToSql + Sync); 4] = [
            &all().map(|(stream, _)| stream.bucket).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.category()).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.id()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.number).collect::<Vec<_>>(),
        ];
        let rows = connections.query("cannot read", &self.look, &parameters).await?;
        found(&rows, &all().map(|(stream, _)| stream).collect::<Vec<_>>())
    }

    /// The head of `stream`.
    pub(crate) async fn head(
        &self,
        connections: &Connections,
        stream: &Stream,
    ) -> Result<Option<HeadRow>, Failure> {
        let (category, id) = stream.parts();
        let rows = connections.query("cannot read", &self.head, &[&stream.bucket, &category, &id]).await?;
        rows.first().map(|row| HeadRow::read(row, 0)).transpose().map_err(cannot_read)
    }

    /// A page of the commits of `stream`, from the one on that holds the number `from`.
    pub(crate) async fn stream_page(
        &self,
        connections: &Connections,
        stream: &Stream,
        from: i64,
    ) -> Result<Vec<PageRow>, Failure> {
        let (category, id) = stream.parts();
        let parameters: [&(dyn ToSql + Sync); 4] = [&stream.bucket, &category, &id, &from];
        let rows = connections.query("cannot read", &self.stream_page, &parameters).await?;
        Ok(rows.into_iter().map(PageRow).collect())
    }

    /// A page of the commits after `after`, in buckets before `end`.
    pub(crate) async fn segment_page(
        &self,
        connections: &Connections,
        after: &Place,
        end: i16,
    ) -> Result<Vec<PageRow>, Failure> {
        let Place { bucket, category, id, number } = after;
        let parameters: [&(dyn ToSql + Sync); 5] = [bucket, category, id, number, &end];
        let rows = connections.query("cannot read", &self.segment_page, &parameters).await?;
        Ok(rows.into_iter().map(PageRow).collect())
    }

    /// A page of the streams after the one of `after`, in buckets before `end`, each with its head; the number of its
    /// place says nothing.
    pub(crate) async fn heads_page(
        &self,
        connections: &Connections,
        after: &Place,
        end: i16,
    ) -> Result<Vec<(Place, HeadRow)>, Failure> {
        let Place { bucket, category, id, .. } = after;
        let parameters: [&(dyn ToSql + Sync); 4] = [bucket, category, id, &end];
        let rows = connections.query("cannot read", &self.heads_page, &parameters).await?;
        let placed = |row: &Row| {
            let (bucket, category, id) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok((Place { bucket, category, id, number: 0 }, HeadRow::read(row, 3)?))
        };
        rows.iter().map(placed).collect::<Result<_, _>>().map_err(cannot_read)
    }
}

fn cannot_read(error: tokio_postgres::Error) -> Failure {
    Failure::new("cannot read", error)
}

/// A stream, and where it lies. The order is the one in which commits of several streams are put.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stream {
    bucket: i16,
    name: StreamName,
}

impl Stream {
    /// The stream called `name`.
    pub(crate) fn new(name: StreamName) -> Self {
        Self { bucket: bucket(&name), name }
    }

    fn parts(&self) -> (&str, &str) {
        (self.name.category(), self.name.id())
    }
}

/// A place in the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    bucket: i16,
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) number: i64,
}

impl Place {
    /// The place before all streams of `bucket`.
    pub(crate) fn before(bucket: i16) -> Self {
        Self { bucket, category: String::new(), id: String::new(), number: 0 }
    }

    /// The place of a commit in a page of many streams, which ends at `number`.
    pub(crate) fn of(row: &PageRow, number: i64) -> Result<Self, Failure> {
        let place = || {
            let (category, id) = row.name()?;
            Ok(Self { bucket: row.bucket()?, category: category.into(), id: id.into(), number })
        };
        place().map_err(cannot_read)
    }
}

/// What a put met.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the commit is stored.
    Stored,
    /// A stream that ends at `head`, elsewhere than right before the commit; and its last commit that does not begin after
    /// the one that was put, if there is one that can be read.
    InTheWay { head: HeadRow, existing: Option<CommitRow> },
}

/// What rows of [`PUT`] and [`LOOK`] say of each of `streams`, which are in their order.
fn found(rows: &[Row], streams: &[&Stream]) -> Result<Vec<Option<Found>>, Failure> {
    let mut all: Vec<_> = streams.iter().map(|_| None).collect();
    let read = |row: &Row| {
        let Some(_) = row.try_get::<_, Option<i64>>(2)? else { return Ok(Found::Stored) };
        let existing = row.try_get::<_, Option<i64>>(5)?.and_then(|_| CommitRow::read(row, 5).ok());
        Ok(Found::InTheWay { head: HeadRow::read(row, 2)?, existing })
    };
    // Rows mostly come in the order of the streams, so that the next one is the one that is looked for.
    let mut next = 0;
    for row in rows {
        let parts = (row.try_get(0).map_err(cannot_read)?, row.try_get(1).map_err(cannot_read)?);
        if let Some(place) =
            (next..streams.len()).chain(0..next).find(|place| streams[*place].parts() == parts)
        {
            all[place] = Some(read(row).map_err(cannot_read)?);
            next = place + 1;
        }
    }
    Ok(all)
}
