#!/bin/sh
# Weeks on a Rust program: the releases of ripgrep are its commits, each followed by edits of main.rs with a build after each,
# test binaries after some, a release build at times, a clean build each night, the release before it in a second checkout.
#
#     ripgrep.sh 14.0.0 14.1.0 15.0.0           in an empty directory; RUSTC_WRAPPER is ibid, the crates have been fetched
set -eu
registry=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*)
mkdir work before
# What lies above is not for cargo to read.
check_out() {
    find "$1" -mindepth 1 -maxdepth 1 ! -name target -exec rm -r {} +
    cp -rL "$registry/ripgrep-$2"/. "$1" && rm -f "$1/.cargo-ok" && printf '\n[workspace]\n' >>"$1/Cargo.toml"
}
cargo_in() { directory=$1 && shift && (cd "$directory" && cargo -q "$@" --offline) >/dev/null 2>&1; }
last=
for version in "$@"; do
    check_out work "$version"
    [ -z "$last" ] || { check_out before "$last" && cargo_in before build; }
    cargo_in work build
    for edit in 1 2 3 4 5 6 7 8 9 10; do
        echo "// edit $edit: $(seq -s ' ' "$edit")" >>work/crates/core/main.rs
        printf '#[allow(dead_code)]\nfn edit_%s() -> usize { %s }\n' "$edit" "$edit" >>work/crates/core/main.rs
        cargo_in work build
        [ $((edit % 5)) != 0 ] || cargo_in work test --no-run
    done
    cargo_in work build --release
    rm -rf work/target && cargo_in work build
    last=$version
done
