//! The features that a reader has.

use super::feature::Feature;
use crate::values::ControlCode;

/// The features that a reader has, and their control codes.
///
/// Returned by [`Control::features`](crate::Control::features). They stay the same for as long as
/// the reader is plugged in.
///
/// ```
/// use scard::features::{Feature, ReaderFeatures};
///
/// // VERIFY_PIN_DIRECT has the control code 0x42330006.
/// let features = ReaderFeatures::from_bytes(&[0x06, 0x04, 0x42, 0x33, 0x00, 0x06]);
/// assert!(features.has(Feature::VERIFY_PIN_DIRECT));
/// assert!(!features.has(Feature::MODIFY_PIN_DIRECT));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ReaderFeatures {
    entries: Vec<(Feature, ControlCode)>,
}

impl ReaderFeatures {
    /// The features in an answer to `CM_IOCTL_GET_FEATURE_REQUEST`
    /// ([`ControlCode::GET_FEATURE_REQUEST`]): for each a tag, the length 4 and a control code,
    /// the highest byte first.
    ///
    /// What is no such entry is left out: one of another length, one with control code 0, and
    /// an entry that is cut off at the end.
    pub fn from_bytes(bytes: &[u8]) -> ReaderFeatures {
        let entries = Entries(bytes).filter_map(|(tag, value)| {
            let code = u32::from_be_bytes(value.try_into().ok()?);
            (code != 0).then(|| (Feature::from_raw(tag), ControlCode::from_raw(code)))
        });
        ReaderFeatures {
            entries: entries.collect(),
        }
    }

    /// The control code of a feature; `None` if the reader does not have it. Of several the
    /// first.
    pub fn control_code(&self, feature: Feature) -> Option<ControlCode> {
        let mut found = self.entries.iter().filter(|entry| entry.0 == feature);
        found.next().map(|entry| entry.1)
    }

    /// Whether the reader has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.control_code(feature).is_some()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, as the reader gave them: unknown ones, and one feature twice, too.
    pub fn iter(&self) -> impl Iterator<Item = (Feature, ControlCode)> + '_ {
        self.entries.iter().copied()
    }
}

/// The entries of a list of tags, lengths of one byte, and values. Ends before one that is cut
/// off.
pub(super) struct Entries<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, len], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some((tag, value))
    }
}
