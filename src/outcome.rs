//! Every way in which an invocation can end, with the names that `stats` and the log use.
//!
//! Numbers are positions in the counters that all processes share: append, never reorder.
//! Read next: `shm/counters.rs` (where they are counted), `wrapper/mod.rs` (who decides).

/// Makes a fieldless enum whose variants have a stable number and a stable name.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name that `stats --json` and the log show.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// Why a command was handed to the real tool without looking into the cache.
    PassReason {
        /// No policy knows the tool.
        UnknownTool = "unknown_tool",
        /// The command links (no longer a reason).
        Link = "link",
        /// More than one source in one call.
        SeveralSources = "several_sources",
        /// The command names no source.
        NoSource = "no_source",
        /// Preprocessing only (no longer a reason).
        Preprocess = "preprocess",
        /// The source is standard input.
        StandardInput = "standard_input",
        /// The command asks the tool about itself (`--version`, `-v`, `-print-…`, `-###`).
        Query = "query",
        /// The output is a device that is not `/dev/null`; rustc: any, and standard output.
        OutputNotAFile = "output_not_a_file",
        /// The command cannot be understood (a missing value, an unreadable response file).
        Unparsed = "unparsed",
        /// Another ibid further out observes this tool already.
        Nested = "nested",
        /// There is no cache directory that can be used.
        NoCache = "no_cache",
        /// `IBID_OBSERVER=off`, or no observer works here.
        NoObserver = "no_observer",
        /// A flag whose effect cannot be repeated from files (a crash reproducer, a time report on stderr).
        UnsupportedFlag = "unsupported_flag",
        /// The working directory has no name (it was removed), or the environment is larger than a look-up takes.
        NoWorkingDirectory = "no_working_directory",
        /// Standard output or standard error is closed: what a tool makes of that, no other call can use.
        ClosedStream = "closed_stream",
        /// There is a result, but its text cannot be written (a full disk, a pipe without a reader): what the tool makes of
        /// that, only the tool knows.
        UnwritableText = "unwritable_text",
    }
}

named! {
    /// Why the result of a miss was not stored.
    NotStored {
        /// `IBID_READONLY=1`.
        ReadOnly = "read_only",
        /// The observer could not see everything.
        ObservationIncomplete = "observation_incomplete",
        /// The tool asked for the time of day (`__DATE__`, `__TIME__`).
        UsedTime = "used_time",
        /// The tool talked to a socket.
        UsedNetwork = "used_network",
        /// Something was read that is no regular file or directory (a pipe, a device, a pseudo file), or a file could not be
        /// used for want of memory, descriptors or the like.
        UnrepeatableInput = "unrepeatable_input",
        /// An input changed while the tool ran.
        InputChanged = "input_changed",
        /// An input is so young that its file system's clock cannot tell a later edit from it, or the clock was set back.
        InputTooNew = "input_too_new",
        /// A file was read and then modified in place, or appended to.
        InputModified = "input_modified",
        /// An output is not a regular file that the tool made.
        SpecialOutput = "special_output",
        /// An output changed after the tool had closed it.
        OutputChanged = "output_changed",
        /// The tool wrote no file.
        NoOutput = "no_output",
        /// The store could not take it (a full disk).
        StoreFailed = "store_failed",
        /// The tool printed more than is kept for a replay.
        TooMuchText = "too_much_text",
        /// A file system object was made or changed in a way that cannot be repeated (a symlink, a directory, a mode).
        SideEffect = "side_effect",
        /// A program that no policy knows drew random numbers, or asked for a process number.
        UsedRandom = "used_random",
        /// A program that no policy knows asked for the state or the name of the machine.
        UsedSystem = "used_system",
        /// An object, or the record itself, is larger than an eighth of the cache.
        TooLarge = "too_large",
        /// A group shares the cache, and not all of its members may read an input.
        PrivateInput = "private_input",
        /// The large result of a quick link, for the first time, in a cache that is more than half full.
        MadeOnce = "made_once",
    }
}

named! {
    /// Why a command that can be looked up was no hit.
    Cause {
        /// There was no record of this command in this directory; a reader of events finds out more, see below.
        NoRecord = "no_record",
        /// A file that was read has another content, or is gone.
        FileChanged = "file_changed",
        /// A file is there that was looked for in vain.
        FileAppeared = "file_appeared",
        /// Something that was only asked about is gone, or of another kind.
        FileGone = "file_gone",
        /// A symlink leads elsewhere.
        LinkChanged = "link_changed",
        /// A directory that was listed has other names in it.
        ListingChanged = "listing_changed",
        /// A variable has another value.
        Variable = "variable",
        /// The environment of a program that may read all of it is another one.
        Environment = "environment",
        /// The text would go to another kind of terminal or file.
        Terminal = "terminal",
        /// Another CPU.
        Cpu = "cpu",
        /// Standard input is another one.
        InputStream = "input_stream",
        /// The record is damaged.
        Damaged = "damaged",
        /// A record was true and could not be delivered, or came to be only while the tool ran.
        NotDelivered = "not_delivered",
        /// `IBID_RECACHE=1`.
        Recache = "recache",
        /// The result of another directory was compared with what the tool makes here.
        Compared = "compared",
        /// No compile of this source was stored before.
        NewSource = "new_source",
        /// An option or another argument is new, or gone.
        NewArgument = "new_argument",
        /// The same was stored in another directory.
        OtherDirectory = "other_directory",
        /// `root` or `remap` have another value.
        OtherSetting = "other_setting",
    }
}

named! {
    /// Something of ours that did not work; no build fails for it.
    InternalError {
        /// The cache directory cannot be made or used.
        CacheDir = "cache_dir",
        /// The index cannot be opened or made.
        Index = "index",
        /// A segment cannot be opened or made.
        Segment = "segment",
        /// Bytes of the store that do not make sense; treated as absent.
        Corrupt = "corrupt",
        /// The counters cannot be mapped.
        Volatile = "volatile",
        /// The observer could not be set up.
        Observer = "observer",
        /// An output could not be written while a hit was delivered.
        Deliver = "deliver",
        /// The full disk, or another error while appending.
        Append = "append",
        /// A result of another directory was not what the tool made here; its class of commands is not shared any longer.
        Audit = "audit",
    }
}
