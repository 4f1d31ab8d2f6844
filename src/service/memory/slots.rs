//! One place for each conversation or customer in use: whoever holds it is alone with it, and what stands in it is only a cache of the store.

use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};
use tokio::sync::Mutex;

use crate::message::Id;

/// A place. `None`: what is known must be read from the store.
pub(super) type Slot<T> = Arc<Mutex<Option<T>>>;

/// The places, bounded by count: those that nobody holds and that were not used for long go first.
pub(super) struct Slots<T>(Cache<Id, Slot<T>, UnitWeighter, DefaultHashBuilder, KeepHeld>);

impl<T> Slots<T> {
    pub(super) fn new(most: usize) -> Self {
        Self(Cache::with(most, most as u64, UnitWeighter, DefaultHashBuilder::default(), KeepHeld))
    }

    /// The place of an id. A place that was given up while somebody held it, which [`KeepHeld`] prevents, would cost a second reading and a write that the
    /// store refuses as not the next.
    pub(super) fn get(&self, id: &Id) -> Slot<T> {
        let new = || Ok::<_, std::convert::Infallible>(Slot::default());
        self.0.get_or_insert_with(id, new).unwrap_or_else(|never| match never {})
    }

    /// Forgets what stands in the places that `stale` picks, each as soon as nobody holds it.
    pub(super) async fn forget(&self, stale: impl Fn(&Id, &T) -> bool) {
        let places: Vec<(Id, Slot<T>)> = self.0.iter().collect();
        for (id, slot) in places {
            let mut place = slot.lock().await;
            if place.as_ref().is_some_and(|value| stale(&id, value)) {
                *place = None;
            }
        }
    }
}

/// What somebody holds stays.
#[derive(Clone, Copy, Debug)]
struct KeepHeld;

impl<T> Lifecycle<Id, Slot<T>> for KeepHeld {
    type RequestState = ();

    fn is_pinned(&self, _: &Id, slot: &Slot<T>) -> bool {
        Arc::strong_count(slot) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_held_ones_stay() {
        let slots: Slots<u32> = Slots::new(8);
        let held = slots.get(&Id::new("held").unwrap());
        *held.try_lock().unwrap() = Some(7);
        for n in 0..1000 {
            *slots.get(&Id::new(format!("c{n}")).unwrap()).try_lock().unwrap() = Some(n);
        }
        assert_eq!(*slots.get(&Id::new("held").unwrap()).try_lock().unwrap(), Some(7));
        let kept = (0..1000).filter(|n| slots.0.peek(&Id::new(format!("c{n}")).unwrap()).is_some()).count();
        assert!(kept <= 8, "{kept}");
    }
}
