//! Tables of a view that were removed by hand.

use eventsrc_core::ErrorKind;
use eventsrc_core::view::{VersionedStore, ViewStore};

use super::super::violation::{RuleResult, Violation, ensure_eq};
use super::backend::ViewBackend;
use super::trial::{ViewTrial, all, run};

/// Every batch is refused as long as the table is missing, whatever its stream, and can be applied afterwards.
pub(super) async fn a_missing_table_is_refused<B: ViewBackend>(on: &ViewTrial<B>) -> RuleResult {
    let view = on.open().await;
    let chains = [on.chain("a", [1, 2]), on.chain("b", [1])];
    view.applies(vec![run::<B>(&chains[0], 0..1)]).await?;
    let (backend, location) = on.location();
    let bring_back = backend.hide_table(location, view.store().definition()).await;
    for _ in 0..2 {
        for next in [run::<B>(&chains[0], 1..2), all::<B>(&chains[1])] {
            match view.apply(vec![next]).await {
                Err(error) => ensure_eq!(error.kind(), ErrorKind::Refused, "the kind of {error:?}"),
                other => {
                    return Err(Violation::new(format!("the answer without the table is {other:?}")));
                }
            }
        }
    }
    bring_back.await;
    view.has_quarantined(&[]).await?;
    view.holds(&[&chains[0][..1]]).await?;
    view.applies(vec![run::<B>(&chains[0], 1..2), all::<B>(&chains[1])]).await?;
    view.holds(&[&chains[0], &chains[1]]).await
}

/// A version whose table is missing is retired, and is new if it is opened again.
pub(super) async fn a_version_without_its_table_is_retired<B: ViewBackend<Store: VersionedStore>>(
    on: &ViewTrial<B>,
) -> RuleResult {
    let (_one, two) = (on.open_version(1).await, on.open_version(2).await);
    let chain = on.chain("a", [1, 2]);
    two.applies(vec![all::<B>(&chain)]).await?;
    let (backend, location) = on.location();
    drop(backend.hide_table(location, two.store().definition()).await);
    two.store().retire().await?;
    drop(two);
    let two = on.open_version(2).await;
    two.holds(&[]).await?;
    two.applies(vec![all::<B>(&chain)]).await?;
    two.holds(&[&chain]).await
}
