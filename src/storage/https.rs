//! `ccache-storage-https`: `ccache-storage-http` by its other name.

#[path = "http.rs"]
mod http;

fn main() -> std::process::ExitCode {
    http::main()
}
