//! Proofs of the rules about several handles.

use super::Defect::{Dropped, Leases, Renew};
use super::Proof;
use crate::leases::moved;

pub(crate) fn proofs() -> Vec<Proof> {
    vec![
        (
            "a_change_is_visible_through_an_earlier_handle",
            "a handle lists again what it has listed",
            Leases(|on| Ok(on.known())),
        ),
        (
            "a_change_outlives_its_handle",
            "a claim ends with a handle",
            Dropped(|on| {
                on.all().iter().for_each(|lease| on.forget_heir(lease).expect("memory does not fail"));
            }),
        ),
        (
            "two_processes_hand_leases_over_repeatedly",
            "a handle lists again what it has listed",
            Leases(|on| Ok(on.known())),
        ),
        (
            "concurrent_workers_renew_their_own_leases",
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
