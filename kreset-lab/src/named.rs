//! Enums whose values have names, each written once.

/// Declares an enum and gives it `name`; with `all` behind its own name also `ALL`, its values in
/// order.
macro_rules! named_enum {
    ($(#[$about:meta])* $vis:vis enum $enum:ident all {
        $($(#[$of:meta])* $value:ident = $name:literal,)+
    }) => {
        named_enum! {
            $(#[$about])*
            $vis enum $enum { $($(#[$of])* $value = $name,)+ }
        }
        impl $enum {
            /// All of them, in order.
            $vis const ALL: [Self; [$($name),+].len()] = [$(Self::$value),+];
        }
    };
    ($(#[$about:meta])* $vis:vis enum $enum:ident {
        $($(#[$of:meta])* $value:ident = $name:literal,)+
    }) => {
        $(#[$about])*
        $vis enum $enum { $($(#[$of])* $value,)+ }
        impl $enum {
            /// The word for it.
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$value => $name,)+ }
            }
        }
    };
}
