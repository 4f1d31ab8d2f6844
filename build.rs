//! Compiles the contract in `proto/` with protox, so that nobody needs protoc.

use std::path::PathBuf;
use std::{env, fs};

const FILES: [&str; 5] = [
    "proto/baton/v1/scoring.proto",
    "proto/baton/v1/conversation.proto",
    "proto/baton/v1/handoff.proto",
    "proto/baton/v1/routing.proto",
    "proto/baton/v1/admin.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo talks to a build script through its environment")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // tonic's builder does not name the files it read.
    FILES.iter().for_each(|file| println!("cargo::rerun-if-changed={file}"));
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("baton.v1.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
