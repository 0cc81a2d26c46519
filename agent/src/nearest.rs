//! "Did you mean": the known word nearest to one that is not.

/// The nearest of these, if any is near enough to be what was meant: at most two slips, or one in four letters.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) = known.into_iter().map(|known| (distance(word, known), known)).min()?;
    (distance <= 2.max(word.chars().count() / 4) && distance < word.chars().count()).then_some(best)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(128).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && x == &b[j - 1] && &a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_forgiven_and_other_words_are_not() {
        let nodes = ["web-1", "web-12", "db"];
        assert_eq!(nearest("web1", nodes), Some("web-1"));
        assert_eq!(nearest("wbe-12", nodes), Some("web-12"));
        assert_eq!(nearest("mail", nodes), None);
        assert_eq!(nearest("x", nodes), None, "two slips make any word of two letters");
        assert_eq!(nearest("web", []), None);
    }
}
