//! The historical bytes: the card's description of itself.

use std::fmt;

use super::capabilities::CardCapabilities;
use super::card_service::CardServiceData;
use super::life_cycle::StatusInformation;
use super::problem::AtrProblem;

/// The historical bytes of an ATR, at most 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoricalBytes<'a> {
    bytes: &'a [u8],
    /// Whether no bytes are missing at the end.
    is_complete: bool,
}

impl<'a> HistoricalBytes<'a> {
    pub(super) fn new(bytes: &'a [u8], is_complete: bool) -> HistoricalBytes<'a> {
        HistoricalBytes { bytes, is_complete }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns how the bytes are coded (the first byte); `None` if there are no bytes.
    pub fn category(&self) -> Option<Category> {
        self.bytes.first().copied().map(Category::from_raw)
    }

    /// Returns the data objects of the categories 00 and 80; empty for others.
    pub fn objects(&self) -> impl Iterator<Item = DataObject<'a>> + use<'a> {
        self.parts().map(|part| part.object)
    }

    /// Returns the card service data, if present.
    pub fn card_service_data(&self) -> Option<CardServiceData> {
        self.objects().find_map(|object| match object {
            DataObject::CardService(data) => Some(data),
            _ => None,
        })
    }

    /// Returns the card capabilities, if present.
    pub fn capabilities(&self) -> Option<CardCapabilities> {
        self.objects().find_map(|object| match object {
            DataObject::Capabilities(capabilities) => Some(capabilities),
            _ => None,
        })
    }

    /// Returns the status after the reset, if present.
    pub fn status(&self) -> Option<StatusInformation> {
        self.objects().find_map(|object| match object {
            DataObject::Status(status) => Some(status),
            _ => None,
        })
    }

    /// Returns the application identifier, if present.
    #[doc(alias = "AID")]
    pub fn application_identifier(&self) -> Option<&'a [u8]> {
        self.objects().find_map(|object| match object {
            DataObject::ApplicationIdentifier(aid) => Some(aid),
            _ => None,
        })
    }

    /// Returns the DIR data reference, for category 10.
    pub fn dir_reference(&self) -> Option<u8> {
        match *self.bytes {
            [0x10, reference, ..] => Some(reference),
            _ => None,
        }
    }

    /// The objects, each with its bytes.
    pub(super) fn parts(&self) -> Parts<'a> {
        let (rest, status) = match (self.category(), self.bytes) {
            (Some(Category::StatusAtEnd), [_, rest @ ..]) if self.is_complete => {
                match rest
                    .len()
                    .checked_sub(3)
                    .and_then(|at| rest.split_at_checked(at))
                {
                    Some((objects, status)) => (objects, status),
                    None => (rest, &[][..]),
                }
            }
            (Some(Category::StatusAtEnd | Category::DataObjects), [_, rest @ ..]) => {
                (rest, &[][..])
            }
            _ => (&[][..], &[][..]),
        };
        Parts { rest, status }
    }

    /// Checks for problems. If bytes are missing, the rest is not checked.
    pub(super) fn check(&self, problems: &mut Vec<AtrProblem>) {
        if !self.is_complete {
            return;
        }
        problems.extend(self.parts().filter_map(|part| part.problem));
        problems.extend(match (self.category(), self.bytes) {
            (Some(Category::Reserved(category)), _) => Some(AtrProblem::ReservedCategory(category)),
            (Some(Category::StatusAtEnd), [_] | [_, _] | [_, _, _]) => {
                Some(AtrProblem::StatusMissing)
            }
            (Some(Category::DirReference), [_]) => Some(AtrProblem::DirReferenceMissing),
            _ => None,
        });
    }
}

/// The coding of the historical bytes: the category indicator, their first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// 00: data objects (COMPACT-TLV), then a three-byte status.
    StatusAtEnd,
    /// 10: a DIR data reference.
    DirReference,
    /// 80: data objects (COMPACT-TLV), including the status, if any.
    DataObjects,
    /// 81 to 8F: reserved.
    Reserved(u8),
    /// Any other first byte: the bytes are proprietary.
    Proprietary(u8),
}

impl Category {
    const fn from_raw(byte: u8) -> Category {
        match byte {
            0x00 => Category::StatusAtEnd,
            0x10 => Category::DirReference,
            0x80 => Category::DataObjects,
            0x81..=0x8F => Category::Reserved(byte),
            _ => Category::Proprietary(byte),
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Category::StatusAtEnd => "data objects, then a status",
            Category::DirReference => "DIR data reference",
            Category::DataObjects => "data objects",
            Category::Reserved(_) => "reserved",
            Category::Proprietary(_) => "proprietary",
        })
    }
}

