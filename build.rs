//! Links the shared library `libsam.so.4`: its soname, its symbol version, its flags.
//!
//! rustc passes the linker a version script without a version name, and no linker combines such a script with another
//! one. So the compiler driver, which rustc links with, is told to use a linker from OUT_DIR. That is a shell script:
//! it puts our version script in place of rustc's and runs the real linker.

use std::path::PathBuf;
use std::process::Command;
use std::{env, error::Error, fs, os::unix::fs::PermissionsExt};

/// The names that the library exports, and their version.
const EXPORTS: &str = "src/capi/exports.map";
/// The functions that take the place of the C library's within the library.
const DIRECT: &str = "src/sys/direct.rs";

/// The shell script in the linker's place. Besides the version script it replaces libgcc_s, with which std unwinds, by
/// the static library of the same functions: a program starts faster with one shared library less.
const LINKER: &str = r#"#!/bin/sh
for argument do
    shift
    case $argument in
    --version-script=*) argument=--version-script=${0%/*}/exports.map ;;
    -lgcc_s) set -- "$@" -lgcc_eh; argument=-lgcc ;;
    esac
    set -- "$@" "$argument"
done
exec 'REAL' "$@"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={EXPORTS}");
    println!("cargo::rerun-if-changed={DIRECT}");
    println!("cargo::rerun-if-env-changed=LDFLAGS");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let direct = out.join("direct.ld");
    fs::copy(EXPORTS, out.join("exports.map"))?;
    fs::write(&direct, assignments()?)?;

    // As a C compiler would: with the options in LDFLAGS, and with another linker if they name one.
    let flags = env::var("LDFLAGS").unwrap_or_default();
    let (choices, flags): (Vec<_>, Vec<_>) =
        flags.split_whitespace().partition(|flag| flag.starts_with("-fuse-ld="));
    let choice = choices.last().map(|choice| choice.replace("-fuse-ld=", "ld."));
    let real = real_linker(choice.as_deref().unwrap_or("ld"))?;
    // gcc and clang look for the linker of -fuse-ld=bfd by this name.
    let linker = out.join("ld.bfd");
    fs::write(&linker, LINKER.replace("REAL", &real))?;
    fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))?;

    let own = [
        &format!("-B{}", out.display()),
        "-fuse-ld=bfd",
        &direct.display().to_string(),
        "-Wl,-soname,libsam.so.4",
        // A thread of the library may still run after dlclose(3).
        "-Wl,-z,nodelete",
    ];
    for argument in flags.into_iter().chain(own) {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    Ok(())
}

/// Returns a linker script that puts each function `sam_direct_NAME` in the place of NAME. It is for the shared library
/// alone: a program of ours that used the same source would have these functions instead of the C library's.
fn assignments() -> Result<String, Box<dyn Error>> {
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    // The conditions of the source.
    let without_stat = ["loongarch64", "mips64"].contains(&target("ARCH").as_str());
    let is_there = |name: &&str| !(without_stat && ["fstat64", "stat64"].contains(name));
    let source = fs::read_to_string(DIRECT)?;
    let names = source.split("sam_direct_").skip(1);
    let names = names.map(|rest| rest.split(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_')).next());
    let mut names: Vec<&str> = names.flatten().filter(|name| !name.is_empty()).filter(is_there).collect();
    names.sort();
    names.dedup();
    Ok(names.iter().map(|name| format!("{name} = sam_direct_{name};\n")).collect())
}

/// Returns the linker `name` of the compiler driver that rustc links with.
fn real_linker(name: &str) -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut in_flags =
        flags.split('\x1f').filter_map(|flag| flag.trim_start_matches("-C").strip_prefix("linker="));
    let driver = in_flags.next_back().map(str::to_owned).or_else(|| env::var("RUSTC_LINKER").ok());
    let driver = driver.unwrap_or_else(|| "cc".to_owned());
    let output = Command::new(&driver).arg(format!("-print-prog-name={name}")).output();
    let output = output.map_err(|error| format!("cannot run {driver}, which links the library: {error}"))?;
    let linker = String::from_utf8(output.stdout)?.trim().to_owned();
    if linker.is_empty() {
        return Err(format!("{driver}, which links the library, does not know of a linker {name}").into());
    }
    Ok(linker)
}
