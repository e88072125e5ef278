//! Which line a call waits in, and what it takes there: one line for all calls, or one for each tool or key.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use std::time::Duration;

use toolbooth_core::{CallContext, Moment, Name, Part};

use super::state::Settings;
use super::{Line, Order, Rejection, Rule};
use crate::middleware::keys::{Idle, Keys};
use crate::middleware::sync::{Arc, Mutex, lock};
use crate::middleware::{ConfigError, PerTool};

/// The lines of a layer. Clones share them.
#[derive(Debug)]
pub(crate) enum Limits<R: Rule> {
    /// The usual case: one for all, and each call takes one.
    One(Arc<Line<R>>),
    More(Arc<More<R>>),
}

/// What a call needs.
#[derive(Debug)]
pub(crate) struct Needs<'a, R> {
    pub(crate) line: Cow<'a, Arc<Line<R>>>,
    pub(crate) cost: u64,
}

pub(crate) type Found<'a, R> = Result<Option<Needs<'a, R>>, Rejection>;

/// What a layer with more to say shares with its clones.
#[derive(Debug)]
pub(crate) struct More<R: Rule> {
    lines: Lines<R>,
    cost: Option<Cost>,
}

#[derive(Debug)]
enum Lines<R: Rule> {
    One(Arc<Line<R>>),
    Keyed(Arc<Keyed<R>>),
}

/// A line for each key. Who holds the lock of a line may take that of the shelf, and not the other way round.
#[derive(Debug)]
struct Keyed<R: Rule> {
    /// `None`: the tool's name.
    key: Option<Key>,
    shelf: Mutex<Shelf<R>>,
}

#[derive(Debug)]
struct Shelf<R: Rule> {
    limits: PerTool<R::Setting>,
    settings: Settings,
    lines: Keys<Line<R>>,
    /// Keys that share a line; which is there for good.
    groups: HashMap<Name, Arc<Line<R>>>,
}

/// What a call shares a limit by.
#[derive(Clone)]
pub(crate) struct Key(Arc<dyn Fn(&CallContext) -> Name + Send + Sync>);

/// What a call takes.
#[derive(Clone)]
pub(crate) struct Cost(Arc<dyn Fn(&CallContext) -> u64 + Send + Sync>);

// === impl Needs ===

impl<'a, R> Needs<'a, R> {
    const fn one(line: &'a Arc<Line<R>>) -> Self {
        Self {
            line: Cow::Borrowed(line),
            cost: 1,
        }
    }
}

// === impl Limits ===

impl<R: Rule> Limits<R> {
    pub(crate) fn one(setting: R::Setting) -> Self {
        Self::One(Arc::new(Line::new(R::of(setting))))
    }

    /// A line for each key; for each tool where none is given.
    pub(crate) fn keyed(limits: PerTool<R::Setting>, key: Option<Key>) -> Self {
        let shelf = Mutex::new(Shelf {
            limits,
            settings: Settings::default(),
            lines: Keys::new(),
            groups: HashMap::new(),
        });
        let lines = Lines::Keyed(Arc::new(Keyed { key, shelf }));
        Self::More(Arc::new(More { lines, cost: None }))
    }

    #[must_use]
    pub(crate) fn with_cost(self, cost: Cost) -> Self {
        let lines = match &self {
            Self::One(line) => Lines::One(Arc::clone(line)),
            Self::More(more) => more.lines.clone(),
        };
        let cost = Some(cost);
        Self::More(Arc::new(More { lines, cost }))
    }

    /// A line that these keys share, of a layer that has one for each.
    #[cfg(feature = "rate")]
    pub(crate) fn add_group(&self, setting: R::Setting, keys: impl IntoIterator<Item = Name>) {
        if let Some(keyed) = self.by_key() {
            // The user's own code: called where no lock is held.
            let keys: Vec<Name> = keys.into_iter().collect();
            let mut shelf = lock(&keyed.shelf);
            let line = Line::with(R::of(setting), shelf.settings.clone());
            let line = Arc::new(line);
            let groups = &mut shelf.groups;
            let join = |key| groups.insert(key, Arc::clone(&line));
            let left: Vec<_> = keys.into_iter().filter_map(join).collect();
            drop(shelf);
            drop(left);
        }
    }

