//! The results of `make install` and `make uninstall`: a `libsam.pc` that can be relocated, modes that let every user
//! in, and files of a package that are left alone.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::tools::{Scratch, run};

/// Runs `make install` with these variables and umask 077 into a private folder. Builds nothing, but installs the files
/// that the tests use.
fn install(scratch: &Scratch, goal: &str, variables: &[&str]) -> PathBuf {
    let root = scratch.path("root");
    let (status, said) = run(make(&root, goal, variables));
    assert!(status.success(), "make {goal} {variables:?}: {status}\n{said}");
    root
}

/// Returns the command of `install`.
fn make(root: &Path, goal: &str, variables: &[&str]) -> Command {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let mut make = Command::new("sh");
    make.args(["-c", r#"umask 077 && exec make "$@""#, "sh", "--no-print-directory", goal])
        // Installing needs no cargo, also where the sources have changed since the build.
        .args(["-o", &format!("{target}/release/libsam.stamp"), "CARGO=false"])
        .arg(format!("DESTDIR={}", root.display()))
        .args(variables)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // These come from a make that runs the tests.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("FORCE");
    make
}

/// Returns what pkg-config prints for the libsam.pc in a folder.
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

fn pkg_config_reports_overridden_variables() {
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

/// Calls `visit` with a folder and everything below it.
fn visit_all(path: &Path, visit: &mut impl FnMut(&Path)) {
    visit(path);
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            visit_all(&entry.unwrap().path(), visit);
        }
    }
}

fn installed_files_are_readable_by_every_user_under_umask_077() {
    for goal in ["install", "install-strip"] {
        let scratch = Scratch::new(goal);
        let root = install(&scratch, goal, &["prefix=/opt/libsam"]);
        let mut files = 0;
        let mut wrong = Vec::new();
        visit_all(&root, &mut |path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let kind = metadata.file_type();
            assert!(!kind.is_fifo() && !kind.is_socket(), "{}", path.display());
            let is_program = ["bin/sam-run", "bin/sam-status"].iter().any(|end| path.ends_with(end))
                || path.ends_with("lib/libsam.so.4.4.0");
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
        assert!(files > 10, "only {files} files are installed");
        let link = fs::read_link(root.join("opt/libsam/lib/libsam.so.4")).unwrap();
        assert_eq!(link, Path::new("libsam.so.4.4.0"));
    }
}

/// Returns the files below a folder, including links.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    visit_all(root, &mut |path| {
        if !fs::symlink_metadata(path).unwrap().is_dir() {
            files.push(path.to_owned());
        }
    });
    files
}

/// Makes a program `name` that stands for a package manager: it prints `said` for `file`, and fails for every other
/// file. Returns its folder.
fn package_manager(scratch: &Scratch, name: &str, said: &str, file: &str) -> PathBuf {
    let folder = scratch.path(name);
    fs::create_dir(&folder).unwrap();
    let program = folder.join(name);
    let script = format!(
        "#!/bin/sh\nfor file; do case $file in */{file}) echo \"{said}\"; exit 0 ;; esac; done\nexit 1\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn files_of_a_package_are_neither_overwritten_nor_deleted_unless_forced() {
    for (name, said, file) in
        [("dpkg", "libsam4:amd64: $file", "libsam.so.4"), ("rpm", "corosynclib-devel", "sam.h")]
    {
        let scratch = Scratch::new(name);
        let prefix = ["prefix=/opt/libsam"];
        let root = install(&scratch, "install", &prefix);
        let before = files(&root);
        let owned = before.iter().find(|path| path.ends_with(file)).unwrap();
        // The changed content shows whether the file is overwritten.
        let theirs = root.join("opt/libsam/include/corosync/corotypes.h");
        fs::write(&theirs, "theirs").unwrap();

        let folder = package_manager(&scratch, name, said, file);
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        for goal in ["install", "uninstall"] {
            let mut refused = make(&root, goal, &prefix);
            refused.env("PATH", &path);
            let (status, said) = run(refused);
            assert!(!status.success(), "{goal}: {said}");
            let package = ["libsam4:amd64", "corosynclib-devel"].iter().any(|name| said.contains(name));
            assert!(package && said.contains(&owned.display().to_string()), "{goal}: {said}");
            assert!(said.contains("FORCE=1"), "{goal}: {said}");
            assert_eq!(files(&root), before, "{goal}: {said}");
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs", "{goal}");
        }

        for (goal, left) in [("install", &before[..]), ("uninstall", &[])] {
            let mut forced = make(&root, goal, &["prefix=/opt/libsam", "FORCE=1"]);
            forced.env("PATH", &path);
            let (status, said) = run(forced);
            assert!(status.success(), "{goal}: {said}");
            assert_eq!(files(&root), left, "{goal}: {said}");
        }
    }
}

fn dpkg_names_the_owner_of_an_installed_file() {
    // Run the script alone. If `make uninstall` were run and the script were wrong, it would delete this file.
    let mut refuse = Command::new("packaging/refuse-owned");
    refuse.args(["/nonexistent/libsam.so.4", "/usr/include/corosync/sam.h"]);
    refuse.current_dir(env!("CARGO_MANIFEST_DIR"));
    let (status, said) = run(refuse);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(": /usr/include/corosync/sam.h\n"), "{said}");
}

common::runner::tests![
    pkg_config_relocates_the_library_with_its_prefix,
    pkg_config_reports_overridden_variables,
    installed_files_are_readable_by_every_user_under_umask_077,
    files_of_a_package_are_neither_overwritten_nor_deleted_unless_forced,
    dpkg_names_the_owner_of_an_installed_file,
];
