//! One promise of a command after the other.

use eventsrc_examples::identity::{DirectoryKey, Email, Entry, Failure, GroupId, Reason, Storages, UserId};

use super::{assert_consistent, email, name, on_memory_and_sqlite, payloads, reasons, signed_up, started};

on_memory_and_sqlite!(
    a_user_has_what_it_signed_up_with,
    what_is_taken_rejects_a_sign_up_which_claims_nothing,
    a_renamed_user_is_found_by_the_new_name_only,
    a_changed_address_frees_the_old_one,
    a_change_to_the_own_address_keeps_it,
    a_deleted_user_is_gone_and_what_it_had_is_free,
    nothing_is_done_to_who_is_not_there,
    a_batch_of_joins_is_all_or_none,
    a_member_that_leaves_or_is_deleted_is_not_listed,
    a_group_and_a_user_may_share_a_name_and_two_groups_may_not,
    of_two_writers_with_one_token_one_is_rejected,
    a_command_meant_for_another_state_changes_nothing,
    whoever_is_added_is_part_of_what_the_answer_was_built_from,
    a_repeated_command_is_answered_as_saved_and_saves_nothing,
    a_commands_id_used_for_another_command_takes_nothing_from_anybody,
);

async fn a_user_has_what_it_signed_up_with(storages: impl Storages) {
    let service = started(&storages);
    let (ada, saved) =
        service.sign_up(&service.command(), name("ada"), email("Ada@Example.org")).await.unwrap();
    let answer = started(&storages).user(ada).await.unwrap();
    let user = answer.snapshot.value.unwrap();
    assert_eq!(user.name.unwrap().text, name("ada"));
    assert_eq!(user.email.unwrap().text, email("ada@example.org"));
    assert_eq!(user.display_name, None);
    assert_eq!(answer.token.sequence(&ada), Some(saved.sequence));
    assert_eq!(saved.token.sequence(&DirectoryKey), Some(2_u64));
    assert_eq!(service.user_by_name(&name("ada")).await.unwrap(), Some(ada));
    assert_eq!(service.user_by_name(&name("grace")).await.unwrap(), None);
}

async fn what_is_taken_rejects_a_sign_up_which_claims_nothing(storages: impl Storages) {
    let service = started(&storages);
    signed_up(&service, "ada").await;
    let again = service.sign_up(&service.command(), name("grace"), email("ADA@example.org")).await;
    assert_eq!(*reasons(again).first(), Reason::Taken(Entry::Email(email("ada@example.org"))));
    let both = service.sign_up(&service.command(), name("ada"), email("ada@example.org")).await;
    assert_eq!(reasons(both).len(), 2, "each text that is taken is a reason");
    assert_eq!(payloads(&*storages.directory(), &DirectoryKey).await.len(), 2);
    signed_up(&service, "grace").await;
    assert_consistent(&storages).await;
}

async fn a_renamed_user_is_found_by_the_new_name_only(storages: impl Storages) {
    let service = started(&storages);
    let grace = signed_up(&service, "grace").await;
    service.rename(&service.command(), grace, name("hopper")).await.unwrap();
    assert_eq!(service.user_by_name(&name("grace")).await.unwrap(), None);
    assert_eq!(service.user_by_name(&name("hopper")).await.unwrap(), Some(grace));
    let ada = signed_up(&service, "ada").await;
    let taken = service.rename(&service.command(), ada, name("hopper")).await;
    assert_eq!(*reasons(taken).first(), Reason::Taken(Entry::UserName(name("hopper"))));
    service.rename(&service.command(), ada, name("grace")).await.unwrap();
    assert_eq!(service.user_by_name(&name("grace")).await.unwrap(), Some(ada));
    assert_consistent(&storages).await;
}

