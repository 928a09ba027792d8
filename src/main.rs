//! The `mosaic` binary; also answers as `fleet` and `agent` when called by those names.

fn main() -> std::process::ExitCode {
    mosaic::cli::main()
}
