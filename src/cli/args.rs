//! What can be typed after `ibid`: one definition for parsing, help and completion.
//!
//! It validates and does nothing else. Read next: `mod.rs`, where the subcommands are run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::times::{Since, parse_age, parse_since};

const AFTER_HELP: &str = "\
To use the cache, put `ibid` before the compiler, or let the build do it:
  ibid gcc -c hello.c -o hello.o
  make CC=\"ibid gcc\" CXX=\"ibid g++\"
  cmake -DCMAKE_C_COMPILER_LAUNCHER=ibid -DCMAKE_CXX_COMPILER_LAUNCHER=ibid …
  ibid install         (links named like the compilers, to put first on PATH)

The cache is $IBID_DIR, else $XDG_CACHE_HOME/ibid, else ~/.cache/ibid.
`ibid config` lists the settings.";

/// A compiler cache: the second time, the result comes from shared memory.
#[derive(Debug, Parser)]
#[command(
    name = "ibid",
    version,
    about = "A compiler cache: what was compiled before is copied, not compiled again",
    override_usage = "ibid COMPILER [ARGUMENT]…\n       ibid <COMMAND> [OPTION]…",
    after_help = AFTER_HELP,
    disable_help_subcommand = true,
    term_width = 80
)]
pub struct Line {
    /// What is asked for.
    #[command(subcommand)]
    pub command: SubcommandArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum SubcommandArgs {
    /// Run a compiler, or any other tool, through the cache
    Exec(ToolLine),
    /// Show hits, misses, the time saved, and what the cache holds
    Stats(Stats),
    /// Say whether a command would be a hit, or why compiles missed
    Explain(Explain),
    /// Remove everything that is stored (the counters stay)
    Clear,
    /// Say whether compiles are cached here, what is wrong, what to do
    Doctor(Doctor),
    /// Evict to a size and an age, and remove what nobody will use again
    Gc(Gc),
    /// Check every byte that is stored; exits 1 if anything is damaged
    Verify(Verify),
    /// Write what is stored to one file, for another cache
    Export(Export),
    /// Verify a file that `ibid export` wrote, and add what is new in it
    Import(Import),
    /// Show the storages beyond this machine; send what waits for them
    Remote(RemoteArgs),
    /// Write a page about the last build and the cache, for a browser
    Report(Report),
    /// Show what the cache does now, until `q` is typed
    Monitor,
    /// Show or change the settings
    Config(ConfigArgs),
    /// Make links named like the compilers; or set up cargo or cmake
    Install(Install),
    /// Remove what `install` made
    Uninstall(Uninstall),
    /// Show cold and warm compiles, in a temporary cache
    Demo,
    /// Print the completion script for a shell
    Completions(Completions),
}

/// `exec -- TOOL ARGS…`
#[derive(Debug, Args)]
pub struct ToolLine {
    /// Run it twice without the cache, and say whether it repeats itself; exits 0 if so, 1 if not, 3 if that cannot be said
    #[arg(long)]
    pub check: bool,
    /// The tool and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "TOOL"
    )]
    pub tool_line: Vec<OsString>,
}

/// `stats`
#[derive(Debug, Default, Args)]
pub struct Stats {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The form of the figures
    #[arg(long, value_enum, default_value_t, hide_default_value = true, conflicts_with = "json")]
    pub format: Format,
    /// Set the counters to zero (after showing them)
    #[arg(long)]
    pub zero: bool,
}

/// The form in which figures are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for a person
    #[default]
    Text,
    /// One JSON object, as `--json`
    Json,
    /// The text format of Prometheus
    Prometheus,
    /// The lines of `sccache --show-stats`
    Sccache,
}

/// `explain -- TOOL ARGS…`, `explain --last [N]`, `explain --build [NAME]`
#[derive(Debug, Args)]
pub struct Explain {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Why the last N compiles missed [default: 100]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "100",
        conflicts_with = "tool_line"
    )]
    pub last: Option<usize>,
    /// Why the compiles of a build missed [default: the last build]
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with = "tool_line"
    )]
    pub build: Option<String>,
    /// The tool and its arguments
    #[arg(
        required_unless_present_any = ["last", "build"],
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "TOOL"
    )]
    pub tool_line: Vec<OsString>,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show all that was looked at, a line each
    #[arg(short, long)]
    pub verbose: bool,
    /// Leave out the compiles that try each compiler
    #[arg(long)]
    pub quick: bool,
}