async fn a_changed_address_frees_the_old_one(storages: impl Storages) {
    let service = started(&storages);
    let (ada, grace) = (signed_up(&service, "ada").await, signed_up(&service, "grace").await);
    let take =
        async |user: UserId, address: Email| service.change_email(&service.command(), user, address).await;
    assert!(take(grace, email("ada@example.org")).await.is_err());
    take(ada, email("king@example.org")).await.unwrap();
    take(grace, email("ada@example.org")).await.unwrap();
    take(ada, email("grace@example.org")).await.unwrap();
    take(ada, email("king@example.org")).await.unwrap();
    assert_consistent(&storages).await;
    let grace = service.user(grace).await.unwrap().snapshot.value.unwrap();
    assert_eq!(grace.email.unwrap().text, email("ada@example.org"));
}

async fn a_change_to_the_own_address_keeps_it(storages: impl Storages) {
    let service = started(&storages);
    let ada = signed_up(&service, "ada").await;
    service.change_email(&service.command(), ada, email("ada@example.org")).await.unwrap();
    assert_consistent(&storages).await;
    let stolen = service.sign_up(&service.command(), name("eve"), email("ada@example.org")).await;
    assert_eq!(*reasons(stolen).first(), Reason::Taken(Entry::Email(email("ada@example.org"))));
}

async fn a_deleted_user_is_gone_and_what_it_had_is_free(storages: impl Storages) {
    let service = started(&storages);
    let charles = signed_up(&service, "charles").await;
    service.change_email(&service.command(), charles, email("babbage@example.org")).await.unwrap();
    service.delete(&service.command(), charles).await.unwrap();
    let snapshot = service.user(charles).await.unwrap().snapshot;
    assert!(snapshot.is_deleted());
    assert_eq!(service.user_by_name(&name("charles")).await.unwrap(), None);
    let before = service.user_at_sequence(charles, snapshot.sequence().unwrap() - 1).await.unwrap();
    assert_eq!(before.unwrap().email.unwrap().text, email("babbage@example.org"));
    let other =
        service.sign_up(&service.command(), name("charles"), email("babbage@example.org")).await.unwrap().0;
    assert_ne!(other, charles);
    assert_consistent(&storages).await;
}

async fn nothing_is_done_to_who_is_not_there(storages: impl Storages) {
    let service = started(&storages);
    let ada = signed_up(&service, "ada").await;
    let deleted = signed_up(&service, "charles").await;
    service.delete(&service.command(), deleted).await.unwrap();
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    for user in [deleted, UserId(service.command().id)] {
        let no_user = Reason::NoUser(user);
        let command = || service.command();
        assert_eq!(*reasons(service.rename(&command(), user, name("x")).await).first(), no_user);
        assert_eq!(*reasons(service.change_email(&command(), user, email("x@y")).await).first(), no_user);
        let display_name = "X".parse().unwrap();
        let set = service.set_display_name(&command(), user, display_name).await;
        assert_eq!(*reasons(set).first(), no_user);
        assert_eq!(*reasons(service.delete(&command(), user).await).first(), no_user);
        assert_eq!(*reasons(service.join(&command(), readers, &[ada, user]).await).first(), no_user);
    }
    let nowhere = GroupId(service.command().id);
    let no_group = Reason::NoGroup(nowhere);
    assert_eq!(*reasons(service.join(&service.command(), nowhere, &[ada]).await).first(), no_group);
    assert_eq!(*reasons(service.leave(&service.command(), nowhere, ada).await).first(), no_group);
    assert!(service.members(readers).await.unwrap().is_empty());
    assert!(service.members(nowhere).await.unwrap().is_empty());
    assert_consistent(&storages).await;
}

async fn a_batch_of_joins_is_all_or_none(storages: impl Storages) {
    let service = started(&storages);
    let (ada, grace) = (signed_up(&service, "ada").await, signed_up(&service, "grace").await);
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    let twice = service.join(&service.command(), readers, &[ada, grace, ada]).await;
    assert_eq!(*reasons(twice).first(), Reason::Member(ada));
    assert!(service.members(readers).await.unwrap().is_empty());
    let saved = service.join(&service.command(), readers, &[ada, grace]).await.unwrap();
    assert_eq!(saved.sequence, 3, "the group's name, then both in one commit");
    assert_eq!(service.members(readers).await.unwrap().len(), 2);
    let again = service.join(&service.command(), readers, &[grace]).await;
    assert_eq!(*reasons(again).first(), Reason::Member(grace));
}