/// A data object in the historical bytes, with the COMPACT-TLV tags of ISO 7816-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataObject<'a> {
    /// Tag 1: the country code (ISO 3166-1) and national data.
    Country(&'a [u8]),
    /// Tag 2: the issuer identification number (ISO 7812-1).
    IssuerIdentification(&'a [u8]),
    /// Tag 3: card service data.
    CardService(CardServiceData),
    /// Tag 4: initial access data, which describe a first command.
    InitialAccess(&'a [u8]),
    /// Tag 5: data of the card issuer's choice.
    IssuerData(&'a [u8]),
    /// Tag 6: pre-issuing data, such as manufacturer, chip and operating system.
    PreIssuing(&'a [u8]),
    /// Tag 7: card capabilities.
    Capabilities(CardCapabilities),
    /// Tag 8, or the last three bytes with the category 00.
    Status(StatusInformation),
    /// Tag D: an extended header list.
    ExtendedHeaderList(&'a [u8]),
    /// Tag F: an application identifier.
    ///
    /// Also the bytes `4F`, length, identifier, as used by readers for contactless storage cards.
    ApplicationIdentifier(&'a [u8]),
    /// Anything else.
    Other {
        /// The tag, 0 to 15.
        tag: u8,
        /// The value, as far as it is present.
        value: &'a [u8],
    },
}

impl<'a> DataObject<'a> {
    /// `None` if the length is wrong for the tag.
    fn read(tag: u8, value: &'a [u8]) -> Option<DataObject<'a>> {
        Some(match (tag, value) {
            (1, _) => DataObject::Country(value),
            (2, _) => DataObject::IssuerIdentification(value),
            (3, [byte]) => DataObject::CardService(CardServiceData::from_raw(*byte)),
            (4, _) => DataObject::InitialAccess(value),
            (5, _) => DataObject::IssuerData(value),
            (6, _) => DataObject::PreIssuing(value),
            (7, _) => DataObject::Capabilities(CardCapabilities::from_bytes(value)?),
            (8, _) => DataObject::Status(StatusInformation::from_bytes(value)?),
            (0x0D, _) => DataObject::ExtendedHeaderList(value),
            (0x0F, _) => DataObject::ApplicationIdentifier(value),
            (3, _) => return None,
            _ => DataObject::Other { tag, value },
        })
    }

    /// Returns the name of the tag.
    pub fn name(&self) -> &'static str {
        match self {
            DataObject::Country(_) => "country",
            DataObject::IssuerIdentification(_) => "issuer identification number",
            DataObject::CardService(_) => "card service data",
            DataObject::InitialAccess(_) => "initial access data",
            DataObject::IssuerData(_) => "card issuer's data",
            DataObject::PreIssuing(_) => "pre-issuing data",
            DataObject::Capabilities(_) => "card capabilities",
            DataObject::Status(_) => "status",
            DataObject::ExtendedHeaderList(_) => "extended header list",
            DataObject::ApplicationIdentifier(_) => "application identifier",
            DataObject::Other { .. } => "other data object",
        }
    }
}

/// A data object with its bytes, including the header.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) object: DataObject<'a>,
    problem: Option<AtrProblem>,
}

#[derive(Debug)]
pub(super) struct Parts<'a> {
    rest: &'a [u8],
    /// Follows all other objects; empty if there is none.
    status: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let whole = self.rest;
        let Some((&header, rest)) = whole.split_first() else {
            let bytes = std::mem::take(&mut self.status);
            let status = StatusInformation::from_bytes(bytes)?;
            return Some(Part {
                bytes,
                object: DataObject::Status(status),
                problem: None,
            });
        };
        // Fifteen bytes of initial access data cannot fit, so this is the BER-TLV tag 4F.
        if let (0x4F, [length, after @ ..]) = (header, rest) {
            if let Some((aid, rest)) = after.split_at_checked(usize::from(*length)) {
                self.rest = rest;
                return Some(Part {
                    bytes: whole.get(..aid.len() + 2).unwrap_or(whole),
                    object: DataObject::ApplicationIdentifier(aid),
                    problem: None,
                });
            }
        }
        let (tag, length) = (header >> 4, header & 0x0F);
        let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else {
            self.rest = &[];
            return Some(Part {
                bytes: whole,
                object: DataObject::Other { tag, value: rest },
                problem: Some(AtrProblem::ObjectTooLong {
                    tag,
                    announced: length,
                    present: u8::try_from(rest.len()).unwrap_or(u8::MAX),
                }),
            });
        };
        self.rest = rest;
        let object = DataObject::read(tag, value);
        Some(Part {
            bytes: whole.get(..value.len() + 1).unwrap_or(whole),
            object: object.unwrap_or(DataObject::Other { tag, value }),
            problem: match object {
                Some(_) => None,
                None => Some(AtrProblem::ObjectLength { tag, length }),
            },
        })
    }
}
