//! The test of the completions of a program in this folder, for the unit tests of sam-run and sam-status.

use std::path::Path;

use clap_complete::Shell;

/// Compares the files in the folder `completions` of the program with those that clap makes of its options. With
/// UPDATE_COMPLETIONS in the environment, writes these files first.
pub fn check(mut command: clap::Command) {
    let name = command.get_name().to_owned();
    let files = [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ];
    for (shell, file) in files {
        let mut script = vec![];
        clap_complete::generate(shell, &mut command, &name, &mut script);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(&file);
        if std::env::var_os("UPDATE_COMPLETIONS").is_some() {
            std::fs::write(&path, &script).unwrap();
        }
        let installed = std::fs::read(&path).unwrap();
        assert!(installed == script, "{file} is out of date: run `make completions`");
    }
}
