//! Statements on commits.

use eventsrc_core::backend::EncodedCommit;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::columns::{COMMIT, HEAD_COLUMNS, HeadRow, PageRow};
use super::insert_result::InsertResult;
use super::scan_cursor::ScanCursor;
use super::stream_location::StreamLocation;
use crate::connections::Connections;
use crate::failure::Failure;
use crate::identifier::Identifier;
use crate::migration::in_schema;
use crate::settings::Settings;

/// Statements on the commits in one schema.
pub(crate) struct EventLayout {
    put: String,
    find_conflicts: String,
    recent: String,
    stream_page: String,
    segment_page: String,
    heads_page: String,
}

/// Commits of the stream in `given`.
const OWN: &str = "
    FROM {schema}.commits AS own
    WHERE own.bucket = given.bucket AND own.category = given.category AND own.id = given.id";

/// Head of the stream in `given`.
const HEAD: &str = "SELECT {head_columns} {own} ORDER BY own.number DESC LIMIT 1";

/// Last commit of the stream in `given` that does not begin after the number in `given`.
const EXISTING: &str =
    "SELECT {commit} {own} AND own.number <= given.number ORDER BY own.number DESC LIMIT 1";

/// True if the commit in `given` directly follows the head of its stream, and names it or no previous commit.
const FOLLOWS: &str = "given.number - 1 = coalesce(given.head_number, 0)
    AND (given.previous IS NULL OR given.previous IS NOT DISTINCT FROM given.head_commit_id)";

/// Conditional write of commits of different streams: inserts each commit that directly follows the head of its stream.
///
/// Returns a row for each inserted commit, and a row with the head, if there is one, and the existing commit for each that
/// does not follow. It returns no row for a commit that lost a race against a transaction that this statement does not
/// see yet. No commit is inserted after a head that the statement does not see, so no race leaves a hole.
///
/// The head is mostly right before the commit or after it, so the statement looks there first. A search in the whole of
/// a long stream reads a whole page of the index.
///
/// All writers insert rows in the order of [`StreamLocation`], so they cannot deadlock.
const PUT: &str = "
    WITH given AS MATERIALIZED (
        SELECT given.*, coalesce(near.number, head.number) AS head_number, coalesce(near.zone, head.zone) AS head_zone,
            coalesce(near.time, head.time) AS head_time, coalesce(near.commit_id, head.commit_id) AS head_commit_id
        FROM unnest(
            $1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::integer[], $6::integer[], $7::bigint[],
            $8::uuid[], $9::uuid[], $10::bigint[], $11::text[], $12::bytea[], $13::bytea[], $14::text[]
        ) WITH ORDINALITY AS given (bucket, category, id, {commit}, place)
        LEFT JOIN LATERAL (
            SELECT {head_columns} {own} AND own.number >= given.number - 4 ORDER BY own.number DESC LIMIT 1
        ) AS near ON true
        LEFT JOIN LATERAL (
            SELECT {head_columns} {own} AND near.number IS NULL AND given.number > 1 ORDER BY own.number DESC LIMIT 1
        ) AS head ON true
    ), stored AS (
        INSERT INTO {schema}.commits (bucket, category, id, {commit})
        SELECT bucket, category, id, {commit} FROM given WHERE {follows} ORDER BY place
        ON CONFLICT DO NOTHING RETURNING category, id
    )
    SELECT category, id, true AS is_stored, NULL AS head_number, NULL AS head_zone, NULL AS head_time,
        NULL AS head_commit_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM stored
    UNION ALL
    SELECT category, id, false, head_number, head_zone, head_time, head_commit_id, existing.*
    FROM given LEFT JOIN LATERAL ({existing}) AS existing ON given.number <= given.head_number
    WHERE NOT ({follows})";

/// Heads of the streams of commits, and existing commits, in the columns of [`PUT`].
const FIND_CONFLICTS: &str = "
    SELECT category, id, false, head.number, head.zone, head.time, head.commit_id, existing.*
    FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bigint[]) AS given (bucket, category, id, number)
    JOIN LATERAL ({head}) AS head ON true
    LEFT JOIN LATERAL ({existing}) AS existing ON given.number <= head.number";

