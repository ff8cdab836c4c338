//! What `make install` puts where: a `libsam.pc` that can be relocated, and modes that let every user in.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::tools::{Scratch, run};

/// Runs `make install` with these variables and umask 077, into a folder of its own. Builds nothing: it installs what
/// the tests run with.
fn install(scratch: &Scratch, goal: &str, variables: &[&str]) -> PathBuf {
    let root = scratch.path("root");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let mut make = Command::new("sh");
    make.args(["-c", r#"umask 077 && exec make "$@""#, "sh", "--no-print-directory", goal])
        // Installing needs no cargo, also where the sources have changed since the build.
        .args(["-o", &format!("{target}/release/libsam.stamp"), "CARGO=false"])
        .arg(format!("DESTDIR={}", root.display()))
        .args(variables)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Those of a `make test` around it are not meant for this one.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .env_remove("MAKELEVEL");
    let (status, said) = run(make);
    assert!(status.success(), "make install {variables:?}: {status}\n{said}");
    root
}

/// What pkg-config says of the libsam.pc in a folder.
fn pkg_config(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("pkg-config");
    command
        .env("PKG_CONFIG_LIBDIR", folder)
        .env_remove("PKG_CONFIG_PATH")
        .env_remove("PKG_CONFIG_SYSROOT_DIR")
        .args(arguments)
        .arg("libsam");
    let (status, said) = run(command);
    assert!(status.success(), "pkg-config {arguments:?}: {status}\n{said}");
    said.trim().to_owned()
}

fn pkg_config_relocates_the_library_with_its_prefix() {
    let scratch = Scratch::new("relocate");
    let root = install(&scratch, "install", &["prefix=/opt/libsam"]);
    let folder = root.join("opt/libsam/lib/pkgconfig");
    let flags = ["--cflags", "--libs"];
    assert_eq!(pkg_config(&folder, &flags), "-I/opt/libsam/include -L/opt/libsam/lib -lsam");
    let moved = root.join("opt/libsam").display().to_string();
    let relocated = pkg_config(&folder, &["--define-prefix", "--cflags", "--libs"]);
    assert_eq!(relocated, format!("-I{moved}/include -L{moved}/lib -lsam"));
    let relocated = pkg_config(&folder, &["--define-variable=prefix=/else", "--cflags", "--libs"]);
    assert_eq!(relocated, "-I/else/include -L/else/lib -lsam");
    let relocated = pkg_config(&folder, &["--define-variable=exec_prefix=/else", "--cflags", "--libs"]);
    assert_eq!(relocated, "-I/opt/libsam/include -L/else/lib -lsam");
}

fn pkg_config_says_what_was_overridden() {
    for (variables, folder, moved, [prefix, exec_prefix, libdir, includedir]) in [
        (
            &["prefix=/usr", "libdir=/usr/lib/x86_64-linux-gnu"][..],
            "usr/lib/x86_64-linux-gnu",
            ["/else/lib/x86_64-linux-gnu", "/else/include"],
            ["/usr", "/usr", "/usr/lib/x86_64-linux-gnu", "/usr/include"],
        ),
        (
            &["prefix=/usr", "libdir=/usrlib", "includedir=/srv/include"],
            "usrlib",
            ["/usrlib", "/srv/include"],
            ["/usr", "/usr", "/usrlib", "/srv/include"],
        ),
        (
            &["prefix=/usr", "exec_prefix=/usr/arch"],
            "usr/arch/lib",
            ["/else/arch/lib", "/else/include"],
            ["/usr", "/usr/arch", "/usr/arch/lib", "/usr/include"],
        ),
        (
            &["prefix=/usr", "exec_prefix=/arch"],
            "arch/lib",
            ["/arch/lib", "/else/include"],
            ["/usr", "/arch", "/arch/lib", "/usr/include"],
        ),
        (&["prefix="], "lib", ["/else/lib", "/else/include"], ["", "", "/lib", "/include"]),
    ] {
        let scratch = Scratch::new("override");
        let folder = install(&scratch, "install", variables).join(folder).join("pkgconfig");
        let value = |name: &str| pkg_config(&folder, &[&format!("--variable={name}")]);
        let values = ["prefix", "exec_prefix", "libdir", "includedir"].map(value);
        assert_eq!(values, [prefix, exec_prefix, libdir, includedir], "{variables:?}");
        let value = |name: &str| {
            pkg_config(&folder, &["--define-variable=prefix=/else", &format!("--variable={name}")])
        };
        assert_eq!(["libdir", "includedir"].map(value), moved, "{variables:?}");
    }
}

/// Calls `visit` with everything below a folder, and the folder.
fn visit_all(path: &Path, visit: &mut impl FnMut(&Path)) {
    visit(path);
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            visit_all(&entry.unwrap().path(), visit);
        }
    }
}

fn every_user_can_read_what_is_installed_under_any_umask() {
    for goal in ["install", "install-strip"] {
        let scratch = Scratch::new(goal);
        let root = install(&scratch, goal, &["prefix=/opt/libsam"]);
        let mut files = 0;
        let mut wrong = Vec::new();
        visit_all(&root, &mut |path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let kind = metadata.file_type();
            assert!(!kind.is_fifo() && !kind.is_socket(), "{}", path.display());
            let is_program = path.ends_with("bin/sam-status") || path.ends_with("lib/libsam.so.4.4.0");
            let expected = match kind {
                _ if kind.is_symlink() => return,
                _ if kind.is_dir() || is_program => 0o755,
                _ => 0o644,
            };
            files += usize::from(kind.is_file());
            let mode = metadata.permissions().mode() & 0o7777;
            if mode != expected {
                wrong.push(format!("{mode:o} {}, not {expected:o}", path.display()));
            }
        });
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(files > 10, "{files} files");
        let link = fs::read_link(root.join("opt/libsam/lib/libsam.so.4")).unwrap();
        assert_eq!(link, Path::new("libsam.so.4.4.0"));
    }
}

common::runner::tests![
    pkg_config_relocates_the_library_with_its_prefix,
    pkg_config_says_what_was_overridden,
    every_user_can_read_what_is_installed_under_any_umask,
];
