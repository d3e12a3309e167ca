//! The commands of the service. Its queries are in `queries.rs`.

use std::sync::Arc;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::vec1;
use eventsrc_core::save::SaveSettings;
use eventsrc_core::{
    Consistency, Decider, Decision, Operation, Query, QueryApi, SaveApi, Saved, Snapshot, StreamKey,
    StreamName, Token,
};

use super::command::{Command, Failure, Reason, Step, into_result};
use super::directory::Directory;
use super::events::{Claimed, GroupEvent, UserEvent};
use super::folds::{Group, GroupById, User, UserById};
use super::keys::{Entry, GroupId, UserId};
use super::storages::Storages;
use super::text::{DisplayName, Email, Name};

/// A service for users, groups and memberships.
///
/// A command with a [precondition](Command::only_at) is rejected with [`Reason::Precondition`] if its user or group is at
/// another sequence. The conditional write itself checks this, so of two commands with one precondition, one is carried
/// out.
///
/// One stream enforces each rule, because only a single stream is changed atomically:
/// - A name or an address has one owner at a time: the directory.
/// - A deleted user stays deleted, and no event follows: the user's stream.
/// - A user is a member of a group once: the group's stream. The groups of a user are a query over many streams, which a
///   view answers. The membership of a deleted user stays and is not listed.
///
/// A command that changes two streams has steps that can be interrupted anywhere and repeated:
/// 1. *Claim* the new text in the directory for the user. The id of a new user is the id of the command.
/// 2. *Save* the text to the user's stream. It is in effect from this moment on.
/// 3. *Release* the replaced text, last, so that no other user gets an address that is still in use.
///
/// A command that is interrupted after the first step leaves a text that is claimed and not in use. The same command, sent
/// again, continues from there. If it is never sent again, only that user can use the text, until the user is deleted. A
/// sign-up leaves no user to delete, so its texts stay claimed until the same command is sent again.
pub struct Service<S: Storages> {
    pub(super) users: Decider<Arc<S::Users>, UserById>,
    pub(super) groups: Decider<Arc<S::Groups>, GroupById>,
    pub(super) directory: Directory<S::Directory>,
    clock: Arc<dyn Clock>,
    randomness: Arc<Randomness>,
}

/// Number of events at the end of a stream among which a command that is sent again is recognised, if its caller has not
/// seen the stream.
const REPEATS_AMONG: u32 = 1_000;

type OnUser = Operation<UserEvent, Reason, Snapshot<u64, User>>;
type OnGroup = Operation<GroupEvent, Reason, Snapshot<u64, Group>>;

impl<S: Storages> Service<S> {
    /// Creates the service on these storages.
    pub fn new(storages: &S, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        fn saves<St: eventsrc_core::EventStorage>(
            storage: St,
            clock: &Arc<dyn Clock>,
            randomness: &Arc<Randomness>,
        ) -> Arc<SaveApi<St>> {
            let settings = SaveSettings { repeats_among: REPEATS_AMONG, ..SaveSettings::default() };
            Arc::new(SaveApi::with(storage, settings, Arc::clone(clock), Arc::clone(randomness)))
        }
        Self {
            users: Decider::with(saves(storages.users(), &clock, &randomness), |storage| {
                QueryApi::new(storage, UserById)
            }),
            groups: Decider::with(saves(storages.groups(), &clock, &randomness), |storage| {
                QueryApi::new(storage, GroupById)
            }),
            directory: Directory::new(saves(storages.directory(), &clock, &randomness)),
            clock,
            randomness,
        }
    }

    /// Creates a command with a new id.
    pub fn command(&self) -> Command {
        Command::new(self.randomness.commit_id(self.clock.now()))
    }

    /// Creates a user with an unused name and address.
    ///
    /// # Errors
    ///
    /// [`Failure`], as for every command. Rejected with [`Reason::Taken`].
    pub async fn sign_up(
        &self,
        command: &Command,
        name: Name,
        email: Email,
    ) -> Result<(UserId, Saved), Failure> {
        let id = UserId(command.id);
        let entries = [Entry::UserName(name.clone()), Entry::Email(email.clone())];
        let claimed = self.directory.claim(command, &stream_of(&id), &entries).await?;
        let claim = claimed.saved.sequence;
        let (name, email) = (Claimed { text: name, claim }, Claimed { text: email, claim });
        let created = User { name: Some(name.clone()), email: Some(email.clone()), display_name: None };
        let operation = OnUser::new(move |known| {
            if known.head.is_some() || !claimed.is_held {
                return Decision::reject(Reason::SpentCommand);
            }
            Decision::Save(vec1![UserEvent::NameSet(name.clone()), UserEvent::EmailSet(email.clone())])
        });
        let saved = self.users.save_with(&id, &command.context(Step::Save), operation).await?;
        let saved = into_result(saved)?;
        self.check_user(id, &saved, |user| user == Some(&created)).await?;
        Ok((id, Saved { token: saved.token.join(&claimed.saved.token), ..saved }))
    }

