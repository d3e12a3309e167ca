//! What the rules about several handles are proved against.

use super::Defect::{Dropped, Leases, Renew};
use super::Proof;
use crate::leases::moved;

pub(crate) fn proofs() -> Vec<Proof> {
    vec![
        (
            "what_a_worker_did_is_seen_through_an_earlier_handle",
            "a handle lists again what it has listed",
            Leases(|on| Ok(on.known())),
        ),
        (
            "what_a_worker_did_outlives_its_handle",
            "a claim ends with a handle",
            Dropped(|on| {
                on.all().iter().for_each(|lease| on.forget_heir(lease).expect("memory does not fail"));
            }),
        ),
        (
            "two_processes_hand_leases_to_and_fro",
            "a handle lists again what it has listed",
            Leases(|on| Ok(on.known())),
        ),
        (
            "workers_side_by_side_renew_what_they_hold",
            "a renewal writes back the leases of others",
            Renew(|on, worker, held| {
                let renewed = on.renew(worker, held)?;
                let of_others = on.seen().iter().filter(|lease| lease.owner.as_deref() != Some(worker));
                for lease in of_others {
                    on.renew_as_it_is(&moved(lease, lease.checkpoint.clone()))?;
                }
                Ok(renewed)
            }),
        ),
    ]
}
