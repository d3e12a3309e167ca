//! The service: what can be done. What can be asked is in `questions.rs`.

use std::sync::Arc;

use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::commit::vec1;
use eventsrc_core::save::SaveSettings;
use eventsrc_core::{
    Consistency, Decider, Decision, Operation, Query, QueryApi, SaveApi, Saved, Snapshot, StreamKey,
    StreamName, Token,
};

use super::command::{Command, Failure, Reason, Step, carried_out};
use super::directory::Directory;
use super::events::{Claimed, GroupEvent, UserEvent};
use super::folds::{Group, GroupById, User, UserById};
use super::keys::{Entry, GroupId, UserId};
use super::storages::Storages;
use super::text::{DisplayName, Email, Name};

/// Users, groups and memberships.
///
/// A command that is [meant](Command::only_at) for one state of its user or group is rejected with [`Reason::Precondition`] in
/// any other: it is decided where the commit is put, so of two commands that are meant for one state, one is carried out.
///
/// Each rule is kept by one stream, because only that is decided at once:
/// - a name or an address belongs to one at a time: the directory;
/// - a deleted user stays deleted, and nothing is set on it: the user's stream;
/// - a user is in a group once: the group's stream. (In which groups a user is, is a question to many streams, for a
///   view to answer. A deleted user's membership is left standing, and not listed.)
///
/// A command that touches two streams has an order that is safe to break off anywhere and to begin anew:
/// 1. *claim* the new text in the directory, for the user (whose id a sign-up takes from the command's);
/// 2. *save* it on the user's stream, which is the moment from which it holds;
/// 3. *release* the text that it replaced, last, so that nobody gets an address while another is still reached by it.
///
/// Broken off after the first step, the text is taken and nobody has it yet: the same command, sent again, goes on
/// there. One that is never sent again keeps the text from all but that user, until it is deleted; of a sign-up there is no
/// user to delete, so its address stays taken until the same command is sent again.
pub struct Service<S: Storages> {
    pub(super) users: Decider<Arc<S::Users>, UserById>,
    pub(super) groups: Decider<Arc<S::Groups>, GroupById>,
    pub(super) directory: Directory<S::Directory>,
    clock: Arc<dyn Clock>,
    randomness: Arc<Randomness>,
}

type OnUser = Operation<UserEvent, Reason, Snapshot<u64, User>>;
type OnGroup = Operation<GroupEvent, Reason, Snapshot<u64, Group>>;

impl<S: Storages> Service<S> {
    /// The service on these storages.
    pub fn new(storages: &S, clock: Arc<dyn Clock>, randomness: Arc<Randomness>) -> Self {
        fn saves<St: eventsrc_core::EventStorage>(
            storage: St,
            clock: &Arc<dyn Clock>,
            randomness: &Arc<Randomness>,
        ) -> Arc<SaveApi<St>> {
            let settings = SaveSettings::default();
            Arc::new(SaveApi::with(storage, settings, Arc::clone(clock), Arc::clone(randomness)))
        }
        Self {
            users: Decider::new(
                saves(storages.users(), &clock, &randomness),
                Arc::new(QueryApi::new(storages.users(), UserById)),
            ),
            groups: Decider::new(
                saves(storages.groups(), &clock, &randomness),
                Arc::new(QueryApi::new(storages.groups(), GroupById)),
            ),
            directory: Directory::new(storages.directory(), saves(storages.directory(), &clock, &randomness)),
            clock,
            randomness,
        }
    }

    /// A new command.
    pub fn command(&self) -> Command {
        Command::new(self.randomness.commit_id(self.clock.now()))
    }

