//! A command that is interrupted at any call and repeated has the same effect as one without interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use eventsrc_core::Timestamp;
use eventsrc_core::clock::Randomness;
use eventsrc_examples::identity::{
    Command, DirectoryEvent, DirectoryKey, Failure, GroupEvent, GroupId, InMemory, Reason, Service, Storages,
    UserEvent, UserId,
};

use super::faults::{FailingStorages, Fate, failing};
use super::time::TickingClock;
use super::{assert_consistent, email, name, payloads, reasons, said_by_the_directory, said_by_the_owners};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandKind {
    SignUp,
    SignUpWithTakenAddress,
    Rename,
    ChangeEmail,
    ChangeEmailToTheSame,
    ChangeEmailOfNobody,
    SetDisplayName,
    Delete,
    CreateGroup,
    Join,
    Leave,
}

const COMMAND_KINDS: [CommandKind; 11] = [
    CommandKind::SignUp,
    CommandKind::SignUpWithTakenAddress,
    CommandKind::Rename,
    CommandKind::ChangeEmail,
    CommandKind::ChangeEmailToTheSame,
    CommandKind::ChangeEmailOfNobody,
    CommandKind::SetDisplayName,
    CommandKind::Delete,
    CommandKind::CreateGroup,
    CommandKind::Join,
    CommandKind::Leave,
];

impl CommandKind {
    async fn carry_out<S: Storages>(
        self,
        service: &Service<S>,
        there: &Existing,
        command: &Command,
    ) -> Result<(), Failure> {
        let Existing { ada, grace, charles, readers } = *there;
        match self {
            Self::SignUp => service.sign_up(command, name("new"), email("new@example.org")).await.map(drop),
            Self::SignUpWithTakenAddress => {
                service.sign_up(command, name("new"), email("ada@example.org")).await.map(drop)
            }
            Self::Rename => service.rename(command, ada, name("king")).await.map(drop),
            Self::ChangeEmail => {
                service.change_email(command, ada, email("king@example.org")).await.map(drop)
            }
            Self::ChangeEmailToTheSame => {
                service.change_email(command, ada, email("ada@example.org")).await.map(drop)
            }
            Self::ChangeEmailOfNobody => {
                service.change_email(command, charles, email("new@example.org")).await.map(drop)
            }
            Self::SetDisplayName => {
                service.set_display_name(command, ada, "Ada".parse().unwrap()).await.map(drop)
            }
            Self::Delete => service.delete(command, ada).await.map(drop),
            Self::CreateGroup => service.create_group(command, name("writers")).await.map(drop),
            Self::Join => service.join(command, readers, &[grace]).await.map(drop),
            Self::Leave => service.leave(command, readers, ada).await.map(drop),
        }
    }
}

/// The users and groups that exist before the command. Charles is deleted.
struct Existing {
    ada: UserId,
    grace: UserId,
    charles: UserId,
    readers: GroupId,
}

/// Every payload of every stream.
type Streams = (Vec<DirectoryEvent>, Vec<Vec<UserEvent>>, Vec<Vec<GroupEvent>>);

#[tokio::test]
async fn a_command_interrupted_at_any_call_and_repeated_ends_as_without_interruption() {
    for deed in COMMAND_KINDS {
        let (expected, whole) = uninterrupted(deed).await;
        for fate in [Fate::Failed, Fate::Lost] {
            let mut calls = 0;
            while let Some((answer, streams)) = broken_off(deed, calls, fate).await {
                assert_eq!(answer, expected, "{deed:?}, {fate:?} at call {calls}");
                assert_eq!(streams, whole, "{deed:?}, {fate:?} at call {calls}");
                calls += 1;
            }
            assert!(calls >= 2, "{deed:?} makes at least two calls");
        }
    }
}

#[tokio::test]
async fn an_abandoned_command_keeps_its_claim_until_the_user_repeats_it() {
    let (storages, there, _) = broken_off_after_the_claim(CommandKind::ChangeEmail).await;
    let service = cold(&failing(&storages, || Fate::Answered));
    let other = service.change_email(&new_command(101), there.grace, email("king@example.org")).await;
    assert!(matches!(other, Err(Failure::Rejected(_))), "{other:?}");
    assert_eq!(service.user_by_name(&name("ada")).await.unwrap(), Some(there.ada));
    service.change_email(&new_command(102), there.ada, email("king@example.org")).await.unwrap();
    assert_consistent(&storages).await;
}

#[tokio::test]
async fn a_command_repeated_after_a_later_one_is_superseded_and_releases_its_claim() {
    let (storages, there, command) = broken_off_after_the_claim(CommandKind::ChangeEmail).await;
    let service = cold(&failing(&storages, || Fate::Answered));
    service.change_email(&new_command(101), there.ada, email("later@example.org")).await.unwrap();
    let again = CommandKind::ChangeEmail.carry_out(&service, &there, &command).await;
    assert_eq!(*reasons(again).first(), Reason::Overtaken);
    service.change_email(&new_command(102), there.grace, email("king@example.org")).await.unwrap();
    assert_consistent(&storages).await;
}

