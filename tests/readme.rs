//! The commands of the README work as printed. `sudo` is a function here that installs below a private folder, and
//! `/opt/libsam` stands for the folder with that name below it.

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

/// The folder into which the README installs.
const PREFIX: &str = "/opt/libsam";

/// Runs `script` as on a machine where `stage` is /, in a shell that stops at the first command that fails. Returns its
/// output.
fn as_printed(stage: &Path, script: &str) -> String {
    let mut shell = command("sh");
    shell
        .args(["-euc", &format!("sudo() {{ \"$@\" DESTDIR='{}'; }}\n{script}", stage.display())])
        .current_dir(root())
        // These come from the make and the cargo that run the tests.
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .env_remove("LD_LIBRARY_PATH")
        .env("MANPAGER", "cat")
        .env("PKG_CONFIG_SYSROOT_DIR", stage);
    let (status, text) = run(shell);
    assert!(status.success(), "{status}\n{script}\n{text}");
    text
}

/// Returns `script` with `/opt/libsam` below `stage`, and with `daemon` in place of `./daemon`.
fn moved(script: &str, stage: &Path, daemon: &Path) -> String {
    script
        .replace(PREFIX, &format!("{}{PREFIX}", stage.display()))
        .replace("-o daemon", &format!("-o {}", daemon.display()))
        .replace("./daemon", &daemon.display().to_string())
}

/// Returns the files and links below a folder.
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

/// Returns the blocks of the section about installing: how to install, and the first steps.
fn install_blocks() -> [String; 2] {
    blocks("Install\n").try_into().expect("two blocks in the section Install")
}

fn commands_to_install_use_and_uninstall_work() {
    let scratch = Scratch::new("readme");
    let stage = scratch.path("root");
    fs::create_dir(&stage).unwrap();
    let [install, first_steps] = install_blocks();

    as_printed(&stage, &install);
    assert!(stage.join("opt/libsam/include/corosync/sam.h").exists(), "{:?}", files(&stage));

    // The program is built below the private folder, not among the sources.
    let text = as_printed(&stage, &moved(&first_steps, &stage, &scratch.path("daemon")));
    // Some versions of man fill the line with spaces.
    let words: Vec<_> = text.split_whitespace().collect();
    assert!(words.join(" ").contains("Simple Availability Manager"), "{text}");
    assert!(text.ends_with("instance 1 works\ninstance 2 works\ninstance 2 is done\n"), "{text}");

    let last = install.lines().last().unwrap();
    as_printed(&stage, &last.replace("make install", "make uninstall"));
    assert_eq!(files(&stage), Vec::<PathBuf>::new());
}

/// Installs as the README does, and builds the example daemon with Debian's libsam-dev.
fn installed_with_an_existing_daemon(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let (stage, daemon) = (scratch.path("root"), scratch.path("daemon"));
    let mut cc = command("cc");
    cc.arg(root().join("examples/daemon.c")).arg("-lsam").arg("-o").arg(&daemon);
    let (status, text) = run(cc);
    assert!(status.success(), "cannot build with libsam-dev: {text}");
    let [install, _] = install_blocks();
    as_printed(&stage, &install);
    (stage, daemon)
}

fn commands_run_existing_program_with_this_library() {
    let scratch = Scratch::new("existing");
    let (stage, daemon) = installed_with_an_existing_daemon(&scratch);
    let [printed] = &blocks("Run an existing program on it\n")[..] else {
        panic!("the section must have one block")
    };
    let runs = moved(printed, &stage, &daemon);
    let text = as_printed(&stage, &runs);
    assert_eq!(text.matches("instance 2 is done\n").count(), 2, "{text}");
    // Both libraries lead to the same output, so check which one the loader took.
    let text = as_printed(&stage, &format!("export LD_TRACE_LOADED_OBJECTS=1\n{runs}"));
    let ours = format!("{}{PREFIX}/lib/libsam.so.4", stage.display());
    assert_eq!(text.lines().filter(|line| line.contains(&ours)).count(), 2, "{text}");
}

/// Returns the log lines in `text` without the digits that differ from run to run: those of pids and of restart times.
fn log_lines(text: &str) -> Vec<String> {
    let log = text.lines().filter(|line| line.starts_with("sam["));
    log.map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for position in 0..words.len() {
            let is_pid = words[position].starts_with("sam[") || position > 0 && words[position - 1] == "(pid";
            if is_pid || words[position].contains('.') {
                words[position] = words[position].replace(|c: char| c.is_ascii_digit(), "");
            }
        }
        words.join(" ")
    })
    .collect()
}

fn log_is_what_the_command_above_it_prints() {
    let scratch = Scratch::new("log");
    let (stage, daemon) = installed_with_an_existing_daemon(&scratch);
    let [printed] = &blocks("Configure a program from outside\n")[..] else {
        panic!("the section must have one block")
    };
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, after) = readme.split_once(printed.as_str()).unwrap();
    let expected = log_lines(after.split("\n## ").next().unwrap());
    assert!(expected.len() > 3, "{expected:?}");
    let text = as_printed(&stage, &format!("ulimit -c 0\n{}", moved(printed, &stage, &daemon)));
    assert_eq!(log_lines(&text), expected, "{text}");
}

fn relative_links_lead_to_existing_files() {
    let mut documents: Vec<PathBuf> = files(&root().join("docs"));
    documents.extend(
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"]
            .map(|name| root().join(name)),
    );
    let mut seen = 0;
    for document in documents.iter().filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(document).unwrap();
        let targets = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{} has a link to {target}, which does not exist", document.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "found only {seen} links; does the search still work?");
}

common::runner::tests![
    commands_to_install_use_and_uninstall_work,
    commands_run_existing_program_with_this_library,
    log_is_what_the_command_above_it_prints,
    relative_links_lead_to_existing_files,
];
