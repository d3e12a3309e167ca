//! The scenario that `identity` runs. Each run adds its own users to the data of earlier runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::feed::NotifyingStorage;
use eventsrc_core::storage::{CountingStorage, ScanStorage};
use eventsrc_core::{
    Consistency, Event, EventStorage, Query, QueryApi, Saved, StreamName, Synchronizer, fold_fn,
};

use super::command::{Failure, Reason};
use super::events::DirectoryEvent;
use super::keys::{DirectoryKey, Entry, GroupId, UserId};
use super::print::{Printer, Short, count, time, user_line};
use super::service::Service;
use super::storages::{Storages, Streams};
use super::text::Name;
use super::views::{PageStart, SyncedView, UserRow, ViewQueries};

/// Limit that ends the scenario if the view hangs.
const VIEW_TIMEOUT: Duration = Duration::from_mins(10);

/// Runs the scenario on `storages` and on `view`, which follows them, and prints each step.
///
/// # Errors
///
/// The errors of the storages and of the printer.
pub async fn run_scenario<S, V>(
    storages: &S,
    view: &SyncedView<S, V>,
    clock: Arc<dyn Clock>,
    randomness: Arc<Randomness>,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: ViewQueries,
{
    let run = earlier_runs(storages).await? + 1;
    let streams = Streams {
        users: Arc::new(CountingStorage::new(Arc::clone(&view.streams.users))),
        groups: Arc::clone(&view.streams.groups),
        directory: Arc::clone(&view.streams.directory),
    };
    let service = Service::new(&streams, clock, randomness);
    Scenario::<S, V> { streams, service, view: view.synchronizer.clone(), run, printer }.run().await
}

/// Returns the number of earlier runs on these storages: the number of users called Ada.
async fn earlier_runs<S: Storages>(storages: &S) -> anyhow::Result<u64> {
    let adas = fold_fn(|(): &(), adas: &mut Option<u64>, event: Event<'_, DirectoryKey, u64, _>| {
        if let DirectoryEvent::Claimed { entry: Entry::UserName(name), .. } = event.payload
            && name.to_string().starts_with("ada")
        {
            *adas = Some(adas.unwrap_or(0) + 1);
        }
    });
    let adas = QueryApi::keyed(storages.directory(), adas, |(): &()| DirectoryKey);
    Ok(adas.get(&(), Consistency::LatestEvent).await?.unwrap_or(0))
}

/// The storages of the view, with the calls on users counted.
type CountedStreams<S> = Streams<
    CountingStorage<Arc<NotifyingStorage<Arc<<S as Storages>::Users>>>>,
    NotifyingStorage<Arc<<S as Storages>::Groups>>,
    <S as Storages>::Directory,
>;

struct Scenario<'a, 'p, S: Storages, V: ViewQueries> {
    streams: CountedStreams<S>,
    service: Service<CountedStreams<S>>,
    view: Synchronizer<V>,
    run: u64,
    printer: &'a mut Printer<'p>,
}

impl<S: Storages, V: ViewQueries> Scenario<'_, '_, S, V> {
    async fn run(mut self) -> anyhow::Result<()> {
        let begin = self.directory_end().await?;
        match self.run {
            1 => self.printer.margin("No events are stored yet: this is run 1.")?,
            run => self.printer.margin(format_args!(
                "Run {run} continues after the last one: the directory has {}.",
                count(begin, "event")
            ))?,
        }
        let ada = self.saves_and_folds(begin + 1).await?;
        let grace = self.an_address_has_one_owner().await?;
        self.a_batch_is_atomic(ada, grace).await?;
        self.a_token_guards_a_write(ada).await?;
        self.a_warm_save_is_one_request(ada).await?;
        self.a_command_can_be_repeated(ada).await?;
        self.names_change_and_ids_do_not(grace).await?;
        self.a_view_is_as_new_as_a_token_asks(grace).await?;
        self.time_travel(ada).await?;
        self.a_deleted_address_is_free(begin + 1).await?;
        let end = self.directory_end().await?;
        self.printer.margin(format_args!("\nThe directory has {} now.", count(end, "event")))?;
        Ok(())
    }

    async fn saves_and_folds(&mut self, from: u64) -> anyhow::Result<UserId> {
        self.printer.heading("A user signs up: events are saved and folded into a value")?;
        self.printer.line(
            "The directory is one stream for all users, with the claims of unique names and addresses. Then",
        )?;
        self.printer.line("the user's own stream begins. The events in one bracket are one commit, which is stored atomically.")?;
        self.printer.gap()?;
        let ada = self.sign_up("ada", "ada").await?.context("another process signed up Ada meanwhile")?;
        self.print_directory(from).await?;
        self.print_user("ada", ada).await?;
        Ok(ada)
    }

    async fn an_address_has_one_owner(&mut self) -> anyhow::Result<UserId> {
        self.printer.heading("An address belongs to one user")?;
        self.printer.line("Grace tries Ada's address first, then her own.")?;
        self.printer.gap()?;
        self.sign_up("grace", "ada").await?;
        self.sign_up("grace", "grace").await?.context("another process signed up Grace meanwhile")
    }

