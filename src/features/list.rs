//! The features of a reader.

use super::feature::Feature;
use crate::values::ControlCode;

/// The features of a reader, and their control codes.
///
/// Returned by [`Control::features`](crate::Control::features). They do not change while the reader
/// is plugged in.
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
    /// Parses an answer to `CM_IOCTL_GET_FEATURE_REQUEST` ([`ControlCode::GET_FEATURE_REQUEST`]):
    /// for each feature a tag, the length 4 and a control code, most significant byte first.
    ///
    /// Invalid entries are skipped: those with another length or control code 0, and a truncated
    /// entry at the end.
    pub fn from_bytes(bytes: &[u8]) -> ReaderFeatures {
        let entries = Entries(bytes).filter_map(|(tag, value)| {
            let code = u32::from_be_bytes(value.try_into().ok()?);
            (code != 0).then(|| (Feature::from_raw(tag), ControlCode::from_raw(code)))
        });
        ReaderFeatures {
            entries: entries.collect(),
        }
    }

    /// Returns the control code of a feature, the first if there are several; `None` if the reader
    /// does not have the feature.
    pub fn control_code(&self, feature: Feature) -> Option<ControlCode> {
        let mut found = self.entries.iter().filter(|entry| entry.0 == feature);
        found.next().map(|entry| entry.1)
    }

    /// Returns whether the reader has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.control_code(feature).is_some()
    }

    /// Returns whether the reader has no features.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns all entries as reported by the reader, including unknown and repeated features.
    pub fn iter(&self) -> impl Iterator<Item = (Feature, ControlCode)> + '_ {
        self.entries.iter().copied()
    }
}

/// Iterates over a list of tags, one-byte lengths, and values. Ends before a truncated entry.
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
