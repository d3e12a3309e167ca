//! The story that `identity` plays: each run adds its own people to what earlier runs left.

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
use super::draw::{Pen, Short, count, in_short, time};
use super::events::DirectoryEvent;
use super::keys::{DirectoryKey, Entry, GroupId, UserId};
use super::service::Service;
use super::storages::{Storages, Streams};
use super::text::Name;
use super::views::{After, Kept, Questions, UserRow};

/// Limit that ends the story if the view hangs, which is there in a moment.
const IN_TIME: Duration = Duration::from_mins(10);

/// Plays the story on `storages`, of which `kept` is a view, and draws it.
///
/// # Errors
///
/// Whatever goes wrong, and nothing does unless a storage fails or the pen breaks.
pub async fn play<S, V>(
    storages: &S,
    kept: &Kept<S, V>,
    clock: Arc<dyn Clock>,
    randomness: Arc<Randomness>,
    pen: &mut Pen<'_>,
) -> anyhow::Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    let run = earlier_runs(storages).await? + 1;
    let streams = Streams {
        users: Arc::new(CountingStorage::new(Arc::clone(&kept.streams.users))),
        groups: Arc::clone(&kept.streams.groups),
        directory: Arc::clone(&kept.streams.directory),
    };
    let service = Service::new(&streams, clock, randomness);
    Story::<S, V> { streams, service, view: kept.synchronizer.clone(), run, pen }.tell().await
}

/// How often the story was begun on these storages: how many users called Ada there were.
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

/// What the view follows, with the calls on users counted.
type Watched<S> = Streams<
    CountingStorage<Arc<NotifyingStorage<Arc<<S as Storages>::Users>>>>,
    NotifyingStorage<Arc<<S as Storages>::Groups>>,
    <S as Storages>::Directory,
>;

struct Story<'a, 'p, S: Storages, V: Questions> {
    streams: Watched<S>,
    service: Service<Watched<S>>,
    view: Synchronizer<V>,
    run: u64,
    pen: &'a mut Pen<'p>,
}

impl<S: Storages, V: Questions> Story<'_, '_, S, V> {
    async fn tell(mut self) -> anyhow::Result<()> {
        let begun = self.directory_end().await?;
        match self.run {
            1 => self.pen.margin("Nothing is stored yet: this is run 1.")?,
            run => self.pen.margin(format_args!(
                "Run {run}, which goes on where the last one ended: the directory has {}.",
                count(begun, "event")
            ))?,
        }
        let ada = self.saves_and_folds(begun + 1).await?;
        let grace = self.an_address_has_one_owner().await?;
        self.a_batch_is_atomic(ada, grace).await?;
        self.a_token_guards_a_write(ada).await?;
        self.a_warm_save_is_one_request(ada).await?;
        self.a_command_can_be_repeated(ada).await?;
        self.names_change_and_ids_do_not(grace).await?;
        self.a_view_is_as_new_as_a_token_asks(grace).await?;
        self.time_travel(ada).await?;
        self.a_deleted_address_is_free(begun + 1).await?;
        let end = self.directory_end().await?;
        self.pen.margin(format_args!("\nThe directory has {} now.", count(end, "event")))?;
        Ok(())
    }

    async fn saves_and_folds(&mut self, from: u64) -> anyhow::Result<UserId> {
        self.pen.heading("A user signs up: events are saved, and folded into a value")?;
        self.pen.line(
            "The directory, one stream for all, claims what must be unique. Then the user's own stream",
        )?;
        self.pen.line("begins. Events in a bracket are one commit: stored together, or not at all.")?;
        self.pen.gap()?;
        let ada = self.sign_up("ada", "ada").await?.context("somebody else signed up as Ada meanwhile")?;
        self.draw_directory(from).await?;
        self.draw_user("ada", ada).await?;
        Ok(ada)
    }

    async fn an_address_has_one_owner(&mut self) -> anyhow::Result<UserId> {
        self.pen.heading("An address belongs to one user")?;
        self.pen.line("Grace tries Ada's address first, then her own.")?;
        self.pen.gap()?;
        self.sign_up("grace", "ada").await?;
        self.sign_up("grace", "grace").await?.context("somebody else signed up as Grace meanwhile")
    }

