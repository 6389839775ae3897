//! How libc's functions are replaced: macros that define a function of libc's name and call the real one.
//!
//! Read next: `link.rs` (how the real one is found), `note.rs` (what is noted).

/// Calls the function of this name behind ours: `real!(name(argument: Type, …) -> Type)`.
macro_rules! real {
    ($name:ident($($arg:ident: $type:ty),* $(,)?) -> $ret:ty) => {{
        #[allow(unused_unsafe, reason = "some callers stand in an unsafe block already")]
        {
        static SLOT: $crate::link::Slot = $crate::link::Slot::new();
        let address = SLOT.function(stringify!($name).as_bytes());
        if address == 0 {
            $crate::note::missing(stringify!($name));
            <$ret as $crate::link::LibcAnswer>::MISSING
        } else {
            // SAFETY: libc's function of this name has this signature.
            let function: unsafe extern "C" fn($($type),*) -> $ret = unsafe { core::mem::transmute(address) };
            // SAFETY: the arguments are those that our caller gave for this very function.
            unsafe { function($($arg),*) }
        }
        }
    }};
}

/// Defines libc's function of this name by a few instructions (for x86-64, for aarch64) that end in a jump to `then`: so it
/// can pass its return address on, which is where it was called.
macro_rules! tail_calls {
    ($(fn $name:ident => $x86:expr, $aarch64:expr, $then:path;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!($x86, then = sym $then);
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!($aarch64, then = sym $then);
        }
    )*};
}

/// Defines libc's function of this name: calls the real one, then does what follows `=>` with its answer.
macro_rules! after {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty, |$answer:ident| $then:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            let $answer = real!($name($($arg: $type),*) -> $ret);
            // SAFETY: paths are C strings, by the contract of the real function, which has just accepted them.
            #[allow(unused_unsafe, reason = "some of these only note a fact")]
            unsafe { $then };
            $answer
        }
    )*};
}

/// Defines libc's function of this name: does what stands behind the arguments, then calls the real one.
macro_rules! before {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty, $first:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            // SAFETY: paths are C strings, by the contract of the real function.
            #[allow(unused_unsafe, reason = "some of these only note a fact")]
            unsafe { $first };
            real!($name($($arg: $type),*) -> $ret)
        }
    )*};
}