async fn a_member_that_leaves_or_is_deleted_is_not_listed(storages: impl Storages) {
    let service = started(&storages);
    let people = ["ada", "charles", "grace"];
    let mut users = Vec::new();
    for who in people {
        users.push(signed_up(&service, who).await);
    }
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    service.join(&service.command(), readers, &users).await.unwrap();
    service.leave(&service.command(), readers, users[0]).await.unwrap();
    service.delete(&service.command(), users[1]).await.unwrap();
    let members = service.members(readers).await.unwrap();
    assert_eq!(members.iter().map(|(id, _)| *id).collect::<Vec<_>>(), users[2..]);
    let left = service.leave(&service.command(), readers, users[0]).await;
    assert_eq!(*reasons(left).first(), Reason::NoMember(users[0]));
    service.join(&service.command(), readers, &users[..1]).await.unwrap();
    assert_eq!(service.members(readers).await.unwrap().len(), 2);
}

async fn a_group_and_a_user_may_share_a_name_and_two_groups_may_not(storages: impl Storages) {
    let service = started(&storages);
    let ada = signed_up(&service, "ada").await;
    let (group, _) = service.create_group(&service.command(), name("ada")).await.unwrap();
    let taken = service.create_group(&service.command(), name("ada")).await;
    assert_eq!(*reasons(taken).first(), Reason::Taken(Entry::GroupName(name("ada"))));
    assert_eq!(service.user_by_name(&name("ada")).await.unwrap(), Some(ada));
    assert_eq!(service.group_by_name(&name("ada")).await.unwrap(), Some(group));
    assert_consistent(&storages).await;
}

async fn of_two_writers_with_one_token_one_is_rejected(storages: impl Storages) {
    let (here, there) = (started(&storages), started(&storages));
    let ada = signed_up(&here, "ada").await;
    let token = here.user(ada).await.unwrap().token;
    assert_eq!(there.user(ada).await.unwrap().token, token);
    let lovelace = "Ada Lovelace".parse().unwrap();
    here.set_display_name(&here.command().only_since(&token, &ada), ada, lovelace).await.unwrap();
    let countess = || "Countess Ada".parse().unwrap();
    let late = there.set_display_name(&there.command().only_since(&token, &ada), ada, countess()).await;
    let reason = reasons(late).first().to_string();
    assert_eq!(reason, "the stream is at sequence 3, not at sequence 2");
    let token = there.user(ada).await.unwrap().token;
    there.set_display_name(&there.command().only_since(&token, &ada), ada, countess()).await.unwrap();
    let user = here.user(ada).await.unwrap().snapshot.value.unwrap();
    assert_eq!(user.display_name, Some(countess()));
}

async fn a_command_meant_for_another_state_changes_nothing(storages: impl Storages) {
    let service = started(&storages);
    let (ada, grace) = (signed_up(&service, "ada").await, signed_up(&service, "grace").await);
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    service.join(&service.command(), readers, &[grace]).await.unwrap();
    // Ada and the group are both at sequence 2.
    for wrong in [vec![], vec![1, 3]] {
        let command = || service.command().only_at(wrong.clone());
        let results = [
            service.rename(&command(), ada, name("king")).await,
            service.change_email(&command(), ada, email("king@example.org")).await,
            service.set_display_name(&command(), ada, "Ada".parse().unwrap()).await,
            service.delete(&command(), ada).await,
            service.join(&command(), readers, &[ada]).await,
            service.leave(&command(), readers, grace).await,
        ];
        for result in results {
            assert!(matches!(reasons(result).first(), Reason::Precondition(_)));
        }
    }
    assert_eq!(payloads(&*storages.users(), &ada).await.len(), 2);
    assert_eq!(payloads(&*storages.groups(), &readers).await.len(), 2);
    assert_consistent(&storages).await;
    let command = |right| service.command().only_at([9, right]);
    service.rename(&command(2), ada, name("king")).await.unwrap();
    service.change_email(&command(3), ada, email("king@example.org")).await.unwrap();
    service.join(&command(2), readers, &[ada, signed_up(&service, "mary").await]).await.unwrap();
    service.leave(&command(4), readers, grace).await.unwrap();
    service.delete(&command(4), ada).await.unwrap();
    assert_consistent(&storages).await;
}