    async fn a_batch_is_atomic(&mut self, ada: UserId, grace: UserId) -> anyhow::Result<()> {
        self.printer.heading("A batch is atomic, and each operation in it sees those before it")?;
        let readers = self.readers().await?;
        for (who, users) in [("ada, grace, ada", vec![ada, grace, ada]), ("ada, grace", vec![ada, grace])] {
            let joined = self.service.join(&self.service.command(), readers, &users).await;
            self.printer.outcome(&format!("join {who}"), &outcome_text(joined)?)?;
        }
        let storage = Arc::clone(&self.streams.groups);
        self.printer.gap()?;
        self.printer.stream(&readers.short(), &*storage, &readers, 1).await?;
        let members = self.service.members(readers).await?;
        let names = members.iter().filter_map(|(_, user)| user.name.as_ref()).map(ToString::to_string);
        self.printer.value(Vec::from_iter(names).join(", "))?;
        Ok(())
    }

    async fn a_token_guards_a_write(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.printer.heading("A token guards a write")?;
        self.printer.line(
            "A token names the sequence that an answer was built from. Two writers read Ada at one token.",
        )?;
        self.printer
            .line("Each of them writes on the condition that nothing was saved to her stream since.")?;
        self.printer.gap()?;
        let token = self.service.user(ada).await?.token;
        for (writer, name) in [("first", "Ada Lovelace"), ("second", "Countess Ada")] {
            let command = self.service.command().only_since(&token, &ada);
            let set = self.service.set_display_name(&command, ada, name.parse()?).await;
            self.printer.outcome(&format!("{writer} writer, \"{name}\""), &outcome_text(set)?)?;
        }
        Ok(())
    }

    async fn a_warm_save_is_one_request(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.printer.heading("A warm save is one request")?;
        self.printer.line(
            "A writer that remembers the head of a stream reads nothing: the conditional put checks it.",
        )?;
        self.printer.gap()?;
        let seen = self.service.user(ada).await?.token;
        self.streams.users.take();
        let command = self.service.command().having_seen(&seen);
        let set = self.service.set_display_name(&command, ada, "Ada King".parse()?).await;
        let calls = self.streams.users.take();
        let requests = format!("{}, {}", count(calls.puts, "put"), count(calls.latest + calls.reads, "read"));
        self.printer.outcome("\"Ada King\"", &format!("{}, with {requests}", outcome_text(set)?))?;
        Ok(())
    }

    async fn a_command_can_be_repeated(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.printer.heading("A command can be repeated")?;
        self.printer
            .line("A caller that gets no answer sends the same command again. It is carried out once.")?;
        self.printer.gap()?;
        let command = self.service.command();
        let email = format!("ada.king{}@example.org", self.suffix());
        for time in ["once", "again"] {
            let changed = self.service.change_email(&command, ada, email.parse()?).await;
            self.printer.outcome(&format!("{time}, {email}"), &outcome_text(changed)?)?;
        }
        Ok(())
    }

    async fn names_change_and_ids_do_not(&mut self, grace: UserId) -> anyhow::Result<()> {
        self.printer.heading("Names change, ids do not")?;
        let (old, new) = (format!("grace{}", self.suffix()), format!("hopper{}", self.suffix()));
        let renamed = self.service.rename(&self.service.command(), grace, new.parse()?).await;
        self.printer.outcome(&format!("rename {old} to {new}"), &outcome_text(renamed)?)?;
        for name in [old, new] {
            let found = self.service.user_by_name(&name.parse()?).await?;
            let found = found.map_or_else(|| "no user".into(), |id| id.short());
            self.printer.outcome(&format!("who is {name}"), &found)?;
        }
        let readers = self.readers().await?;
        let left = self.service.leave(&self.service.command(), readers, grace).await;
        self.printer.outcome("leave readers", &outcome_text(left)?)?;
        Ok(())
    }

    async fn a_view_is_as_new_as_a_token_asks(&mut self, grace: UserId) -> anyhow::Result<()> {
        self.printer.heading("A view answers queries about all streams, at least as new as a token")?;
        self.printer.line(
            "A synchronizer keeps tables of users, groups and members up to date, a little behind the events.",
        )?;
        self.printer
            .line("A read with the token of a write waits until the view has that write, and no longer.")?;
        self.printer.gap()?;
        let prefix = format!("hopper{}", self.suffix());
        let set =
            self.service.set_display_name(&self.service.command(), grace, "Grace Hopper".parse()?).await;
        let token = set.as_ref().map(|saved| saved.token.clone()).unwrap_or_default();
        self.printer.outcome(&format!("\"Grace Hopper\" for {prefix}"), &outcome_text(set)?)?;
        let (view, start) = (self.view.view(), PageStart::default());
        let (prefix, start) = (prefix.as_str(), &start);
        let find =
            |streams: Arc<[StreamName]>| async move { view.users_by_name(&streams, prefix, start).await };
        for user in self.view.at_least(&token, VIEW_TIMEOUT, find).await? {
            let UserRow { name, email, display_name, sequence, .. } = user;
            let display_name = display_name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let found = format!("{name} <{email}>{display_name}, as of event {sequence}");
            self.printer.outcome(&format!("names that begin with {prefix}"), &found)?;
        }
        let readers = self.readers().await?;
        let mut token = self.service.group(readers).await?.token;
        for (member, _) in self.service.members(readers).await? {
            token = token.join(&self.service.user(member).await?.token);
        }
        let group = |streams: Arc<[StreamName]>| async move { view.group(&streams, readers, start).await };
        let readers = self.view.at_least(&token, VIEW_TIMEOUT, group).await?;
        let names = readers.iter().flat_map(|readers| &readers.members).map(|user| user.name.as_str());
        self.printer.outcome("who is in readers", &Vec::from_iter(names).join(", "))?;
        Ok(())
    }