/// Heads after each of the last $4 commits of a stream, newest first.
const RECENT: &str = "
    SELECT {head_columns} FROM {schema}.commits AS own
    WHERE own.bucket = $1 AND own.category = $2 AND own.id = $3 ORDER BY own.number DESC LIMIT $4";

/// Condition for the commits of a stream, from the one that holds the number $4.
const IN_STREAM: &str = "
    bucket = $1 AND category = $2 AND id = $3 AND (number >= $4 OR number + (count - 1) >= $4)
    AND number >= coalesce(
        (SELECT max(number) FROM {schema}.commits
         WHERE bucket = $1 AND category = $2 AND id = $3 AND number <= $4), $4)";

/// Condition for the commits after a cursor, in buckets before $5.
const IN_SEGMENT: &str = "(bucket, category, id, number) > ($1, $2, $3, $4) AND bucket < $5";

/// Heads of the streams after a cursor, in buckets before $4. Each stream is found from the previous one in one step.
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
    SELECT bucket, category, given.id, head.number, head.zone, head.time, head.commit_id
    FROM (SELECT * FROM given LIMIT {commits_per_page}) AS given, LATERAL ({head}) AS head";

impl EventLayout {
    /// Statements for the tables in `schema`, with the page size of `settings`.
    ///
    /// The page size is part of the SQL, so that the planner can use it.
    pub(crate) fn new(schema: &Identifier, settings: &Settings) -> Self {
        let commits_per_page = settings.commits_per_page.max(1).to_string();
        let bytes_per_page = settings.bytes_per_page.max(1).to_string();
        let fill = |sql: &str| {
            let sql = sql.replace("{head}", HEAD).replace("{existing}", EXISTING).replace("{own}", OWN);
            let sql = sql.replace("{follows}", FOLLOWS).replace("{head_columns}", HEAD_COLUMNS);
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
            find_conflicts: fill(FIND_CONFLICTS),
            recent: fill(RECENT),
            stream_page: page(COMMIT, "number", IN_STREAM),
            segment_page: page(
                &format!("{COMMIT}, bucket, category, id"),
                "bucket, category, id, number",
                IN_SEGMENT,
            ),
            heads_page: fill(HEADS_PAGE),
        }
    }