async fn whoever_is_added_is_part_of_what_the_answer_was_built_from(storages: impl Storages) {
    let service = started(&storages);
    let ada = signed_up(&service, "ada").await;
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    let saved = service.join(&service.command(), readers, &[ada]).await.unwrap();
    assert_eq!((saved.token.sequence(&ada), saved.token.sequence(&readers)), (Some(2_u64), Some(2_u64)));
    assert!(saved.token.is_trusted());
}

async fn a_repeated_command_is_answered_as_saved_and_saves_nothing(storages: impl Storages) {
    let service = started(&storages);
    let commands = Vec::from_iter(std::iter::repeat_with(|| service.command()).take(8));
    let mut first = Vec::new();
    // In the second round another user has claimed the released name, and another process carries out the
    // command.
    for round in ["first", "second"] {
        let service = started(&storages);
        let mut answers = Vec::new();
        let (ada, saved) =
            service.sign_up(&commands[0], name("ada"), email("ada@example.org")).await.unwrap();
        answers.push(saved);
        let (readers, saved) = service.create_group(&commands[1], name("readers")).await.unwrap();
        answers.push(saved);
        answers.push(service.join(&commands[2], readers, &[ada]).await.unwrap());
        answers.push(service.rename(&commands[3], ada, name("king")).await.unwrap());
        answers.push(service.change_email(&commands[4], ada, email("king@example.org")).await.unwrap());
        let display_name = "Ada King".parse().unwrap();
        answers.push(service.set_display_name(&commands[5], ada, display_name).await.unwrap());
        answers.push(service.leave(&commands[6], readers, ada).await.unwrap());
        answers.push(service.delete(&commands[7], ada).await.unwrap());
        assert!(answers.iter().all(|saved| saved.repeated == (round == "second")), "{round}: {answers:?}");
        let sequences = Vec::from_iter(answers.iter().map(|saved| saved.sequence));
        if round == "first" {
            first = sequences;
            signed_up(&service, "ada").await;
            signed_up(&service, "king").await;
        } else {
            assert_eq!(sequences, first);
        }
        assert_consistent(&storages).await;
    }
}

async fn a_commands_id_used_for_another_command_takes_nothing_from_anybody(storages: impl Storages) {
    let service = started(&storages);
    let (signed_up, renamed, joined) = (service.command(), service.command(), service.command());
    let (ada, _) = service.sign_up(&signed_up, name("eve"), email("ada@example.org")).await.unwrap();
    service.rename(&renamed, ada, name("ada")).await.unwrap();
    let (readers, _) = service.create_group(&service.command(), name("readers")).await.unwrap();
    service.join(&joined, readers, &[ada]).await.unwrap();
    let spent = async |result: Result<(), Failure>| {
        assert_eq!(*reasons(result).first(), Reason::SpentCommand);
        assert_consistent(&storages).await;
    };
    spent(service.sign_up(&signed_up, name("eve"), email("eve@example.org")).await.map(drop)).await;
    spent(service.create_group(&signed_up, name("eves")).await.map(drop)).await;
    spent(service.leave(&joined, readers, ada).await.map(drop)).await;
    for command in [&signed_up, &renamed] {
        spent(service.change_email(command, ada, email("eve@example.org")).await.map(drop)).await;
        spent(service.rename(command, ada, name("king")).await.map(drop)).await;
        spent(service.set_display_name(command, ada, "Eve".parse().unwrap()).await.map(drop)).await;
        spent(service.delete(command, ada).await.map(drop)).await;
    }
    // The part of the sign-up that was carried out is not carried out again.
    assert!(service.rename(&signed_up, ada, name("eve")).await.unwrap().repeated);
    assert_consistent(&storages).await;
    assert_eq!(service.user_by_name(&name("ada")).await.unwrap(), Some(ada));
    assert_eq!(service.user_by_name(&name("eve")).await.unwrap(), None);
}
