//! Many callers at once.

use std::sync::{Arc, Mutex};

use eventsrc_examples::identity::{Command, Failure, GroupId, Reason, Service, Storages, UserId};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::faults::{Fate, failing};
use super::{
    assert_consistent, claimants, email, name, on_memory_and_sqlite, reasons, said_by_the_directory,
    said_by_the_owners, signed_up, started,
};

on_memory_and_sqlite!(
    of_fifty_sign_ups_for_one_address_exactly_one_wins,
    fifty_people_sign_up_at_once,
    races_with_failures_leave_the_directory_and_the_users_consistent,
);

async fn of_fifty_sign_ups_for_one_address_exactly_one_wins(storages: impl Storages) {
    let services = Arc::new([started(&storages), started(&storages), started(&storages)]);
    let racing = (0..50).map(|number| {
        let services = Arc::clone(&services);
        tokio::spawn(async move {
            let service = &services[number % 3];
            let name = name(&format!("user-{number}"));
            service.sign_up(&service.command(), name, email("wanted@example.org")).await
        })
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        join_all(racing).await.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for lost in lost {
        assert!(matches!(reasons(lost).first(), Reason::Taken(_)));
    }
    assert_eq!(claimants::<UserId, _>(&storages).await, [won[0].as_ref().unwrap().0]);
    assert_consistent(&storages).await;
}

async fn fifty_people_sign_up_at_once(storages: impl Storages) {
    let service = Arc::new(started(&storages));
    let racing = (0..50).map(|number| {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let (command, who) = (service.command(), format!("user-{number}"));
            let address = email(&format!("{who}@example.org"));
            loop {
                let signed_up = service.sign_up(&command, name(&who), address.clone()).await;
                if is_answer(&signed_up) {
                    return signed_up.unwrap().0;
                }
            }
        })
    });
    let mut ids = Vec::from_iter(join_all(racing).await.into_iter().map(Result::unwrap));
    ids.sort();
    assert_eq!(claimants::<UserId, _>(&storages).await, ids);
    assert_consistent(&storages).await;
}

/// Several callers compete for a few names and addresses, on storages with random failures.
async fn races_with_failures_leave_the_directory_and_the_users_consistent(storages: impl Storages) {
    const CALLERS: u64 = 6;
    const COMMANDS: usize = 3;
    // A later change repairs the damage of an earlier one, so the check is frequent.
    const ROUNDS: u64 = 40;
    let seed = 20_261_121;
    let steady = started(&storages);
    let mut users = Vec::new();
    for number in 0..4 {
        users.push(signed_up(&steady, &format!("user-{number}")).await);
    }
    let (group, _) = steady.create_group(&steady.command(), name("all")).await.unwrap();

    let fates = Mutex::new(StdRng::seed_from_u64(seed));
    let unsteady = failing(&storages, move || match fates.lock().unwrap().random_range(0..20) {
        0 => Fate::Failed,
        1 => Fate::Lost,
        _ => Fate::Answered,
    });
    let services = Arc::new([started(&unsteady), started(&unsteady), started(&unsteady)]);
    let users = Arc::new(Mutex::new(users));
    for round in 0..ROUNDS {
        let racing = (0..CALLERS).map(|caller| {
            let (services, users) = (Arc::clone(&services), Arc::clone(&users));
            let mut random = StdRng::seed_from_u64(seed + round * CALLERS + caller);
            tokio::spawn(async move {
                for _ in 0..COMMANDS {
                    let command = services[0].command();
                    let deed = CommandKind::drawn(&mut random, &users.lock().unwrap(), group);
                    // Each attempt goes to another process, as with a load balancer.
                    for service in services.iter().cycle().skip(random.random_range(0..3)) {
                        let result = deed.carry_out(service, &command).await;
                        if is_answer(&result) {
                            let signed_up = result.is_ok() && matches!(deed, CommandKind::SignUp(..));
                            users.lock().unwrap().extend(signed_up.then_some(UserId(command.id)));
                            break;
                        }
                    }
                }
            })
        });
        let finished = join_all(racing).await;
        assert!(finished.iter().all(Result::is_ok), "seed {seed}: {finished:?}");
        let (directory, owners) =
            (said_by_the_directory(&storages).await, said_by_the_owners(&storages).await);
        assert_eq!(directory, owners, "seed {seed}, round {round}");
    }
}

#[derive(Debug, Clone)]
enum CommandKind {
    SignUp(usize, usize),
    Rename(UserId, usize),
    ChangeEmail(UserId, usize),
    Delete(UserId),
    Join(GroupId, UserId),
    Leave(GroupId, UserId),
}

impl CommandKind {
    fn drawn(random: &mut StdRng, users: &[UserId], group: GroupId) -> Self {
        // Most users who signed up long ago are deleted.
        let user = users[random.random_range(users.len().saturating_sub(3)..users.len())];
        let (text, other) = (random.random_range(0..4), random.random_range(0..4));
        match random.random_range(0..40) {
            0..6 => Self::SignUp(text, other),
            6..14 => Self::Rename(user, text),
            14..30 => Self::ChangeEmail(user, text),
            30..32 => Self::Delete(user),
            32..36 => Self::Join(group, user),
            _ => Self::Leave(group, user),
        }
    }

    async fn carry_out<S: Storages>(&self, service: &Service<S>, command: &Command) -> Result<(), Failure> {
        let (name, email) =
            (|number| name(&format!("user-{number}")), |number| email(&format!("user-{number}@example.org")));
        match *self {
            Self::SignUp(text, other) => service.sign_up(command, name(text), email(other)).await.map(drop),
            Self::Rename(user, text) => service.rename(command, user, name(text)).await.map(drop),
            Self::ChangeEmail(user, text) => service.change_email(command, user, email(text)).await.map(drop),
            Self::Delete(user) => service.delete(command, user).await.map(drop),
            Self::Join(group, user) => service.join(command, group, &[user]).await.map(drop),
            Self::Leave(group, user) => service.leave(command, group, user).await.map(drop),
        }
    }
}

/// True if the command need not be sent again.
fn is_answer<T>(result: &Result<T, Failure>) -> bool {
    matches!(result, Ok(_) | Err(Failure::Rejected(_)))
}