    /// A new user, with a name and an address that nobody has.
    ///
    /// # Errors
    ///
    /// [`Failure`], as for every command; rejected for [`Reason::Taken`].
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
        let made = User { name: Some(name.clone()), email: Some(email.clone()), display_name: None };
        let operation = OnUser::new(move |known| {
            if known.head.is_some() || !claimed.held {
                return Decision::reject(Reason::SpentCommand);
            }
            Decision::Save(vec1![UserEvent::NameSet(name.clone()), UserEvent::EmailSet(email.clone())])
        });
        let saved = self.users.save_with(&id, &command.context(Step::Save), operation).await?;
        let saved = carried_out(saved)?;
        self.check_user(id, &saved, |user| user == Some(&made)).await?;
        Ok((id, Saved { token: saved.token.join(&claimed.saved.token), ..saved }))
    }

    /// Another name for a user, that nobody has.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::Taken`] or [`Reason::NoUser`].
    pub async fn rename(&self, command: &Command, user: UserId, name: Name) -> Result<Saved, Failure> {
        let current = |user: &User| user.name.clone().map(|name| (Entry::UserName(name.text), name.claim));
        let wanted = Entry::UserName(name.clone());
        let event = |claim| UserEvent::NameSet(Claimed { text: name, claim });
        self.replace(command, user, wanted, event, current).await
    }

    /// Another address for a user, that nobody has.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::Taken`] or [`Reason::NoUser`].
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

    /// How a user wants to be addressed.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::NoUser`].
    pub async fn set_display_name(
        &self,
        command: &Command,
        user: UserId,
        name: DisplayName,
    ) -> Result<Saved, Failure> {
        let event = UserEvent::DisplayNameSet(name.clone());
        let operation = as_meant(command, user, OnUser::new(move |_| Decision::save(event.clone())));
        let saved = self.users.save_with(&user, &command.context(Step::Save), operation).await?;
        let saved = carried_out(saved)?;
        self.check_user(user, &saved, |user| user.is_some_and(|user| user.display_name == Some(name)))
            .await?;
        Ok(saved)
    }

    /// Deletes a user. The name and the address are free again.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::NoUser`].
    pub async fn delete(&self, command: &Command, user: UserId) -> Result<Saved, Failure> {
        let operation = as_meant(command, user, OnUser::new(|_| Decision::save(UserEvent::Deleted)));
        let saved = self.users.save_with(&user, &command.context(Step::Save), operation).await?;
        let saved = carried_out(saved)?;
        self.check_user(user, &saved, |user| user.is_none()).await?;
        // Nothing is set on a deleted user, so whatever was claimed for it is of no use.
        self.directory.release_all(command, &stream_of(&user)).await?;
        Ok(saved)
    }

    /// A new group, with a name that no other has.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::Taken`].
    pub async fn create_group(&self, command: &Command, name: Name) -> Result<(GroupId, Saved), Failure> {
        let id = GroupId(command.id);
        let entry = Entry::GroupName(name.clone());
        let claimed = self.directory.claim(command, &stream_of(&id), &[entry]).await?;
        let named = Claimed { text: name, claim: claimed.saved.sequence };
        let made = Some(named.clone());
        let operation = OnGroup::new(move |known| {
            if known.head.is_some() || !claimed.held {
                return Decision::reject(Reason::SpentCommand);
            }
            Decision::save(GroupEvent::NameSet(named.clone()))
        });
        let saved = self.groups.save_with(&id, &command.context(Step::Save), operation).await?;
        let saved = carried_out(saved)?;
        self.check_group(id, &saved, |group| group.name == made).await?;
        Ok((id, Saved { token: saved.token.join(&claimed.saved.token), ..saved }))
    }

    /// Adds all of `users` to a group, or none of them. The token says as what users they were added, too.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::NoGroup`], [`Reason::NoUser`] or [`Reason::Member`].
    pub async fn join(&self, command: &Command, group: GroupId, users: &[UserId]) -> Result<Saved, Failure> {
        let (mut additions, mut seen) = (Vec::new(), Token::default());
        for user in users {
            // A user who is deleted right after this is listed nowhere, so it does no harm.
            let known = self.users.query().snapshot(user, Consistency::LatestEvent).await?;
            seen = seen.join(&self.users.query().token(user, &known));
            // Those after the first are added to a group that is no longer as the caller saw it.
            let command = additions.is_empty().then(|| command.clone());
            let (user, there) = (*user, known.value.is_some());
            additions.push(OnGroup::new(move |known| {
                let unmet = command.as_ref().and_then(|command| command.unmet(known));
                match (&known.value, unmet) {
                    (None, _) => Decision::reject(Reason::NoGroup(group)),
                    (Some(_), Some(unmet)) => Decision::reject(unmet),
                    (Some(_), None) if !there => Decision::reject(Reason::NoUser(user)),
                    (Some(group), None) if group.members.contains(&user) => {
                        Decision::reject(Reason::Member(user))
                    }
                    (Some(_), None) => Decision::save(GroupEvent::MemberAdded(user)),
                }
            }));
        }
        let saved = self.groups.save_all(&group, &command.context(Step::Save), &additions).await?;
        let saved = carried_out(saved)?;
        self.check_group(group, &saved, |group| users.iter().all(|user| group.members.contains(user)))
            .await?;
        Ok(Saved { token: saved.token.join(&seen), ..saved })
    }

    /// Removes a user from a group.
    ///
    /// # Errors
    ///
    /// Rejected for [`Reason::NoGroup`] or [`Reason::NoMember`].
    pub async fn leave(&self, command: &Command, group: GroupId, user: UserId) -> Result<Saved, Failure> {
        let meant = command.clone();
        let operation = OnGroup::new(move |known| match (&known.value, meant.unmet(known)) {
            (None, _) => Decision::reject(Reason::NoGroup(group)),
            (Some(_), Some(unmet)) => Decision::reject(unmet),
            (Some(group), None) if group.members.contains(&user) => {
                Decision::save(GroupEvent::MemberRemoved(user))
            }
            (Some(_), None) => Decision::reject(Reason::NoMember(user)),
        });
        let saved = self.groups.save_with(&group, &command.context(Step::Save), operation).await?;
        let saved = carried_out(saved)?;
        self.check_group(group, &saved, |group| !group.members.contains(&user)).await?;
        Ok(saved)
    }

    /// Claims `wanted`, saves it on the user's stream, and releases what it replaced, which `current` says.
    ///
    /// Of two changes at once, the one that claimed later wins, whatever the order in which they get to the user's
    /// stream: so no claim is saved on a user after it was released.
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
            _ if !claimed.held => Decision::reject(Reason::SpentCommand),
            _ => Decision::save(event.clone()),
        });
        let context = command.context(Step::Save);
        let saved = carried_out(self.users.save_with(&user, &context, as_meant(command, user, set)).await?);
        let saved = match saved {
            Ok(saved) => {
                let is_set = |user: Option<&User>| user.and_then(current) == Some((wanted.clone(), claim));
                self.check_user(user, &saved, is_set).await.map(|()| saved)
            }
            Err(failure) => Err(failure),
        };
        if let Err(Failure::Rejected(_)) = saved {
            // None of the reasons can pass, so nobody will ever save this claim.
            self.directory.release(command, wanted, claim).await?;
        }
        let saved = saved?;
        // A user's first commit is a sign-up, so there is an event before this one.
        let before = self.users.query().at_sequence(&user, saved.sequence - 1).await?;
        if let Some((entry, replaced)) = before.value.as_ref().and_then(current)
            && replaced != claim
        {
            self.directory.release(command, entry, replaced).await?;
        }
        Ok(Saved { token: saved.token.join(&claimed.saved.token), ..saved })
    }

    /// A commit that was found, and did not do to the user what this command does, is that of another command.
    async fn check_user(
        &self,
        user: UserId,
        saved: &Saved,
        did: impl FnOnce(Option<&User>) -> bool,
    ) -> Result<(), Failure> {
        if saved.repeated {
            let after = self.users.query().at_sequence(&user, saved.sequence).await?;
            return spent_unless(did(after.value.as_ref()));
        }
        Ok(())
    }

    /// The same for a group.
    async fn check_group(
        &self,
        group: GroupId,
        saved: &Saved,
        did: impl FnOnce(&Group) -> bool,
    ) -> Result<(), Failure> {
        if saved.repeated {
            let after = self.groups.query().at_sequence(&group, saved.sequence).await?;
            return spent_unless(after.value.as_ref().is_some_and(did));
        }
        Ok(())
    }
}

fn spent_unless(did: bool) -> Result<(), Failure> {
    if did { Ok(()) } else { Err(Failure::Rejected(vec1![Reason::SpentCommand])) }
}

/// `operation`, unless the user never signed up or was deleted, or is not as the command expects.
fn as_meant(command: &Command, user: UserId, operation: OnUser) -> OnUser {
    let command = command.clone();
    OnUser::new(move |known| match (&known.value, command.unmet(known)) {
        (None, _) => Decision::reject(Reason::NoUser(user)),
        (Some(_), Some(unmet)) => Decision::reject(unmet),
        (Some(_), None) => operation.decide(known),
    })
}

fn stream_of<K: StreamKey>(key: &K) -> StreamName {
    StreamName::of(key).expect("the ids are UUIDs, and a category has no slash")
}
