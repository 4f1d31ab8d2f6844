//! Long texts → windows that fit the trunk.
//!
//! In: the number of content tokens and the room of one window. Out: token ranges that overlap by [`OVERLAP_TOKENS`], at most [`WINDOWS_MAX`], and
//! how many more there would have been. How the answers of windows are put together is each head's `window_max`.

use std::ops::Range;

/// Windows of one text that are scored. Our choice: eight windows of 256 tokens are about 1,500 words, more than any chat message and most
/// e-mails; beyond, the cost of one message would crowd out hundreds.
pub const WINDOWS_MAX: usize = 8;

/// Tokens that two neighbouring windows share, so that a phrase at the border stands whole in one of them.
pub const OVERLAP_TOKENS: usize = 32;

/// Cuts `tokens` tokens into windows of at most `room`; returns the scored ranges and the number of dropped ones.
pub fn cut(tokens: usize, room: usize) -> (Vec<Range<usize>>, usize) {
    assert!(room > 0, "a window has room for at least one token");
    if tokens == 0 {
        return (Vec::new(), 0);
    }
    let overlap = OVERLAP_TOKENS.min(room / 2);
    let stride = room - overlap;
    let total = 1 + tokens.saturating_sub(room).div_ceil(stride);
    let scored = total.min(WINDOWS_MAX);
    let ranges = (0..scored).map(|i| i * stride..(i * stride + room).min(tokens)).collect();
    (ranges, total - scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one window is a list of one range")]
    fn windows_overlap_and_end_with_the_text() {
        let cases = [
            (0, 254, vec![], 0),
            (1, 254, vec![0..1], 0),
            (254, 254, vec![0..254], 0),
            (255, 254, vec![0..254, 222..255], 0),
            (476, 254, vec![0..254, 222..476], 0),
            (477, 254, vec![0..254, 222..476, 444..477], 0),
            (3, 1, vec![0..1, 1..2, 2..3], 0),
        ];
        for (tokens, room, ranges, dropped) in cases {
            assert_eq!(cut(tokens, room), (ranges, dropped), "{tokens} tokens");
        }
    }

    #[test]
    fn no_more_than_eight_are_scored_and_the_rest_is_counted() {
        let (ranges, dropped) = cut(10_000, 254);
        assert_eq!((ranges.len(), dropped), (8, 37));
        assert_eq!(ranges[7], 1554..1808);
    }

    proptest::proptest! {
        #[test]
        fn every_token_is_in_a_window_unless_windows_were_dropped(tokens in 1usize..3000, room in 1usize..300) {
            let (ranges, dropped) = cut(tokens, room);
            proptest::prop_assert!(ranges.iter().all(|r| !r.is_empty() && r.len() <= room && r.end <= tokens));
            proptest::prop_assert!(ranges.windows(2).all(|w| w[1].start <= w[0].end && w[1].start > w[0].start && w[1].end > w[0].end));
            proptest::prop_assert!(dropped > 0 || ranges.last().is_some_and(|r| r.end == tokens));
        }
    }
}
