//! The results of `make install` and `make uninstall`: a `libsam.pc` that can be relocated, modes that let every user
//! in, a stripped library whose symbols debuggers find, a word on what the dynamic loader finds, and files of a package
//! that are left alone.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::tools::{Scratch, run, write_script};
use object::{Object, ObjectSymbol};

/// Runs `make install` with these variables and umask 077 into a private folder. Builds nothing, but installs the files
/// that the tests use.
fn install(scratch: &Scratch, goal: &str, variables: &[&str]) -> PathBuf {
    install_saying(scratch, goal, variables);
    scratch.path("root")
}

/// Does the same as `install`, and returns what make prints.
fn install_saying(scratch: &Scratch, goal: &str, variables: &[&str]) -> String {
    let (status, said) = run(make(&scratch.path("root"), goal, variables));
    assert!(status.success(), "make {goal} {variables:?}: {status}\n{said}");
    said
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
    for strip in ["STRIP=yes", "STRIP=no"] {
        let scratch = Scratch::new("modes");
        let root = install(&scratch, "install", &["prefix=/opt/libsam", strip]);
        let mut files = 0;
        let mut wrong = Vec::new();
        visit_all(&root, &mut |path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let kind = metadata.file_type();
            assert!(!kind.is_fifo() && !kind.is_socket(), "{}", path.display());
            let is_program = path.parent().unwrap().ends_with("bin") || path.ends_with("lib/libsam.so.4.4.0");
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

fn addr2line_finds_source_of_stripped_library_in_debug_file() {
    let scratch = Scratch::new("strip");
    let folder = install(&scratch, "install", &["prefix=/opt/libsam"]).join("opt/libsam/lib");
    let library = folder.join("libsam.so.4.4.0");
    let size = fs::metadata(&library).unwrap().len();
    assert!(size < 1_000_000, "the installed library has {size} bytes");

    let data = fs::read(&library).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("sam_hc_send")).unwrap();
    let source = || {
        let mut addr2line = Command::new("addr2line");
        addr2line.arg("-e").arg(&library).arg(format!("{:x}", symbol.address()));
        run(addr2line).1
    };
    assert!(source().contains("src/capi.rs:"), "{}", source());

    let root = install(&scratch, "install", &["prefix=/opt/libsam", "STRIP=no"]);
    assert!(
        !files(&root).contains(&folder.join("libsam.so.4.4.0.debug")),
        "a file of an earlier installation is left"
    );
    assert!(source().contains("src/capi.rs:"), "without a debug file: {}", source());
}

/// Makes a program in place of ldconfig that finds `libraries`, and writes to the file `called` when it updates its
/// cache. Returns its path.
fn ldconfig(scratch: &Scratch, libraries: &[&Path]) -> PathBuf {
    let program = scratch.path("ldconfig");
    let list: String = libraries
        .iter()
        .map(|path| format!("\tlibsam.so.4 (libc6,x86-64) => {}\n", path.display()))
        .collect();
    let called = scratch.path("called");
    let script =
        format!("#!/bin/sh\n[ \"$*\" = -p ] && printf '%b' '{list}' || echo >'{}'\n", called.display());
    write_script(&program, &script);
    program
}

fn make_install_says_how_programs_find_library_unless_loader_does() {
    let scratch = Scratch::new("loader");
    let prefix = scratch.path("root");
    let library = prefix.join("lib/libsam.so.4");
    let other = scratch.path("libsam.so.4");
    fs::write(&other, "").unwrap();
    let advice = format!("LD_LIBRARY_PATH={}", prefix.join("lib").display());
    let installs = |libraries: &[&Path], destination: &str| {
        let _ = fs::remove_file(scratch.path("called"));
        let program = ldconfig(&scratch, libraries);
        install_saying(
            &scratch,
            "install",
            &[
                &format!("prefix={}", prefix.display()),
                &format!("LDCONFIG={}", program.display()),
                &format!("DESTDIR={destination}"),
            ],
        )
    };
    let said = installs(&[], "");
    assert!(said.contains("does not find libsam.so.4") && said.contains(&advice), "{said}");
    let is_root = nix::unistd::geteuid().is_root();
    assert_eq!(scratch.path("called").exists(), is_root, "the cache is updated if the user may do that");
    let said = installs(&[&other, &library], "");
    assert!(said.contains(&format!("finds {}", other.display())) && said.contains(&advice), "{said}");
    let said = installs(&[&library, &other], "");
    assert!(!said.contains("dynamic loader"), "{said}");

    let said = installs(&[], &scratch.path("package").display().to_string());
    assert!(!said.contains("dynamic loader") && !scratch.path("called").exists(), "with DESTDIR: {said}");
}

fn make_uninstall_removes_its_empty_folders_but_no_other_file() {
    let scratch = Scratch::new("uninstall");
    let prefix = ["prefix=/opt/libsam"];
    let root = install(&scratch, "install", &prefix);
    let theirs = root.join("opt/libsam/share/man/man3/theirs.3");
    fs::write(&theirs, "").unwrap();
    install(&scratch, "uninstall", &prefix);
    assert_eq!(files(&root), [theirs.as_path()]);
    assert!(!root.join("opt/libsam/lib").exists());

    fs::remove_file(&theirs).unwrap();
    install(&scratch, "install", &prefix);
    install(&scratch, "uninstall", &prefix);
    assert!(!root.join("opt/libsam").exists(), "{:?}", fs::read_dir(root.join("opt/libsam")));
    assert!(root.join("opt").exists(), "the folder around the prefix is not ours");
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
    write_script(&program, &script);
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
    addr2line_finds_source_of_stripped_library_in_debug_file,
    make_install_says_how_programs_find_library_unless_loader_does,
    make_uninstall_removes_its_empty_folders_but_no_other_file,
    files_of_a_package_are_neither_overwritten_nor_deleted_unless_forced,
    dpkg_names_the_owner_of_an_installed_file,
];