    /// Gives a user another, unused name.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::Taken`] or [`Reason::NoUser`].
    pub async fn rename(&self, command: &Command, user: UserId, name: Name) -> Result<Saved, Failure> {
        let current = |user: &User| user.name.clone().map(|name| (Entry::UserName(name.text), name.claim));
        let wanted = Entry::UserName(name.clone());
        let event = |claim| UserEvent::NameSet(Claimed { text: name, claim });
        self.replace(command, user, wanted, event, current).await
    }

    /// Gives a user another, unused address.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::Taken`] or [`Reason::NoUser`].
    pub async fn change_email(
        &self,
        command: &Command,
        user: UserId,
        email: Email,
    ) -> Result<Saved, Failure> {
        let current = |user: &User| user.email.clone().map(|email| (Entry::Email(email.text), email.claim));
        let wanted = Entry::Email(email.clone());
        let event = |claim| UserEvent::EmailSet(Claimed { text: email, claim });
        self.replace(command, user, wanted, event, current).await
    }

    /// Sets the display name of a user.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::NoUser`].
    pub async fn set_display_name(
        &self,
        command: &Command,
        user: UserId,
        name: DisplayName,
    ) -> Result<Saved, Failure> {
        let wanted = name.clone();
        let set = OnUser::new(move |known| {
            let before = known.value.as_ref().and_then(|user| user.display_name.clone());
            Decision::save(UserEvent::DisplayNameSet { name: wanted.clone(), before })
        });
        let operation = with_precondition(command, user, set);
        let saved = self.users.save_with(&user, &command.context(Step::Save), operation).await?;
        let saved = into_result(saved)?;
        self.check_user(user, &saved, |user| user.is_some_and(|user| user.display_name == Some(name)))
            .await?;
        Ok(saved)
    }

    /// Deletes a user, and releases the name and the address.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::NoUser`].
    pub async fn delete(&self, command: &Command, user: UserId) -> Result<Saved, Failure> {
        let operation = with_precondition(command, user, OnUser::new(|_| Decision::save(UserEvent::Deleted)));
        let saved = self.users.save_with(&user, &command.context(Step::Save), operation).await?;
        let saved = into_result(saved)?;
        self.check_user(user, &saved, |user| user.is_none()).await?;
        // No event follows for a deleted user, so its claims have no further use.
        self.directory.release_all(command, &stream_of(&user)).await?;
        Ok(saved)
    }

    /// Creates a group with an unused name.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::Taken`].
    pub async fn create_group(&self, command: &Command, name: Name) -> Result<(GroupId, Saved), Failure> {
        let id = GroupId(command.id);
        let entry = Entry::GroupName(name.clone());
        let claimed = self.directory.claim(command, &stream_of(&id), &[entry]).await?;
        let named = Claimed { text: name, claim: claimed.saved.sequence };
        let created = Some(named.clone());
        let operation = OnGroup::new(move |known| {
            if known.head.is_some() || !claimed.is_held {
                return Decision::reject(Reason::SpentCommand);
            }
            Decision::save(GroupEvent::NameSet(named.clone()))
        });
        let saved = self.groups.save_with(&id, &command.context(Step::Save), operation).await?;
        let saved = into_result(saved)?;
        self.check_group(id, &saved, |group| group.name == created).await?;
        Ok((id, Saved { token: saved.token.join(&claimed.saved.token), ..saved }))
    }

    /// Adds all of `users` to a group, or none of them. The token of the result includes the sequences of the users.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::NoGroup`], [`Reason::NoUser`] or [`Reason::Member`].
    pub async fn join(&self, command: &Command, group: GroupId, users: &[UserId]) -> Result<Saved, Failure> {
        let (mut additions, mut seen) = (Vec::new(), Token::default());
        for user in users {
            // A user that is deleted after this read is not listed as a member, so the race is harmless.
            let known = self.users.query().snapshot(user, Consistency::LatestEvent).await?;
            seen = seen.join(&self.users.query().token(user, &known));
            // The precondition holds for the first addition only; the others see the group after it.
            let command = additions.is_empty().then(|| command.clone());
            let (user, exists) = (*user, known.value.is_some());
            additions.push(OnGroup::new(move |known| {
                let failed = command.as_ref().and_then(|command| command.failed_precondition(known));
                match (&known.value, failed) {
                    (None, _) => Decision::reject(Reason::NoGroup(group)),
                    (Some(_), Some(reason)) => Decision::reject(reason),
                    (Some(_), None) if !exists => Decision::reject(Reason::NoUser(user)),
                    (Some(group), None) if group.members.contains(&user) => {
                        Decision::reject(Reason::Member(user))
                    }
                    (Some(_), None) => Decision::save(GroupEvent::MemberAdded(user)),
                }
            }));
        }
        let saved = self.groups.save_all(&group, &command.context(Step::Save), &additions).await?;
        let saved = into_result(saved)?;
        self.check_group(group, &saved, |group| users.iter().all(|user| group.members.contains(user)))
            .await?;
        Ok(Saved { token: saved.token.join(&seen), ..saved })
    }