    async fn a_batch_is_atomic(&mut self, ada: UserId, grace: UserId) -> anyhow::Result<()> {
        self.pen.heading("A batch is atomic, and each operation in it sees those before it")?;
        let readers = self.readers().await?;
        for (who, users) in [("ada, grace, ada", vec![ada, grace, ada]), ("ada, grace", vec![ada, grace])] {
            let joined = self.service.join(&self.service.command(), readers, &users).await;
            self.pen.outcome(&format!("join {who}"), &came_to(joined)?)?;
        }
        let storage = Arc::clone(&self.streams.groups);
        self.pen.gap()?;
        self.pen.stream(&readers.short(), &*storage, &readers, 1).await?;
        let members = self.service.members(readers).await?;
        let names = members.iter().filter_map(|(_, user)| user.name.as_ref()).map(ToString::to_string);
        self.pen.value(Vec::from_iter(names).join(", "))?;
        Ok(())
    }

    async fn a_token_guards_a_write(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.pen.heading("A token guards a write")?;
        self.pen.line(
            "It says what an answer was built from. Two writers read Ada at the same token; each writes",
        )?;
        self.pen.line("only if nothing was saved of her since.")?;
        self.pen.gap()?;
        let token = self.service.user(ada).await?.token;
        for (writer, name) in [("first", "Ada Lovelace"), ("second", "Countess Ada")] {
            let command = self.service.command().only_since(&token, &ada);
            let set = self.service.set_display_name(&command, ada, name.parse()?).await;
            self.pen.outcome(&format!("{writer} writer, \"{name}\""), &came_to(set)?)?;
        }
        Ok(())
    }

    async fn a_warm_save_is_one_request(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.pen.heading("A warm save is one request")?;
        self.pen
            .line("A writer that remembers where a stream is reads nothing: the put itself checks it.")?;
        self.pen.gap()?;
        let seen = self.service.user(ada).await?.token;
        self.streams.users.take();
        let command = self.service.command().having_seen(&seen);
        let set = self.service.set_display_name(&command, ada, "Ada King".parse()?).await;
        let calls = self.streams.users.take();
        let requests = format!("{}, {}", count(calls.puts, "put"), count(calls.latest + calls.reads, "read"));
        self.pen.outcome("\"Ada King\"", &format!("{}, with {requests}", came_to(set)?))?;
        Ok(())
    }

    async fn a_command_can_be_repeated(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.pen.heading("A command can be repeated")?;
        self.pen.line("Whoever gets no answer sends the same command again, and nothing is done twice.")?;
        self.pen.gap()?;
        let command = self.service.command();
        let email = format!("ada.king{}@example.org", self.suffix());
        for time in ["once", "again"] {
            let changed = self.service.change_email(&command, ada, email.parse()?).await;
            self.pen.outcome(&format!("{time}, {email}"), &came_to(changed)?)?;
        }
        Ok(())
    }

    async fn names_change_and_ids_do_not(&mut self, grace: UserId) -> anyhow::Result<()> {
        self.pen.heading("Names change, ids do not")?;
        let (old, new) = (format!("grace{}", self.suffix()), format!("hopper{}", self.suffix()));
        let renamed = self.service.rename(&self.service.command(), grace, new.parse()?).await;
        self.pen.outcome(&format!("rename {old} to {new}"), &came_to(renamed)?)?;
        for name in [old, new] {
            let found = self.service.user_by_name(&name.parse()?).await?;
            let found = found.map_or_else(|| "nobody".into(), |id| id.short());
            self.pen.outcome(&format!("who is {name}"), &found)?;
        }
        let readers = self.readers().await?;
        let left = self.service.leave(&self.service.command(), readers, grace).await;
        self.pen.outcome("leave readers", &came_to(left)?)?;
        Ok(())
    }

    async fn a_view_is_as_new_as_a_token_asks(&mut self, grace: UserId) -> anyhow::Result<()> {
        self.pen.heading("A view answers about all streams, as new as a token asks")?;
        self.pen.line(
            "Tables of users, groups and members are kept up to date from the events, a little behind them.",
        )?;
        self.pen
            .line("A read that brings the token of a write waits for what was written, and for no more.")?;
        self.pen.gap()?;
        let prefix = format!("hopper{}", self.suffix());
        let set =
            self.service.set_display_name(&self.service.command(), grace, "Grace Hopper".parse()?).await;
        let token = set.as_ref().map(|saved| saved.token.clone()).unwrap_or_default();
        self.pen.outcome(&format!("\"Grace Hopper\" for {prefix}"), &came_to(set)?)?;
        let (view, start) = (self.view.view(), After::default());
        let (prefix, start) = (prefix.as_str(), &start);
        let find =
            |streams: Arc<[StreamName]>| async move { view.users_by_name(&streams, prefix, start).await };
        for user in self.view.at_least(&token, IN_TIME, find).await? {
            let UserRow { name, email, display_name, sequence, .. } = user;
            let display_name = display_name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let found = format!("{name} <{email}>{display_name}, as of event {sequence}");
            self.pen.outcome(&format!("names that begin with {prefix}"), &found)?;
        }
        let readers = self.readers().await?;
        let mut token = self.service.group(readers).await?.token;
        for (member, _) in self.service.members(readers).await? {
            token = token.join(&self.service.user(member).await?.token);
        }
        let group = |streams: Arc<[StreamName]>| async move { view.group(&streams, readers, start).await };
        let readers = self.view.at_least(&token, IN_TIME, group).await?;
        let names = readers.iter().flat_map(|readers| &readers.members).map(|user| user.name.as_str());
        self.pen.outcome("who is in readers", &Vec::from_iter(names).join(", "))?;
        Ok(())
    }