    pub(crate) fn set_bounds(&self, most: usize, idle: Duration) {
        if let Some(keyed) = self.by_key() {
            lock(&keyed.shelf).lines.set_bounds(most, idle);
        }
    }

    /// What the call needs whose part this is; `None` where there is no limit for it. What the user gave may panic.
    #[inline]
    pub(crate) fn find(&self, part: &Part) -> Found<'_, R> {
        match self {
            Self::One(line) => Ok(Some(Needs::one(line))),
            Self::More(more) => more.find(part),
        }
    }

    /// Changes what is said of all lines, of those to come, too.
    pub(crate) fn configure(&self, change: impl Fn(&mut Settings)) {
        let Some(keyed) = self.by_key() else {
            for line in self.all() {
                line.configure(&change);
            }
            return;
        };
        let mut shelf = lock(&keyed.shelf);
        let mut settings = shelf.settings.clone();
        change(&mut settings);
        let before = std::mem::replace(&mut shelf.settings, settings);
        drop(shelf);
        // Its closures are the user's to drop.
        drop(before);
        for line in self.all() {
            // What is said by now, as in `Keyed::renew`.
            line.configure(|settings| *settings = lock(&keyed.shelf).settings.clone());
        }
    }

    pub(crate) fn set_order(&self, order: Order) {
        let order = (!order.is_fifo()).then(|| Arc::new(order));
        self.configure(|line| line.order.clone_from(&order));
    }

    /// Changes the limit; that of all keys which have none of their own.
    pub(crate) fn change(&self, setting: R::Setting) {
        let Some(keyed) = self.by_key() else {
            for line in self.all() {
                line.change(|rule| rule.set(setting));
            }
            return;
        };
        let mut shelf = lock(&keyed.shelf);
        shelf.limits.set_default(setting);
        let lines = shelf.lines.iter();
        let lines = lines.filter(|(key, _)| !shelf.limits.names(key));
        let lines: Vec<_> = lines
            .map(|(key, line)| (key.clone(), Arc::clone(line)))
            .collect();
        drop(shelf);
        for (key, line) in lines {
            keyed.renew(&key, &line);
        }
    }

    /// Changes the limit of one key, or of the group that it is in.
    pub(crate) fn change_for(&self, key: &Name, setting: R::Setting) -> Result<(), ConfigError> {
        let keyed = self.by_key().ok_or(ConfigError::NotByKey)?;
        let mut shelf = lock(&keyed.shelf);
        if let Some(group) = shelf.groups.get(&**key).cloned() {
            drop(shelf);
            group.change(|rule| rule.set(setting));
            return Ok(());
        }
        let line = shelf.lines.get(key).cloned();
        shelf.limits.set(key.clone(), setting);
        drop(shelf);
        if let Some(line) = line {
            keyed.renew(key, &line);
        }
        Ok(())
    }

    /// The line of one key, if it was asked for before; or the only one there is.
    pub(crate) fn line_of(&self, key: &str) -> Option<Arc<Line<R>>> {
        let Some(keyed) = self.by_key() else {
            return self.all().pop();
        };
        let shelf = lock(&keyed.shelf);
        let group = shelf.groups.get(key);
        group.or_else(|| shelf.lines.get(key)).cloned()
    }

    /// What a key that was never asked for has.
    pub(crate) fn setting_of(&self, key: &str) -> Option<R::Setting> {
        let keyed = self.by_key()?;
        lock(&keyed.shelf).limits.get(key).copied()
    }

    /// All lines that there are by now.
    pub(crate) fn all(&self) -> Vec<Arc<Line<R>>> {
        let lines = match self {
            Self::One(line) => return vec![Arc::clone(line)],
            Self::More(more) => &more.lines,
        };
        match lines {
            Lines::One(line) => vec![Arc::clone(line)],
            Lines::Keyed(keyed) => {
                let shelf = lock(&keyed.shelf);
                let mut groups: Vec<_> = shelf.groups.values().cloned().collect();
                groups.sort_by_key(Arc::as_ptr);
                groups.dedup_by_key(|line| Arc::as_ptr(line));
                let keys = shelf.lines.iter().map(|(_, line)| Arc::clone(line));
                groups.extend(keys);
                groups
            }
        }
    }

    fn by_key(&self) -> Option<&Keyed<R>> {
        match self {
            Self::More(more) => match &more.lines {
                Lines::Keyed(keyed) => Some(keyed),
                Lines::One(_) => None,
            },
            Self::One(_) => None,
        }
    }
}