    /// Removes a user from a group.
    ///
    /// # Errors
    ///
    /// Rejected with [`Reason::NoGroup`] or [`Reason::NoMember`].
    pub async fn leave(&self, command: &Command, group: GroupId, user: UserId) -> Result<Saved, Failure> {
        let condition = command.clone();
        let operation =
            OnGroup::new(move |known| match (&known.value, condition.failed_precondition(known)) {
                (None, _) => Decision::reject(Reason::NoGroup(group)),
                (Some(_), Some(reason)) => Decision::reject(reason),
                (Some(group), None) if group.members.contains(&user) => {
                    Decision::save(GroupEvent::MemberRemoved(user))
                }
                (Some(_), None) => Decision::reject(Reason::NoMember(user)),
            });
        let saved = self.groups.save_with(&group, &command.context(Step::Save), operation).await?;
        let saved = into_result(saved)?;
        self.check_group(group, &saved, |group| !group.members.contains(&user)).await?;
        Ok(saved)
    }

    /// Claims `wanted`, saves it to the user's stream, and releases the replaced entry, which `current` returns.
    ///
    /// Of two concurrent changes, the one with the later claim wins, whatever the order of their saves. A released claim is
    /// therefore never saved to the user's stream.
    async fn replace(
        &self,
        command: &Command,
        user: UserId,
        wanted: Entry,
        event: impl FnOnce(u64) -> UserEvent,
        current: fn(&User) -> Option<(Entry, u64)>,
    ) -> Result<Saved, Failure> {
        let claimed = self.directory.claim(command, &stream_of(&user), std::slice::from_ref(&wanted)).await?;
        let claim = claimed.saved.sequence;
        let event = event(claim);
        let set = OnUser::new(move |known| match known.value.as_ref().and_then(current) {
            Some((_, later)) if later > claim => Decision::reject(Reason::Overtaken),
            _ if !claimed.is_held => Decision::reject(Reason::SpentCommand),
            _ => Decision::save(event.clone()),
        });
        let context = command.context(Step::Save);
        let saved =
            into_result(self.users.save_with(&user, &context, with_precondition(command, user, set)).await?);
        let saved = match saved {
            Ok(saved) => {
                let is_set = |user: Option<&User>| user.and_then(current) == Some((wanted.clone(), claim));
                self.check_user(user, &saved, is_set).await.map(|()| saved)
            }
            Err(failure) => Err(failure),
        };
        if let Err(Failure::Rejected(_)) = saved {
            // All of these reasons are permanent, so this claim will never be saved.
            self.directory.release(command, wanted, claim).await?;
        }
        let saved = saved?;
        // The first commit of a user is the sign-up, so there is an event before this one.
        let before = self.users.query().at_sequence(&user, saved.sequence - 1).await?;
        if let Some((entry, replaced)) = before.value.as_ref().and_then(current)
            && replaced != claim
        {
            self.directory.release(command, entry, replaced).await?;
        }
        Ok(Saved { token: saved.token.join(&claimed.saved.token), ..saved })
    }

    /// Rejects a repeated commit that did not have the effect of this command: it belongs to another command.
    async fn check_user(
        &self,
        user: UserId,
        saved: &Saved,
        has_effect: impl FnOnce(Option<&User>) -> bool,
    ) -> Result<(), Failure> {
        if saved.repeated {
            let after = self.users.query().at_sequence(&user, saved.sequence).await?;
            return spent_unless(has_effect(after.value.as_ref()));
        }
        Ok(())
    }

    /// Checks a commit to a group in the same way.
    async fn check_group(
        &self,
        group: GroupId,
        saved: &Saved,
        has_effect: impl FnOnce(&Group) -> bool,
    ) -> Result<(), Failure> {
        if saved.repeated {
            let after = self.groups.query().at_sequence(&group, saved.sequence).await?;
            return spent_unless(after.value.as_ref().is_some_and(has_effect));
        }
        Ok(())
    }
}

fn spent_unless(has_effect: bool) -> Result<(), Failure> {
    if has_effect { Ok(()) } else { Err(Failure::Rejected(vec1![Reason::SpentCommand])) }
}

/// Adds checks to `operation`: the user exists, and the precondition of the command is met.
fn with_precondition(command: &Command, user: UserId, operation: OnUser) -> OnUser {
    let command = command.clone();
    OnUser::new(move |known| match (&known.value, command.failed_precondition(known)) {
        (None, _) => Decision::reject(Reason::NoUser(user)),
        (Some(_), Some(reason)) => Decision::reject(reason),
        (Some(_), None) => operation.decide(known),
    })
}

fn stream_of<K: StreamKey>(key: &K) -> StreamName {
    StreamName::of(key).expect("the ids are UUIDs, and a category has no slash")
}
