//! Writes the C headers that cbindgen makes of `src/capi.rs` and `src/capi/corotypes.rs` to `include/corosync`
//! (`make header`). With `--check`, and as a test, it compares them with the files there instead.

use std::{env, error::Error, fs, path::PathBuf, process::ExitCode};

/// A header, and what it is made of.
struct Header {
    name: &'static str,
    source: &'static str,
    style: &'static str,
}

const HEADERS: [Header; 2] = [
    Header { name: "sam.h", source: "src/capi.rs", style: "include/sam.toml" },
    Header { name: "corotypes.h", source: "src/capi/corotypes.rs", style: "include/corotypes.toml" },
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        None => {
            for header in &HEADERS {
                fs::write(header.path(), header.generate()?)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Some("--check") => {
            let stale = stale()?;
            for path in &stale {
                eprintln!("{} is out of date: run `make header`", path.display());
            }
            Ok(ExitCode::from(u8::from(!stale.is_empty())))
        }
        Some(_) => Err("usage: headers [--check]".into()),
    }
}

/// Returns the committed headers that differ from the generated ones.
fn stale() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut stale = Vec::new();
    for header in &HEADERS {
        if fs::read_to_string(header.path()).unwrap_or_default() != header.generate()? {
            stale.push(header.path());
        }
    }
    Ok(stale)
}

/// The folder of the project.
fn project() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

impl Header {
    /// Returns the place of the committed file.
    fn path(&self) -> PathBuf {
        project().join("include/corosync").join(self.name)
    }

    fn generate(&self) -> Result<String, Box<dyn Error>> {
        let mut text = Vec::new();
        cbindgen::Builder::new()
            .with_src(project().join(self.source))
            .with_config(cbindgen::Config::from_file(project().join(self.style))?)
            .generate()?
            .write(&mut text);
        Ok(polished(&String::from_utf8(text)?))
    }
}

/// Makes cbindgen's text fit for C89 and C++98, and short.
fn polished(header: &str) -> String {
    let mut text: Vec<String> = Vec::new();
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        match line.trim() {
            // A section for Rust callers, always the last of its comment.
            "# Safety" => {
                while lines.next_if(|line| line.trim() != "*/").is_some() {}
                text.pop();
            }
            // One line of comment needs no three.
            "*/" if text.len() > 1 && text[text.len() - 2].trim() == "/*" => {
                let comment = text.pop().unwrap_or_default();
                let open = text.pop().unwrap_or_default();
                text.push(format!("{open} {} */", comment.trim()));
            }
            // C89 knows no such comments, not even in what the preprocessor skips.
            line if line.contains("// ") => {
                text.push(line.split("// ").next().unwrap_or_default().trim_end().to_owned());
            }
            _ => {
                // No comma behind the last value of an enum.
                if let Some(last) = text.last_mut().filter(|_| line.starts_with('}')) {
                    last.truncate(last.trim_end_matches(',').len());
                }
                text.push(line.to_owned());
            }
        }
    }
    text.dedup_by(|line, before| line.is_empty() && before.is_empty());
    text.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_headers_are_what_cbindgen_makes_of_the_source() {
        assert_eq!(stale().unwrap(), Vec::<PathBuf>::new(), "out of date: run `make header`");
    }
}
