//! Serializing values as text, for the feature `serde`: written by `Display`, read by `FromStr`.

#[cfg(feature = "serde")]
pub(crate) mod text {
    use std::fmt;
    use std::marker::PhantomData;
    use std::str::FromStr;

    use serde::de::{Deserializer, Error, Visitor};

    struct TextVisitor<T> {
        expected: &'static str,
        value: PhantomData<T>,
    }

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    pub(crate) fn read<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_str(TextVisitor {
            expected,
            value: PhantomData,
        })
    }
}

/// Serializes a type as the text an expression returns, and deserializes it through `FromStr`.
macro_rules! stored_as_text {
    ($type:ty, $expected:literal) => {
        $crate::codes::stored_as_text!($type, $expected, |value| value);
    };
    ($type:ty, $expected:literal, |$value:ident| $text:expr) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.collect_str(&$text)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$type, D::Error> {
                $crate::codes::stored::text::read(deserializer, $expected)
            }
        }
    };
}

pub(crate) use stored_as_text;
