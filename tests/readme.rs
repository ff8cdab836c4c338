//! What the README tells a new user to do works as printed. `sudo` is a function here that installs below a private
//! folder; the rest of the machine is told about that folder by the environment alone.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::tools::{Scratch, command, run};

/// The shell blocks of a section of the README.
fn blocks(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let text = readme.split("\n## ").find_map(|part| part.strip_prefix(section)).expect(section);
    text.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `script` in a shell that stops at the first command that fails, as on a machine where `stage` is /.
fn as_printed(stage: &Path, script: &str) -> String {
    let libdir = stage.join("usr/lib/x86_64-linux-gnu");
    let mut shell = command("sh");
    shell
        .args(["-euc", &format!("sudo() {{ \"$@\" DESTDIR='{}'; }}\n{script}", stage.display())])
        .current_dir(root())
        // Of the make and the cargo around this test.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .env("MANPATH", stage.join("usr/share/man"))
        .env("MANPAGER", "cat")
        .env("PKG_CONFIG_PATH", libdir.join("pkgconfig"))
        .env("PKG_CONFIG_SYSROOT_DIR", stage)
        .env("LD_LIBRARY_PATH", &libdir);
    let (status, text) = run(shell);
    assert!(status.success(), "{status}\n{script}\n{text}");
    text
}

/// The files and links below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn install_use_and_uninstall() {
    let scratch = Scratch::new("readme");
    let stage = scratch.path("root");
    fs::create_dir(&stage).unwrap();
    let [install, first_steps] = &blocks("Install\n")[..] else { panic!("the README installs differently") };

    as_printed(&stage, install);
    assert!(stage.join("usr/include/corosync/sam.h").exists(), "{:?}", files(&stage));

    // What is made here goes below the private folder, not among the sources.
    let daemon = scratch.path("daemon");
    let first_steps = first_steps
        .replace("-o daemon", &format!("-o {}", daemon.display()))
        .replace("./daemon", &daemon.display().to_string());
    let text = as_printed(&stage, &first_steps);
    // Some versions of man fill the line with spaces.
    let words: Vec<_> = text.split_whitespace().collect();
    assert!(words.join(" ").contains("Simple Availability Manager"), "{text}");
    assert!(text.contains(&format!("-I{}/usr/include", stage.display())), "{text}");
    assert!(text.contains("-lsam"), "{text}");
    assert!(text.ends_with("instance 1 works\ninstance 2 works\ninstance 2 is done\n"), "{text}");

    let last = install.lines().last().unwrap().split('#').next().unwrap();
    as_printed(&stage, &last.replace("make install", "make uninstall"));
    assert_eq!(files(&stage), Vec::<PathBuf>::new());
}

fn run_an_existing_program() {
    let scratch = Scratch::new("existing");
    let stage = scratch.path("root");
    let daemon = scratch.path("daemon");
    let mut cc = command("cc");
    cc.arg(root().join("examples/daemon.c")).arg("-lsam").arg("-o").arg(&daemon);
    let (status, text) = run(cc);
    assert!(status.success(), "built against libsam-dev: {text}");

    let [printed] = &blocks("Run an existing program on it\n")[..] else { panic!("another way to run it") };
    let (install, runs) = printed.split_once('\n').unwrap();
    as_printed(&stage, install);
    let opt = stage.join("opt/libsam");
    let runs = runs
        .replace("=/opt/libsam", &format!("={}", opt.display()))
        .replace("./daemon", &daemon.display().to_string());
    let text = as_printed(&stage, &format!("unset LD_LIBRARY_PATH\n{runs}"));
    assert_eq!(text.matches("instance 2 is done\n").count(), 2, "{text}");
    // The original would have said the same: what the loader took tells.
    let text =
        as_printed(&stage, &format!("unset LD_LIBRARY_PATH; export LD_TRACE_LOADED_OBJECTS=1\n{runs}"));
    let ours = opt.join("lib/libsam.so.4").display().to_string();
    assert_eq!(text.lines().filter(|line| line.contains(&ours)).count(), 2, "{text}");
}

fn links_lead_somewhere() {
    let mut documents: Vec<PathBuf> = files(&root().join("docs"));
    documents.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    let mut seen = 0;
    for document in documents.iter().filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(document).unwrap();
        let targets = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{} has a link to {target}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} links: are they still found?");
}

common::runner::tests![install_use_and_uninstall, run_an_existing_program, links_lead_somewhere,];
