//! What was asked for lately, by key: the one asked for longest ago is forgotten first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

pub(super) struct Lru<K, V> {
    values: HashMap<K, (V, u64)>,
    by_age: BTreeMap<u64, K>,
    clock: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Lru<K, V> {
        Lru {
            values: HashMap::new(),
            by_age: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    /// The value, which was asked for just now.
    pub fn get(&mut self, key: &K) -> Option<V> {
        let (value, age) = self.values.get_mut(key)?;
        self.by_age.remove(age);
        self.clock += 1;
        *age = self.clock;
        self.by_age.insert(self.clock, key.clone());
        Some(value.clone())
    }

    /// Keeps a value; returns the one that it had for this key.
    pub fn keep(&mut self, key: K, value: V) -> Option<V> {
        self.clock += 1;
        let before = self.values.insert(key.clone(), (value, self.clock));
        let before = before.map(|(value, age)| (value, self.by_age.remove(&age)).0);
        self.by_age.insert(self.clock, key);
        before
    }

    /// Forgets the value that was asked for longest ago.
    pub fn forget_oldest(&mut self) -> Option<V> {
        let (_, key) = self.by_age.pop_first()?;
        self.values.remove(&key).map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::Lru;

    #[test]
    fn the_one_asked_for_longest_ago_goes_first() {
        let mut lru = Lru::default();
        for key in ["a", "b", "c"] {
            assert_eq!(lru.keep(key, key.to_uppercase()), None);
        }
        assert_eq!(lru.get(&"a"), Some("A".into()));
        assert_eq!(lru.keep("b", "other".into()), Some("B".into()));
        let order: Vec<String> = std::iter::from_fn(|| lru.forget_oldest()).collect();
        assert_eq!(order, ["C", "A", "other"]);
        assert_eq!(lru.get(&"a"), None);
    }
}