/// `gc`
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Gc {
    /// Drop what was stored longer ago, such as `30d` or `12h`
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_age: Option<Duration>,
    /// Evict to this size instead of the configured one, such as `5G`
    #[arg(long, value_name = "SIZE", value_parser = crate::config::parse_size)]
    pub max_size: Option<u64>,
    /// Drop what was made in this directory, or from sources in it
    #[arg(long, value_name = "DIR")]
    pub root: Vec<PathBuf>,
    /// Drop what is of use only in checkouts that are removed
    #[arg(long)]
    pub gone: bool,
    /// Drop what compilers made that are removed or have been replaced
    #[arg(long)]
    pub unused_toolchains: bool,
    /// Compress what was neither stored nor used for so long (default: a day), and not only what a full cache does by itself
    #[arg(long, value_name = "AGE", value_parser = parse_age, num_args = 0..=1, default_missing_value = "1d")]
    pub compress: Option<Duration>,
    /// Remove nothing, only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// What a build starts beside itself
    #[arg(long, hide = true)]
    pub in_background: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Drop what is damaged
    #[arg(long)]
    pub repair: bool,
}

/// `export FILE`
#[derive(Debug, Args)]
pub struct Export {
    /// Where it goes; `-` is standard output
    pub file: PathBuf,
    /// Only what was stored, or used for the first time in another place, since then: `2h` (ago), `3d`, a date such as
    /// `2026-11-29T13:44:41Z`, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Only what this build was served or has stored (default: the last one), as far as its events are known
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", conflicts_with = "since")]
    pub build: Option<String>,
}

/// `import FILE`
#[derive(Debug, Args)]
pub struct Import {
    /// What `ibid export` wrote; `-` is standard input
    pub file: PathBuf,
}

/// `remote [status|flush|key]`
#[derive(Debug, Args)]
pub struct RemoteArgs {
    /// What is to be done; `status` if nothing is said
    #[command(subcommand)]
    pub action: Option<RemoteAction>,
}

/// What can be done with the storages.
#[derive(Debug, Subcommand)]
pub enum RemoteAction {
    /// Try each storage, and say what it did and what waits to be sent
    Status,
    /// Send what waits, and come back when that is done
    Flush {
        /// How many seconds to wait at most
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
    },
    /// The key that signs what is sent from here, and the keys whose results are taken
    Key(RemoteKeyArgs),
    /// What a build starts beside itself
    #[command(hide = true)]
    Send,
}

/// `remote key [list|show|new|trust|distrust]`
#[derive(Debug, Args)]
pub struct RemoteKeyArgs {
    /// What is to be done; `list` if nothing is said
    #[command(subcommand)]
    pub action: Option<RemoteKeyAction>,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum RemoteKeyAction {
    /// Whether what is sent is signed, and whose results are taken
    List,
    /// Print the public key that belongs to what is sent from here
    Show,
    /// Make a key: from now on what is sent from here is signed
    New {
        /// What people are to call it [default: the name of this machine]
        name: Option<String>,
    },
    /// From now on take results only if they are signed by a trusted key, of which this is one
    Trust {
        /// What `ibid remote key show` prints where the results are made
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Take no more results of this key; without any key left, none at all
    Distrust {
        /// A key, or its name
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

/// `report FILE.html`
#[derive(Debug, Args)]
pub struct Report {
    /// The page
    #[arg(value_name = "FILE.html")]
    pub file: PathBuf,
    /// About the build of this name [default: the last build]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub build: String,
}

/// `config [list|get|set|unset]`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What is to be done with the settings; `list` if nothing is said
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// What can be done with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Show every setting and where its value comes from
    List,
    /// Print the value of one setting
    Get {
        /// Such as `max_size`
        key: String,
    },
    /// Write one setting to the settings file
    Set {
        /// Such as `max_size`
        key: String,
        /// Such as `20G`
        value: String,
    },
    /// Remove one setting from the settings file
    Unset {
        /// Such as `max_size`
        key: String,
    },
}

/// `install [DIR]`, `install --cargo`, `install --cmake`
#[derive(Debug, Args)]
pub struct Install {
    /// The directory of the symlinks [default: ~/.local/lib/ibid]
    #[arg(conflicts_with_all = ["cargo", "cmake"])]
    pub dir: Option<PathBuf>,
    /// Write ibid as `build.rustc-wrapper` into your cargo configuration, after asking
    #[arg(long, conflicts_with = "cmake")]
    pub cargo: bool,
    /// Print presets for cmake, such as CMakeUserPresets.json holds
    #[arg(long)]
    pub cmake: bool,
    /// Of --cargo: do not ask
    #[arg(long, requires = "cargo")]
    pub yes: bool,
}

/// `uninstall [DIR]`, `uninstall --cargo`
#[derive(Debug, Args)]
pub struct Uninstall {
    /// The directory of the symlinks [default: ~/.local/lib/ibid]
    #[arg(conflicts_with = "cargo")]
    pub dir: Option<PathBuf>,
    /// Take ibid out of your cargo configuration, after asking
    #[arg(long)]
    pub cargo: bool,
    /// Of --cargo: do not ask
    #[arg(long, requires = "cargo")]
    pub yes: bool,
}

/// `completions SHELL`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}
