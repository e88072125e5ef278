/// A list of mostly one element, which needs no allocation.
pub(super) struct Few<T> {
    first: Option<T>,
    rest: Vec<T>,
}

// === impl Few ===

impl<T> Few<T> {
    pub(super) fn push(&mut self, value: T) {
        match &self.first {
            None => self.first = Some(value),
            Some(_) => self.rest.push(value),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// Removes the last element of which `is_it` is true.
    pub(super) fn remove_last(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        if let Some(index) = self.rest.iter().rposition(&is_it) {
            return Some(self.rest.remove(index));
        }
        let first = self.first.take_if(|first| is_it(first))?;
        if !self.rest.is_empty() {
            self.first = Some(self.rest.remove(0));
        }
        Some(first)
    }

    /// Removes all elements of which `is_it` is true, the last one first.
    pub(super) fn remove_all(&mut self, is_it: impl Fn(&T) -> bool) -> Self {
        let mut removed = Self::default();
        while let Some(value) = self.remove_last(&is_it) {
            removed.push(value);
        }
        removed
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
