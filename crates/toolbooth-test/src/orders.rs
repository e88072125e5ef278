/// Returns every order of `items`: `N!` arrays, the items of each from first to last.
///
/// A test uses it to build a stack in every order of its layers. Items are identified by their
/// position, so that equal items yield equal orders more than once.
///
/// ```
/// use toolbooth_test::orders;
///
/// assert_eq!(orders([1, 2]), [[1, 2], [2, 1]]);
/// assert_eq!(orders([0; 5]).len(), 120);
/// ```
#[must_use]
pub fn orders<T: Clone, const N: usize>(items: [T; N]) -> Vec<[T; N]> {
    let mut orders = Vec::new();
    let mut items = items;
    permute(&mut items, 0, &mut orders);
    orders
}

/// Pushes every order of `items[from..]` behind the fixed `items[..from]`.
fn permute<T: Clone, const N: usize>(items: &mut [T; N], from: usize, orders: &mut Vec<[T; N]>) {
    if from == N {
        orders.push(items.clone());
    }
    for next in from..N {
        items.swap(from, next);
        permute(items, from + 1, orders);
        items.swap(from, next);
    }
}
