//! Generates the C headers into OUT_DIR. `tests/headers.rs` compares them with the committed ones in
//! `include/corosync`, and `make header` copies them there.

use std::{env, error::Error, fs, path::PathBuf};

const HEADERS: [(&str, &str, &str); 2] = [
    ("src/capi.rs", "include/sam.toml", "sam.h"),
    ("src/capi/corotypes.rs", "include/corotypes.toml", "corotypes.h"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    for (source, style, header) in HEADERS {
        println!("cargo::rerun-if-changed={source}");
        println!("cargo::rerun-if-changed={style}");
        let mut text = Vec::new();
        cbindgen::Builder::new()
            .with_src(source)
            .with_config(cbindgen::Config::from_file(style)?)
            .generate()?
            .write(&mut text);
        fs::write(out.join(header), polished(&String::from_utf8(text)?))?;
    }
    Ok(())
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