#[tokio::test]
async fn a_sign_up_interrupted_after_its_claim_is_no_user_yet() {
    let (storages, there, command) = broken_off_after_the_claim(CommandKind::SignUp).await;
    assert!(said_by_the_directory(&storages).await.len() > said_by_the_owners(&storages).await.len());
    let service = cold(&failing(&storages, || Fate::Answered));
    assert_eq!(service.user_by_name(&name("new")).await.unwrap(), None);
    CommandKind::SignUp.carry_out(&service, &there, &command).await.unwrap();
    assert_eq!(service.user_by_name(&name("new")).await.unwrap(), Some(UserId(command.id)));
    assert_consistent(&storages).await;
}

#[tokio::test]
async fn the_id_of_a_command_interrupted_after_its_claim_is_rejected_for_another_command() {
    let (storages, there, command) = broken_off_after_the_claim(CommandKind::SignUp).await;
    let service = cold(&failing(&storages, || Fate::Answered));
    let other = service.sign_up(&command, name("other"), email("other@example.org")).await;
    assert_eq!(*reasons(other).first(), Reason::SpentCommand);
    assert_eq!(service.user_by_name(&name("other")).await.unwrap(), None);
    CommandKind::SignUp.carry_out(&service, &there, &command).await.unwrap();
    assert_consistent(&storages).await;

    let (storages, there, command) = broken_off_after_the_claim(CommandKind::ChangeEmail).await;
    let service = cold(&failing(&storages, || Fate::Answered));
    let other = service.change_email(&command, there.ada, email("other@example.org")).await;
    assert_eq!(*reasons(other).first(), Reason::SpentCommand);
    CommandKind::ChangeEmail.carry_out(&service, &there, &command).await.unwrap();
    assert_consistent(&storages).await;
}

async fn uninterrupted(deed: CommandKind) -> (String, Streams) {
    let storages = InMemory::default();
    let (there, command) = prepare(&storages).await;
    let result = deed.carry_out(&cold(&failing(&storages, || Fate::Answered)), &there, &command).await;
    assert_consistent(&storages).await;
    (format!("{result:?}"), streams(&storages, &there, &command).await)
}

/// The answer to the repeated command, and the streams. `None` if the command makes no more calls than `calls`.
async fn broken_off(deed: CommandKind, calls: u64, fate: Fate) -> Option<(String, Streams)> {
    let storages = InMemory::default();
    let (there, command) = prepare(&storages).await;
    let broken = cold(&failing(&storages, fuse(calls, fate)));
    match deed.carry_out(&broken, &there, &command).await {
        Err(Failure::Unknown(_) | Failure::Unreadable(_)) => {}
        _ => return None,
    }
    let result = deed.carry_out(&cold(&failing(&storages, || Fate::Answered)), &there, &command).await;
    assert_consistent(&storages).await;
    Some((format!("{result:?}"), streams(&storages, &there, &command).await))
}

async fn broken_off_after_the_claim(deed: CommandKind) -> (InMemory, Existing, Command) {
    for calls in 1.. {
        let storages = InMemory::default();
        let (there, command) = prepare(&storages).await;
        let begun = payloads(&*storages.directory, &DirectoryKey).await.len();
        let broken = cold(&failing(&storages, fuse(calls, Fate::Failed)));
        deed.carry_out(&broken, &there, &command).await.unwrap_err();
        if payloads(&*storages.directory, &DirectoryKey).await.len() > begun {
            return (storages, there, command);
        }
    }
    unreachable!("a deed that claims ends without a claim")
}

/// The same users at every call, so that streams can be compared.
async fn prepare(storages: &InMemory) -> (Existing, Command) {
    let service = cold(&failing(storages, || Fate::Answered));
    let mut users = Vec::new();
    for (number, who) in (1..).zip(["ada", "grace", "charles"]) {
        let address = email(&format!("{who}@example.org"));
        users.push(service.sign_up(&new_command(number), name(who), address).await.unwrap().0);
    }
    let (ada, grace, charles) = (users[0], users[1], users[2]);
    service.delete(&new_command(4), charles).await.unwrap();
    let (readers, _) = service.create_group(&new_command(5), name("readers")).await.unwrap();
    service.join(&new_command(6), readers, &[ada]).await.unwrap();
    (Existing { ada, grace, charles, readers }, new_command(100))
}

async fn streams(storages: &InMemory, there: &Existing, command: &Command) -> Streams {
    let directory = payloads(&*storages.directory, &DirectoryKey).await;
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for user in [there.ada, there.grace, there.charles, UserId(command.id)] {
        users.push(payloads(&*storages.users, &user).await);
    }
    for group in [there.readers, GroupId(command.id)] {
        groups.push(payloads(&*storages.groups, &group).await);
    }
    (directory, users, groups)
}

fn new_command(number: u64) -> Command {
    Command::new(Randomness::seeded(number).commit_id(Timestamp::UNIX_EPOCH))
}

fn cold(storages: &FailingStorages<InMemory>) -> Service<FailingStorages<InMemory>> {
    Service::new(storages, Arc::new(TickingClock::default()), Arc::new(Randomness::seeded(1)))
}

/// Lets `calls` calls through. The next one meets `fate`, and all later ones fail.
fn fuse(calls: u64, fate: Fate) -> impl Fn() -> Fate + Send + Sync {
    let made = AtomicU64::new(0);
    move || match made.fetch_add(1, Ordering::Relaxed) {
        call if call < calls => Fate::Answered,
        call if call == calls => fate,
        _ => Fate::Failed,
    }
}