    async fn time_travel(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.printer.heading("Every past value can be folded again")?;
        let history = self.service.user_history(ada).await?;
        for snapshot in &history {
            let head = snapshot.head.context("a snapshot in a history has a sequence")?;
            let (sequence, at) = (head.sequence, time(head.time));
            self.printer.line(format_args!("{sequence:>7}  {at}  {}", user_line(snapshot.value.as_ref())))?;
        }
        self.printer.gap()?;
        let then = self.service.user_at_sequence(ada, 3).await?;
        self.printer.outcome("at event 3", &user_line(then.as_ref()))?;
        let moment = history.get(3).and_then(|snapshot| snapshot.time()).context("Ada has four events")?;
        let then = self.service.user_at_time(ada, moment).await?;
        self.printer.outcome(&format!("at {}", time(moment)), &user_line(then.as_ref()))?;
        Ok(())
    }

    async fn a_deleted_address_is_free(&mut self, from: u64) -> anyhow::Result<()> {
        self.printer.heading("The address of a deleted user is free again, and the events stay")?;
        let charles = self
            .sign_up("charles", "charles")
            .await?
            .context("another process signed up Charles meanwhile")?;
        let deleted = self.service.delete(&self.service.command(), charles).await;
        self.printer.outcome("delete charles", &outcome_text(deleted)?)?;
        self.sign_up("mary", "charles").await?;
        self.print_user("charles", charles).await?;
        self.print_directory(from).await
    }

    /// Signs up a user of this run; `None` if the command is rejected.
    async fn sign_up(&mut self, who: &str, address: &str) -> anyhow::Result<Option<UserId>> {
        let name = format!("{who}{}", self.suffix());
        let email = format!("{address}{}@example.org", self.suffix());
        let signed_up = self.service.sign_up(&self.service.command(), name.parse()?, email.parse()?).await;
        let (id, outcome) = match signed_up {
            Ok((id, saved)) => (Some(id), Ok(saved)),
            Err(failure) => (None, Err(failure)),
        };
        let short_id = id.map(|id| format!(", as {}", id.short())).unwrap_or_default();
        self.printer
            .outcome(&format!("sign up {name}, {email}"), &format!("{}{short_id}", outcome_text(outcome)?))?;
        Ok(id)
    }

    /// Returns the group that the users of all runs join, and creates it in the first run.
    async fn readers(&self) -> anyhow::Result<GroupId> {
        let name: Name = "readers".parse()?;
        match self.service.group_by_name(&name).await? {
            Some(group) => Ok(group),
            None => Ok(self.service.create_group(&self.service.command(), name).await?.0),
        }
    }

    /// Suffix of the names of this run, which are unique among all runs.
    fn suffix(&self) -> String {
        if self.run == 1 { String::new() } else { format!("-{}", self.run) }
    }

    async fn print_user(&mut self, name: &str, user: UserId) -> anyhow::Result<()> {
        let title = format!("{} ({name}{})", user.short(), self.suffix());
        self.printer.gap()?;
        self.printer.stream(&title, &*self.streams.users, &user, 1).await?;
        let answer = self.service.user(user).await?;
        self.printer.value(user_line(answer.snapshot.value.as_ref()))?;
        Ok(())
    }

    async fn print_directory(&mut self, from: u64) -> anyhow::Result<()> {
        self.printer.gap()?;
        self.printer.stream("directory", &*self.streams.directory, &DirectoryKey, from).await
    }

    /// Returns the last sequence of the directory; 0 if it has no events.
    async fn directory_end(&self) -> anyhow::Result<u64> {
        Ok(self.streams.directory.latest(&DirectoryKey).await?.map_or(0, |head| head.sequence))
    }
}

/// Describes the outcome of a command. A rejection is a part of the scenario; any other failure ends it.
fn outcome_text(result: Result<Saved, Failure>) -> Result<String, Failure> {
    match result {
        Ok(Saved { sequence, repeated: true, .. }) => Ok(format!("was saved before, at event {sequence}")),
        Ok(Saved { sequence, .. }) => Ok(format!("saved, now at event {sequence}")),
        Err(Failure::Rejected(reasons)) => {
            let reasons = reasons.iter().map(|reason| match reason {
                Reason::Member(user) => format!("{} is a member already", user.short()),
                other => other.to_string(),
            });
            Ok(format!("rejected: {}", Vec::from_iter(reasons).join("; ")))
        }
        Err(failure) => Err(failure),
    }
}