    /// Inserts `commits`, which are of different streams, sorted by [`StreamLocation`] and in range of the columns (see
    /// [`encode`](crate::rows::encode)). Returns one result for each;
    /// `None` if only [`find_conflicts`](EventLayout::find_conflicts) can determine it.
    pub(crate) async fn put(
        &self,
        connections: &Connections,
        commits: &[(&StreamLocation, &EncodedCommit<'static>)],
    ) -> Result<Vec<Option<InsertResult>>, Failure> {
        let all = || commits.iter().copied();
        let parameters: [&(dyn ToSql + Sync); 14] = [
            &all().map(|(stream, _)| stream.bucket).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.category()).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.id()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.number as i64).collect::<Vec<_>>(),
            &all().map(|(_, commit)| i32::from(commit.zone)).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.count as i32).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.time).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.commit_id).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.previous).collect::<Vec<_>>(),
            &all().map(|(_, commit)| i64::from(commit.version)).collect::<Vec<_>>(),
            &all().map(|(_, commit)| text(commit)).collect::<Vec<_>>(),
            &all().map(|(_, commit)| (!commit.text).then_some(&*commit.payloads)).collect::<Vec<_>>(),
            &all()
                .map(|(_, commit)| Some(&*commit.lengths).filter(|all| !all.is_empty()))
                .collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.metadata.as_deref()).collect::<Vec<_>>(),
        ];
        let rows = connections.query("cannot store", &self.put, &parameters).await?;
        let streams: Vec<_> = all().map(|(stream, _)| stream).collect();
        InsertResult::read_all(&rows, &streams).map_err(cannot_read)
    }

    /// Finds the conflicts of `commits`, which are of different streams; `None` for a stream without commits.
    pub(crate) async fn find_conflicts(
        &self,
        connections: &Connections,
        commits: &[(&StreamLocation, &EncodedCommit<'static>)],
    ) -> Result<Vec<Option<InsertResult>>, Failure> {
        let all = || commits.iter().copied();
        let parameters: [&(dyn ToSql + Sync); 4] = [
            &all().map(|(stream, _)| stream.bucket).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.category()).collect::<Vec<_>>(),
            &all().map(|(stream, _)| stream.name.id()).collect::<Vec<_>>(),
            &all().map(|(_, commit)| commit.number as i64).collect::<Vec<_>>(),
        ];
        let rows = connections.query("cannot read", &self.find_conflicts, &parameters).await?;
        let streams: Vec<_> = all().map(|(stream, _)| stream).collect();
        InsertResult::read_all(&rows, &streams).map_err(cannot_read)
    }

    /// Heads after each of the last `count` commits of `stream`, newest first.
    pub(crate) async fn recent(
        &self,
        connections: &Connections,
        stream: &StreamLocation,
        count: i64,
    ) -> Result<Vec<HeadRow>, Failure> {
        let (category, id) = stream.parts();
        let parameters: [&(dyn ToSql + Sync); 4] = [&stream.bucket, &category, &id, &count];
        let rows = connections.query("cannot read", &self.recent, &parameters).await?;
        rows.iter().map(|row| HeadRow::read(row, 0)).collect::<Result<_, _>>().map_err(cannot_read)
    }

    /// Page of the commits of `stream`, from the one that holds the number `from`.
    pub(crate) async fn stream_page(
        &self,
        connections: &Connections,
        stream: &StreamLocation,
        from: i64,
    ) -> Result<Vec<PageRow>, Failure> {
        let (category, id) = stream.parts();
        let parameters: [&(dyn ToSql + Sync); 4] = [&stream.bucket, &category, &id, &from];
        let rows = connections.query("cannot read", &self.stream_page, &parameters).await?;
        Ok(rows.into_iter().map(PageRow).collect())
    }

    /// Page of the commits after `after`, in buckets before `end`.
    pub(crate) async fn segment_page(
        &self,
        connections: &Connections,
        after: &ScanCursor,
        end: i16,
    ) -> Result<Vec<PageRow>, Failure> {
        let ScanCursor { bucket, category, id, number } = after;
        let parameters: [&(dyn ToSql + Sync); 5] = [bucket, category, id, number, &end];
        let rows = connections.query("cannot read", &self.segment_page, &parameters).await?;
        Ok(rows.into_iter().map(PageRow).collect())
    }

    /// Page of the heads of the streams after that of `after`, in buckets before `end`. Each head comes with a cursor of
    /// its stream, whose number is unused.
    pub(crate) async fn heads_page(
        &self,
        connections: &Connections,
        after: &ScanCursor,
        end: i16,
    ) -> Result<Vec<(ScanCursor, HeadRow)>, Failure> {
        let ScanCursor { bucket, category, id, .. } = after;
        let parameters: [&(dyn ToSql + Sync); 4] = [bucket, category, id, &end];
        let rows = connections.query("cannot read", &self.heads_page, &parameters).await?;
        let read = |row: &Row| {
            let (bucket, category, id) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok((ScanCursor { bucket, category, id, number: 0 }, HeadRow::read(row, 3)?))
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(cannot_read)
    }
}

/// Payloads of a commit that has text.
fn text<'a>(commit: &'a EncodedCommit<'static>) -> Option<&'a str> {
    commit
        .text
        .then(|| std::str::from_utf8(&commit.payloads).expect("the text was checked when it was encoded"))
}

fn cannot_read(error: tokio_postgres::Error) -> Failure {
    Failure::new("cannot read", error)
}
