//! Compiles the preload shim for the target, and says whether the binary's ELF entry can be ours.
#![allow(clippy::disallowed_methods, reason = "a build script has no other way to its settings")]
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SHIM: &str = "src/observe/shim/preload_shim.rs";
const ENTRY: &str = "src/entry/mod.rs";
const NO_STATIC_LIBC: &str = "libc.a is missing, and ibid is a static binary: install libc6-dev (Debian, Ubuntu) or \
                              glibc-static (Fedora)";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(ibid_entry)");
    if env::var_os("CARGO_FEATURE_STD").is_some() {
        if is_static() && is_native() && !has_static_libc() {
            println!("cargo::error={NO_STATIC_LIBC}");
            return;
        }
        compile_shim();
        choose_entry();
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn is_static() -> bool {
    variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "crt-static")
}

/// Whether the binary is for this kind of machine and glibc, so that this machine's own linker driver and library count.
fn is_native() -> bool {
    variable("TARGET") == variable("HOST") && variable("CARGO_CFG_TARGET_ENV") == "gnu"
}

/// Whether the linker driver knows where the static C library is; also if it cannot be asked: linking will tell.
fn has_static_libc() -> bool {
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let driver = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let Ok(done) = Command::new(driver).arg("-print-file-name=libc.a").output() else {
        return true;
    };
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    // What is not found is repeated as it was asked for.
    !done.status.success() || said != "libc.a"
}

/// The compiler behind the wrapper that cargo was given, if it was.
fn rustc() -> Command {
    match env::var_os("RUSTC_WRAPPER").filter(|wrapper| !wrapper.is_empty()) {
        Some(wrapper) => {
            let mut command = Command::new(wrapper);
            command.arg(variable("RUSTC"));
            command
        }
        None => Command::new(variable("RUSTC")),
    }
}

/// The shim is a crate of its own: no dependencies, no libc, no start files, not even for its memory functions.
fn compile_shim() {
    for path in ["src/observe/shim", "src/os/elf.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = PathBuf::from(variable("OUT_DIR")).join("shim.so");
    let mut rustc = rustc();
    rustc.args(["--edition=2024", "--crate-name=ibid_shim", "--crate-type=cdylib", "--target"]);
    rustc.arg(variable("TARGET"));
    for option in [
        "opt-level=s",
        "panic=abort",
        "codegen-units=1",
        "lto=fat",
        "relocation-model=pic",
        "target-feature=-crt-static",
        "strip=symbols",
        "debug-assertions=no",
        "overflow-checks=no",
        "link-arg=-nostdlib",
        "link-arg=-Wl,-z,defs",
        "link-arg=-Wl,-z,now",
        "link-arg=-Wl,--hash-style=gnu",
        // Fewer mappings and fewer pages to fault in and to dirty, in every process of the tool tree.
        "force-unwind-tables=no",
        "link-arg=-Wl,-z,norelro",
        // Our own calls of our own functions are ours alone.
        "link-arg=-Wl,-Bsymbolic",
        "link-arg=-Wl,--build-id=none",
        "link-arg=-Wl,-soname,ibid-shim.so",
    ] {
        rustc.args(["-C", option]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let status = rustc.arg("-o").arg(&out).arg(SHIM).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot compile {SHIM}");
}

/// The probe runs before libc only in a static binary at a fixed address. The link argument applies to the binary's own
/// unit tests as well.
fn choose_entry() {
    println!("cargo:rerun-if-changed=src/entry");
    let is_written = std::fs::read_to_string(ENTRY).is_ok_and(|text| text.contains("ibid_entry"));
    if !is_written {
        return;
    }
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let mut flags = flags.split('\x1f').map(|flag| flag.trim_start_matches("-C"));
    let is_fixed = flags.any(|flag| flag == "relocation-model=static");
    if is_static() && is_fixed {
        println!("cargo:rustc-link-arg-bin=ibid=-Wl,-e,ibid_entry");
        println!("cargo:rustc-cfg=ibid_entry");
    } else {
        println!(
            "cargo:warning=ibid is not static at a fixed address (RUSTFLAGS replaced the checkout's flags?): it works, \
             but a hit takes three times as long"
        );
    }
}
