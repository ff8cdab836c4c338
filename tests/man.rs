//! The installed manual pages: they exist and are well formed, they list the codes that each function returns, and
//! their examples work when copied from the screen.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::tools::{Scratch, command, flags, run};
use common::{PATIENCE, Running, prefix};

/// The functions with the codes that they can return. The first list holds the codes that tests/man/codes.c provokes,
/// the second the codes that need a corosync which is absent, busy or not accessible to this user, or a C library that
/// has no memory for a handler.
const FUNCTIONS: [(&str, &[&str], &[&str]); 12] = [
    (
        "sam_initialize",
        &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM"],
        &[
            "CS_ERR_NO_MEMORY",
            "CS_ERR_LIBRARY",
            "CS_ERR_NOT_SUPPORTED",
            "CS_ERR_TIMEOUT",
            "CS_ERR_TRY_AGAIN",
            "CS_ERR_ACCESS",
        ],
    ),
    ("sam_register", &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_LIBRARY"], &["CS_ERR_NOT_SUPPORTED"]),
    ("sam_start", &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_LIBRARY"], &[]),
    ("sam_stop", &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_LIBRARY"], &[]),
    ("sam_finalize", &["CS_OK", "CS_ERR_BAD_HANDLE"], &[]),
    ("sam_hc_send", &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_LIBRARY"], &[]),
    (
        "sam_hc_callback_register",
        &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM", "CS_ERR_LIBRARY"],
        &[],
    ),
    ("sam_warn_signal_set", &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM", "CS_ERR_LIBRARY"], &[]),
    (
        "sam_data_store",
        &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_NO_MEMORY", "CS_ERR_TOO_BIG", "CS_ERR_LIBRARY"],
        &[],
    ),
    (
        "sam_data_restore",
        &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM", "CS_ERR_NO_MEMORY", "CS_ERR_LIBRARY"],
        &[],
    ),
    (
        "sam_data_getsize",
        &["CS_OK", "CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM", "CS_ERR_NO_MEMORY", "CS_ERR_LIBRARY"],
        &[],
    ),
    ("sam_mark_failed", &["CS_ERR_BAD_HANDLE", "CS_ERR_INVALID_PARAM", "CS_ERR_LIBRARY"], &[]),
];

fn every_function_has_an_installed_page_and_there_are_no_others() {
    let man = prefix().join("share/man");
    let mut wanted: BTreeSet<String> = FUNCTIONS.iter().map(|(name, ..)| format!("{name}.3")).collect();
    wanted.insert("sam_overview.3".into());
    assert_eq!(files_in(&man.join("man3")), wanted);
    assert_eq!(files_in(&man.join("man1")), BTreeSet::from(["sam-run.1".into()]));
    assert_eq!(files_in(&man.join("man8")), BTreeSet::from(["sam-status.8".into(), "sam_overview.8".into()]));
    assert_eq!(files_in(&man.join("man7")), BTreeSet::from(["sam_environment.7".into()]));

    let overview = |section: &str| {
        let mut man_command = command("man");
        man_command.arg("-M").arg(&man).args([section, "sam_overview"]);
        let (status, text) = run(man_command);
        assert!(status.success(), "man {section} sam_overview: {status}\n{text}");
        // Compare without regard to how the formatter fills its lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("Simple Availability Manager"), "man {section} sam_overview:\n{text}");
        text
    };
    assert_eq!(overview("8"), overview("3"));
}

fn pages_cause_no_warning_of_mandoc_or_groff() {
    let scratch = Scratch::new("lint");
    let broken = scratch.path("broken.3");
    fs::write(&broken, ".TH BROKEN 3 2026-01-01\n.SH NAME\nbroken \\- not right\n.nosuchmacro\n").unwrap();
    for lint in [mandoc_lint, groff_lint] {
        let said = complaints(&broken, lint);
        assert!(
            said.contains("nosuchmacro"),
            "the lint does not report an unknown macro, its output: {said}"
        );
    }

    for page in pages().into_iter().chain([sam_status_page(), environment_page(), sam_run_page()]) {
        for lint in [mandoc_lint, groff_lint] {
            let said = complaints(&page, lint);
            assert!(said.is_empty(), "{}:\n{said}", page.display());
        }
    }
}

fn sections_are_in_the_usual_order() {
    let usual = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "RETURN VALUE",
        "ERRORS",
        "ENVIRONMENT",
        "FILES",
        "NOTES",
        "EXAMPLES",
        "SEE ALSO",
    ];
    for page in pages() {
        let sections = Page::read(&page).sections;
        let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
        let expected: Vec<&str> = usual
            .into_iter()
            .filter(|name| !["ENVIRONMENT", "FILES"].contains(name) || names.contains(name))
            .collect();
        assert_eq!(names, expected, "{}", page.display());
    }
    let program = Page::read(&sam_status_page());
    let names: Vec<&str> = program.sections.iter().map(|(name, _)| name.as_str()).collect();
    let usual = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "NOTES",
        "EXAMPLES",
        "SEE ALSO",
    ];
    assert_eq!(names, usual);
}

fn sam_status_page_explains_all_options_and_columns() {
    let page = Page::read(&sam_status_page());
    let sam_status = prefix().join("bin/sam-status");
    let mut help = command(&sam_status);
    help.arg("--help");
    let (status, help) = run(help);
    assert!(status.success(), "{help}");
    let options: BTreeSet<&str> = words(&help).filter(|word| word.starts_with("--")).collect();
    assert!(options.len() == 8, "{options:?}");
    let documented: BTreeSet<&str> =
        words(page.section("OPTIONS")).filter(|word| word.starts_with("--")).collect();
    assert_eq!(documented, options);

    // A program that waits for an hour, so that the table has a row, and the list an object.
    let scratch = Scratch::new("columns");
    let source = "#include <corosync/sam.h>\n#include <unistd.h>\n\
        int main(void) { sam_initialize(0, SAM_RECOVERY_POLICY_RESTART); sam_register(NULL); sam_start();\n\
        return write(1, \"ready\\n\", 6) == 6 ? (int)sleep(3600) : 1; }\n";
    let program = Running::start_with_one_pipe(command(compile(&scratch, "columns", source)));
    program.wait_for("ready");
    let supervisor = program.pid().to_string();
    let output = |arguments: &[&str]| {
        let mut sam_status = command(&sam_status);
        sam_status.args(arguments).arg(&supervisor);
        run(sam_status).1
    };
    // The supervisor may write its page a little after the instance has begun.
    let deadline = Instant::now() + PATIENCE;
    let list = loop {
        let list = output(&["--json"]);
        if list.contains("\"running\"") {
            break list;
        }
        assert!(Instant::now() < deadline, "{list}");
    };
    let table = output(&[]);
    let description = page.section("DESCRIPTION");
    let explained: BTreeSet<&str> = words(description).collect();
    let columns: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert!(columns.contains(&"SUPERVISOR"), "{table}");
    let missing: Vec<&&str> = columns.iter().filter(|column| !explained.contains(**column)).collect();
    assert!(missing.is_empty(), "columns that the page does not explain: {missing:?}");

    let serde_json::Value::Array(list) = serde_json::from_str(&list).expect(&list) else { panic!("{list}") };
    let explained: BTreeSet<&str> = words(page.section("OPTIONS")).collect();
    let members = list[0].as_object().unwrap().keys();
    let missing: Vec<&String> = members.filter(|member| !explained.contains(member.as_str())).collect();
    assert!(missing.is_empty(), "members that the page does not explain: {missing:?}");
}

fn sam_run_page_explains_the_options_that_help_lists() {
    let page = Page::read(&sam_run_page());
    let mut help = command(prefix().join("bin/sam-run"));
    help.arg("--help").env("LD_LIBRARY_PATH", prefix().join("lib"));
    let (status, help) = run(help);
    assert!(status.success(), "{help}");
    let is_option = |word: &&str| word.len() > 2 && word.starts_with("--");
    let options: BTreeSet<&str> = words(&help).filter(is_option).collect();
    assert!(options.len() > 15, "{options:?}");
    let documented: BTreeSet<&str> = words(page.section("OPTIONS")).filter(is_option).collect();
    assert_eq!(documented, options);
}

/// Returns the words of a text: runs of letters, digits, `-` and `_`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).filter(|word| !word.is_empty())
}

fn referenced_pages_exist() {
    let pages = pages();
    let names: BTreeSet<String> =
        pages.iter().map(|page| page.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for path in &pages {
        let page = Page::read(path);
        let own = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mentioned: BTreeSet<String> = page
            .sections
            .iter()
            .flat_map(|(_, body)| body.split(|c: char| !(c.is_ascii_alphanumeric() || "_()".contains(c))))
            .filter(|word| word.starts_with("sam_") && word.ends_with("(3)"))
            .map(|word| word.trim_end_matches("(3)").to_owned())
            .collect();
        assert!(
            mentioned.len() > 1,
            "{own}: found only references to {mentioned:?}; does the search still work?"
        );
        let missing: Vec<_> = mentioned.difference(&names).collect();
        assert!(missing.is_empty(), "{own} refers to pages that do not exist: {missing:?}");
    }
}

fn sam_initialize_page_lists_the_variables_that_sam_environment_explains() {
    let explained = tags(Page::read(&environment_page()).section("DESCRIPTION"));
    assert!(explained.contains("SAM_LOG"), "{explained:?}");
    let page = Page::named("sam_initialize");
    let listed: BTreeSet<String> = page
        .section("ENVIRONMENT")
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("SAM_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, explained);
}

fn every_variable_that_the_library_reads_is_explained() {
    let explained = tags(Page::read(&environment_page()).section("DESCRIPTION"));
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let mut sources = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut variables = BTreeSet::new();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let quoted = source.split('"').filter(|word| word.starts_with("SAM_") && word.chars().all(is_name));
        // A unit test of the library has a variable of its own.
        variables.extend(quoted.filter(|word| !word.starts_with("SAM_TEST_")).map(str::to_owned));
    }
    assert!(variables.contains("SAM_LOG"), "{variables:?}");
    let missing: Vec<&String> = variables.difference(&explained).collect();
    assert!(missing.is_empty(), "variables that the page does not explain: {missing:?}");
}

fn synopsis_agrees_with_the_header() {
    let scratch = Scratch::new("synopsis");
    for page in pages() {
        let page = Page::read(&page);
        let declarations: String = page
            .section("SYNOPSIS")
            .split("Compile and link")
            .next()
            .unwrap()
            // The only type that a page defines. In C99 a repeated typedef is an error.
            .replace("typedef int (*sam_hc_callback_t)(void);", "");
        assert!(
            declarations.contains("cs_error_t sam_"),
            "{}: no function declared in SYNOPSIS:\n{declarations}",
            page.name
        );
        // A declaration that differs from the header's is a compile error.
        let program = format!("{declarations}\nint main(void) {{ return 0; }}\n");
        compile(&scratch, &page.name, &program);
    }
}

fn example_copied_from_page_compiles_and_runs() {
    let scratch = Scratch::new("examples");
    let mut failed = Vec::new();
    for page in pages() {
        let page = Page::read(&page);
        let example = page.section("EXAMPLES");
        let start =
            example.find("#include").unwrap_or_else(|| panic!("{}: no program in EXAMPLES", page.name));
        let binary = compile(&scratch, &page.name, &example[start..]);
        let (status, text) = run(command(&binary));
        if !status.success() {
            failed.push(format!("{}: {status}\n{text}", page.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn pages_list_exactly_the_codes_of_each_function() {
    for (function, usual, rare) in FUNCTIONS {
        let page = Page::named(function);
        let mut documented = tags(page.section("ERRORS"));
        if page.section("RETURN VALUE").contains("CS_OK\n       on success")
            || page.section("RETURN VALUE").contains("CS_OK on success")
            || page.section("RETURN VALUE").contains("CS_OK in every instance")
        {
            documented.insert("CS_OK".into());
        }
        let possible: BTreeSet<String> = usual.iter().chain(rare).map(|&code| code.to_owned()).collect();
        assert_eq!(documented, possible, "{function}");
    }
}

fn functions_return_exactly_the_codes_that_the_pages_list() {
    let scratch = Scratch::new("codes");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/man/codes.c");
    let probe = compile(&scratch, "codes", &fs::read_to_string(source).unwrap());
    let names = error_names();

    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut transcript = String::new();
    for session in
        ["life", "life-without-interval", "orphan", "orphan-started", "corosync", "crowded", "closed"]
    {
        let mut probe = command(&probe);
        probe.arg(session);
        let (status, text) = run(probe);
        transcript += &format!("--- {session}: {status}\n{text}");
        assert!(text.ends_with("end\n"), "session {session} did not reach its end\n{transcript}");
        for line in text.lines().filter(|line| line.starts_with("sam_")) {
            let (function, code) = line.split_once(' ').unwrap();
            let code: i32 = code.parse().unwrap();
            let name = names
                .get(&code)
                .unwrap_or_else(|| panic!("{line}: this code has no name in corotypes.h\n{transcript}"));
            seen.entry(function.into()).or_default().insert(name.clone());
        }
    }

    for (function, usual, rare) in FUNCTIONS {
        let seen: BTreeSet<&str> = seen[function].iter().map(String::as_str).collect();
        let usual: BTreeSet<&str> = usual.iter().copied().collect();
        let missing: Vec<_> = usual.difference(&seen).collect();
        assert!(
            missing.is_empty(),
            "{function} never returned {missing:?}, which its page lists\n{transcript}"
        );
        let unexpected: Vec<_> =
            seen.into_iter().filter(|code| !usual.contains(code) && !rare.contains(code)).collect();
        assert!(
            unexpected.is_empty(),
            "{function} returned {unexpected:?}, which its page does not list\n{transcript}"
        );
    }
}

/// A manual page as mandoc prints it on a screen that is wide enough for every line.
struct Page {
    name: String,
    sections: Vec<(String, String)>,
}

impl Page {
    fn named(name: &str) -> Page {
        Page::read(&prefix().join(format!("share/man/man3/{name}.3")))
    }

    fn read(path: &Path) -> Page {
        let mut mandoc = command("mandoc");
        mandoc.args(["-T", "ascii", "-O", "width=200"]).arg(path);
        let (status, text) = run(mandoc);
        assert!(status.success(), "mandoc {}: {status}\n{text}", path.display());

        let text = without_overstrikes(&text);
        let mut sections: Vec<(String, String)> = Vec::new();
        // The first and the last line are the page's header and footer.
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[1..lines.len() - 1] {
            if line.starts_with(|c: char| c.is_ascii_uppercase()) {
                sections.push((line.trim().to_owned(), String::new()));
            } else if let Some((_, body)) = sections.last_mut() {
                *body += line;
                *body += "\n";
            }
        }
        Page { name: path.file_stem().unwrap().to_string_lossy().into_owned(), sections }
    }

    fn section(&self, name: &str) -> &str {
        let found = self.sections.iter().find(|(section, _)| section == name);
        found.map(|(_, body)| body.as_str()).unwrap_or_else(|| panic!("{}: no section {name}", self.name))
    }
}

/// Removes the overstrikes: mandoc prints bold and underlined characters twice, with a backspace in between.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c)
        }
    }
    plain
}

/// Returns the entries that a section explains: the lines that consist of one name in capitals.
fn tags(section: &str) -> BTreeSet<String> {
    section
        .lines()
        .map(str::trim)
        .filter(|line| line.contains('_') && line.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

/// Returns the values and names of `cs_error_t` in the installed header.
fn error_names() -> BTreeMap<i32, String> {
    let header = fs::read_to_string(prefix().join("include/corosync/corotypes.h")).unwrap();
    let names: BTreeMap<i32, String> = header
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .filter(|(name, _)| *name == "CS_OK" || name.starts_with("CS_ERR_"))
        .filter_map(|(name, value)| Some((value.parse().ok()?, name.to_owned())))
        .collect();
    assert_eq!(names.get(&9).map(String::as_str), Some("CS_ERR_BAD_HANDLE"), "{names:?}");
    names
}

/// Returns the command with which mandoc checks a page.
fn mandoc_lint(page: &Path) -> Command {
    let mut lint = command("mandoc");
    lint.args(["-T", "lint", "-W", "warning"]).arg(page);
    lint
}

/// Returns the command with which man and groff check a page.
fn groff_lint(page: &Path) -> Command {
    let mut lint = command("man");
    // -Z stops before the postprocessor, so that nothing but warnings reaches standard error.
    lint.args(["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"]).arg(page);
    lint.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
    lint
}

/// Returns the warnings of a formatter about a page.
fn complaints(page: &Path, lint: fn(&Path) -> Command) -> String {
    let mut lint = lint(page);
    let name = format!("{lint:?}");
    let output = lint.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if lint.get_program() == "mandoc" {
        said += &String::from_utf8_lossy(&output.stdout);
    }
    if said.is_empty() && !output.status.success() {
        said = format!("{name}: {}", output.status);
    }
    said
}

fn sam_status_page() -> PathBuf {
    prefix().join("share/man/man8/sam-status.8")
}

fn environment_page() -> PathBuf {
    prefix().join("share/man/man7/sam_environment.7")
}

fn sam_run_page() -> PathBuf {
    prefix().join("share/man/man1/sam-run.1")
}

/// Returns the pages of the functions and of the overview.
fn pages() -> Vec<PathBuf> {
    let folder = prefix().join("share/man/man3");
    let pages: Vec<PathBuf> = files_in(&folder).into_iter().map(|file| folder.join(file)).collect();
    assert!(!pages.is_empty());
    pages
}

fn files_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Compiles a program against the installed library, as the pages say.
fn compile(scratch: &Scratch, name: &str, program: &str) -> PathBuf {
    let source = scratch.path(&format!("{name}.c"));
    fs::write(&source, program).unwrap();
    let binary = scratch.path(name);
    let mut cc = command("cc");
    cc.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"]).arg(&source).arg("-o").arg(&binary).args(flags());
    let (status, text) = run(cc);
    assert!(status.success(), "{name}: {text}\n{program}");
    binary
}

fn pages_state_the_facts_that_programs_depend_on() {
    for (page, facts) in [
        (
            "sam_overview",
            &["cpg_overview(3)", "initialises anything else", "three quarters of the interval"][..],
        ),
        ("sam_initialize", &["before the program initialises anything else"]),
        ("sam_warn_signal_set", &["SIGKILL means no warning"]),
        ("sam_data_store", &["with NULL, size may be anything"]),
        ("sam_hc_callback_register", &["four times per interval", "three quarters of the interval"]),
        ("sam_finalize", &["can be read in cmap when the call returns"]),
        ("sam_register", &["A restart does not wait for corosync"]),
    ] {
        let page = Page::named(page);
        let text: String = page.sections.iter().map(|(_, body)| format!("{body} ")).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for fact in facts {
            assert!(text.contains(fact), "page {} does not say {fact:?}:\n{text}", page.name);
        }
    }
}

common::runner::tests![
    every_function_has_an_installed_page_and_there_are_no_others,
    pages_cause_no_warning_of_mandoc_or_groff,
    sections_are_in_the_usual_order,
    sam_status_page_explains_all_options_and_columns,
    sam_run_page_explains_the_options_that_help_lists,
    referenced_pages_exist,
    sam_initialize_page_lists_the_variables_that_sam_environment_explains,
    every_variable_that_the_library_reads_is_explained,
    synopsis_agrees_with_the_header,
    example_copied_from_page_compiles_and_runs,
    pages_list_exactly_the_codes_of_each_function,
    functions_return_exactly_the_codes_that_the_pages_list,
    pages_state_the_facts_that_programs_depend_on,
];
