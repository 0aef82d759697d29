//! `flexnode-build`; everything is in the library.

fn main() -> std::process::ExitCode {
    flexnode_build::cli::main()
}
