//! Enums whose values have names, each written once.

/// Declares an enum with `ALL`, its values in order, the function that gives a value's name, and
/// `Display`, which writes it.
macro_rules! named {
    (
        $(#[$about:meta])*
        $enum:ident, $(#[$how:meta])* $as_name:ident {
            $($(#[$of:meta])* $value:ident = $name:literal),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[$of])* $value,)+ }

        impl $enum {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            $(#[$how])*
            #[must_use]
            pub const fn $as_name(self) -> &'static str {
                match self { $(Self::$value => $name,)+ }
            }
        }

        impl core::fmt::Display for $enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.$as_name())
            }
        }
    };
}

pub(crate) use named;
