//! Tells the linker where libsam.so is. Cargo does not order the two builds, because sam-run does not depend on the
//! library's crate: `make` builds the library first.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SAM_RUN_LIBDIR");
    println!("cargo::rerun-if-env-changed=SAM_RUN_RPATH");
    // By default where cargo puts the library of this workspace: OUT_DIR is build/sam-run-HASH/out below that folder.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let built = out.ancestors().nth(3).ok_or("OUT_DIR has fewer folders than cargo documents")?;
    let folder = env::var_os("SAM_RUN_LIBDIR").map_or_else(|| built.to_owned(), PathBuf::from);
    println!("cargo::rustc-link-search=native={}", folder.display());
    // With a new library the program is linked again.
    println!("cargo::rerun-if-changed={}", folder.join("libsam.so").display());
    // A program in PREFIX/bin finds the library in PREFIX/lib. Distributions set SAM_RUN_RPATH to nothing, because
    // their loader finds the library.
    let rpath = env::var("SAM_RUN_RPATH").unwrap_or_else(|_| "$ORIGIN/../lib".to_owned());
    if !Path::new(&rpath).as_os_str().is_empty() {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{rpath}");
    }
    Ok(())
}