impl<R: Rule> Clone for Limits<R> {
    fn clone(&self) -> Self {
        match self {
            Self::One(line) => Self::One(Arc::clone(line)),
            Self::More(more) => Self::More(Arc::clone(more)),
        }
    }
}

// === impl More ===

impl<R: Rule> More<R> {
    #[cold]
    fn find(&self, part: &Part) -> Found<'_, R> {
        // The user's own code: called where no lock is held.
        let cost = self
            .cost
            .as_ref()
            .map_or(1, |cost| (cost.0)(part.context()));
        if cost == 0 {
            return Ok(None);
        }
        let line = match &self.lines {
            Lines::One(line) => Cow::Borrowed(line),
            Lines::Keyed(keyed) => match keyed.find(part)? {
                Some(line) => Cow::Owned(line),
                None => return Ok(None),
            },
        };
        Ok(Some(Needs { line, cost }))
    }
}

// === impl Keyed ===

impl<R: Rule> Keyed<R> {
    fn find(&self, part: &Part) -> Result<Option<Arc<Line<R>>>, Rejection> {
        let key = match &self.key {
            Some(key) => (key.0)(part.context()),
            None => Name::from(part.context().tool()),
        };
        let now = part.now();
        let mut guard = lock(&self.shelf);
        let shelf = &mut *guard;
        if let Some(group) = shelf.groups.get(&*key) {
            return Ok(Some(Arc::clone(group)));
        }
        let Some(setting) = shelf.limits.get(&key).copied() else {
            return Ok(None);
        };
        let make = || Line::with(R::of(setting), shelf.settings.clone());
        let found = shelf.lines.find(key, now, make);
        drop(guard);
        // What had to go is dropped here, without the lock.
        let (line, _gone) = found.map_err(Rejection::Key)?;
        Ok(Some(line))
    }

    /// Sets a line to what is said of its key, as it is by now: it is read under the line's lock, so that of several
    /// changes at a time the one that comes last to a line sets it to the last one said, as a new line is made by.
    fn renew(&self, key: &str, line: &Line<R>) {
        line.change(|rule| {
            let setting = lock(&self.shelf).limits.get(key).copied();
            if let Some(setting) = setting {
                rule.set(setting);
            }
        });
    }
}

// === impl Lines ===

impl<R: Rule> Clone for Lines<R> {
    fn clone(&self) -> Self {
        match self {
            Self::One(line) => Self::One(Arc::clone(line)),
            Self::Keyed(keyed) => Self::Keyed(Arc::clone(keyed)),
        }
    }
}

// === impl Line ===

impl<R: Rule> Idle for Line<R> {
    fn idle_from(&self) -> Moment {
        self.rule().idle_from()
    }
}

// === impl Key, Cost ===

impl Key {
    pub(crate) fn new(key: impl Fn(&CallContext) -> Name + Send + Sync + 'static) -> Self {
        Self(Arc::new(key))
    }
}

impl Cost {
    pub(crate) fn new(cost: impl Fn(&CallContext) -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(cost))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cost")
    }
}
