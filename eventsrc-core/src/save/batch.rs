//! The operations of one save, as one decision.

use vec1::Vec1;

use super::knowledge::Knowledge;
use super::operation::{Decision, Known, Operation};
use super::save_loop::Decide;
use crate::storage::{CommitOf, ErrorKind, EventStorage, StorageError};

impl<St, R, Kn> Decide<St, R, Kn> for Operation<St::Payload, R, Kn>
where
    St: EventStorage,
    Kn: Known<Sequence = St::Sequence>,
{
    fn decide(
        &self,
        known: &Kn,
        _: &dyn Fn(Option<St::Sequence>, Vec1<St::Payload>) -> Result<CommitOf<St>, StorageError>,
    ) -> Result<Decision<St::Payload, R>, StorageError> {
        Ok(Operation::decide(self, known))
    }
}

/// Several operations, each of which decides on the effect of those before it.
pub(super) struct Batch<'a, St: EventStorage, R, N: Knowledge<St>> {
    pub(super) operations: &'a [Operation<St::Payload, R, N::Known>],
    pub(super) knowledge: &'a N,
}

impl<St, R, N> Decide<St, R, N::Known> for Batch<'_, St, R, N>
where
    St: EventStorage,
    N: Knowledge<St, Known: Clone>,
{
    fn decide(
        &self,
        known: &N::Known,
        commit: &dyn Fn(Option<St::Sequence>, Vec1<St::Payload>) -> Result<CommitOf<St>, StorageError>,
    ) -> Result<Decision<St::Payload, R>, StorageError> {
        let (last, others) = self
            .operations
            .split_last()
            .ok_or_else(|| StorageError::new(ErrorKind::Invalid, "there is no operation to save"))?;
        let mut all = Vec::new();
        // A copy, which the events of each operation advance.
        let mut advanced = None;
        for operation in others {
            match operation.decide(advanced.as_ref().unwrap_or(known)) {
                Decision::Save(payloads) => {
                    let after = advanced.get_or_insert_with(|| known.clone());
                    let commit = commit(after.sequence(), payloads)?;
                    self.knowledge.advance(after, &commit);
                    all.extend(commit.payloads);
                }
                Decision::Nothing => {}
                Decision::Reject(reasons) => return Ok(Decision::Reject(reasons)),
            }
        }
        match last.decide(advanced.as_ref().unwrap_or(known)) {
            Decision::Save(payloads) => all.extend(payloads),
            Decision::Nothing => {}
            Decision::Reject(reasons) => return Ok(Decision::Reject(reasons)),
        }
        Ok(Vec1::try_from_vec(all).map_or(Decision::Nothing, Decision::Save))
    }
}