    async fn time_travel(&mut self, ada: UserId) -> anyhow::Result<()> {
        self.pen.heading("Every value that ever was can be folded again")?;
        let history = self.service.user_history(ada).await?;
        for snapshot in &history {
            let head = snapshot.head.context("a snapshot in a history has seen an event")?;
            let (sequence, at) = (head.sequence, time(head.time));
            self.pen.line(format_args!("{sequence:>7}  {at}  {}", in_short(snapshot.value.as_ref())))?;
        }
        self.pen.gap()?;
        let then = self.service.user_at_sequence(ada, 3).await?;
        self.pen.outcome("at event 3", &in_short(then.as_ref()))?;
        let moment = history.get(3).and_then(|snapshot| snapshot.time()).context("Ada has four events")?;
        let then = self.service.user_at_time(ada, moment).await?;
        self.pen.outcome(&format!("at {}", time(moment)), &in_short(then.as_ref()))?;
        Ok(())
    }

    async fn a_deleted_address_is_free(&mut self, from: u64) -> anyhow::Result<()> {
        self.pen.heading("A deleted user's address is free again, and the events stay")?;
        let charles = self
            .sign_up("charles", "charles")
            .await?
            .context("somebody else signed up as Charles meanwhile")?;
        let deleted = self.service.delete(&self.service.command(), charles).await;
        self.pen.outcome("delete charles", &came_to(deleted)?)?;
        self.sign_up("mary", "charles").await?;
        self.draw_user("charles", charles).await?;
        self.draw_directory(from).await
    }

    /// Signs up somebody of this run; `None` if that is rejected.
    async fn sign_up(&mut self, who: &str, address: &str) -> anyhow::Result<Option<UserId>> {
        let name = format!("{who}{}", self.suffix());
        let email = format!("{address}{}@example.org", self.suffix());
        let signed_up = self.service.sign_up(&self.service.command(), name.parse()?, email.parse()?).await;
        let (id, outcome) = match signed_up {
            Ok((id, saved)) => (Some(id), Ok(saved)),
            Err(failure) => (None, Err(failure)),
        };
        let id_in_short = id.map(|id| format!(", as {}", id.short())).unwrap_or_default();
        self.pen
            .outcome(&format!("sign up {name}, {email}"), &format!("{}{id_in_short}", came_to(outcome)?))?;
        Ok(id)
    }

    /// The group that the people of all runs join.
    async fn readers(&self) -> anyhow::Result<GroupId> {
        let name: Name = "readers".parse()?;
        match self.service.group_by_name(&name).await? {
            Some(group) => Ok(group),
            None => Ok(self.service.create_group(&self.service.command(), name).await?.0),
        }
    }

    /// Tells the people of this run from those of earlier ones.
    fn suffix(&self) -> String {
        if self.run == 1 { String::new() } else { format!("-{}", self.run) }
    }

    async fn draw_user(&mut self, name: &str, user: UserId) -> anyhow::Result<()> {
        let title = format!("{} ({name}{})", user.short(), self.suffix());
        self.pen.gap()?;
        self.pen.stream(&title, &*self.streams.users, &user, 1).await?;
        let answer = self.service.user(user).await?;
        self.pen.value(in_short(answer.snapshot.value.as_ref()))?;
        Ok(())
    }

    async fn draw_directory(&mut self, from: u64) -> anyhow::Result<()> {
        self.pen.gap()?;
        self.pen.stream("directory", &*self.streams.directory, &DirectoryKey, from).await
    }

    /// The last sequence of the directory; 0 if it has no events.
    async fn directory_end(&self) -> anyhow::Result<u64> {
        Ok(self.streams.directory.latest(&DirectoryKey).await?.map_or(0, |head| head.sequence))
    }
}

/// What became of a command, in words. A rejection is part of the story; anything else that fails ends it.
fn came_to(result: Result<Saved, Failure>) -> Result<String, Failure> {
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
