//! The headers, as C and C++ programs use them.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io::Write};

use common::{prefix, reset_process_state};

const C: [&str; 10] = ["c89", "c99", "c11", "c17", "c2x", "gnu89", "gnu99", "gnu11", "gnu17", "gnu2x"];
const CXX: [&str; 10] =
    ["c++98", "c++11", "c++14", "c++17", "c++20", "gnu++98", "gnu++11", "gnu++14", "gnu++17", "gnu++20"];

/// Corosync's own headers that include <corosync/corotypes.h>.
const NEIGHBOURS: [&str; 5] = ["cpg", "cmap", "quorum", "votequorum", "cfg"];

fn include_directory() -> PathBuf {
    prefix().join("include")
}

/// Compiles `source` with all warnings as errors, and panics with what the compiler said.
fn compile(compiler: &str, standard: &str, include: &Path, source: &str, output: &Path) {
    let language = if standard.contains("++") { "c++" } else { "c" };
    reset_process_state();
    let mut child = Command::new(compiler)
        .args(["-x", language, "-", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pedantic-errors"])
        .arg(format!("-std={standard}"))
        .arg("-I")
        .arg(include)
        .args(if output == Path::new("/dev/null") { &["-fsyntax-only"][..] } else { &["-o"] })
        .args(Some(output).filter(|output| *output != Path::new("/dev/null")))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(
        done.status.success(),
        "{compiler} -std={standard}:\n{}\nof:\n{source}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Checks that `source` compiles with gcc and clang in these standards.
fn compiles(standards: &[&str], include: &Path, source: &str) {
    for standard in standards {
        let compilers = if standard.contains("++") { ["g++", "clang++"] } else { ["gcc", "clang"] };
        for compiler in compilers {
            compile(compiler, standard, include, source, Path::new("/dev/null"));
        }
    }
}

/// A program that names everything which the two headers define.
fn user(includes: &str) -> String {
    format!(
        "{includes}
static int healthy(void) {{ return 0; }}
int main(void)
{{
  unsigned int id = 0;
  size_t size = 0;
  char data[4];
  cs_name_t name;
  cs_version_t version;
  cs_time_t time = 0;
  sam_hc_callback_t callback = healthy;
  cs_error_t result = sam_initialize(0, SAM_RECOVERY_POLICY_QUORUM_RESTART);
  name.length = CS_MAX_NAME_LENGTH - 1;
  name.value[name.length] = 0;
  version.releaseCode = 'A';
  version.majorVersion = version.minorVersion = 1;
  (void)name; (void)version; (void)time; (void)result;
  sam_warn_signal_set(0); sam_register(&id); sam_hc_callback_register(callback); sam_start(); sam_hc_send();
  sam_data_store(data, sizeof data); sam_data_getsize(&size); sam_data_restore(data, size);
  sam_stop(); sam_mark_failed();
  if (cs_timestamp_get() == 0) return 1;
  return CS_MAX(sam_finalize() == CS_OK ? CS_FALSE : CS_TRUE, 0);
}}
"
    )
}

fn each_header_compiles_alone_in_every_c() {
    for header in ["sam", "corotypes"] {
        compiles(
            &C,
            &include_directory(),
            &format!("{0}{0}extern int nothing_else;\n", format_args!("#include <corosync/{header}.h>\n")),
        );
    }
    compiles(&C, &include_directory(), &user("#include <corosync/sam.h>"));
}

fn each_header_compiles_alone_in_every_cxx() {
    for header in ["sam", "corotypes"] {
        compiles(&CXX, &include_directory(), &format!("#include <corosync/{header}.h>\n").repeat(2));
    }
    compiles(&CXX, &include_directory(), &user("#include <corosync/sam.h>"));
}

fn ours_stands_in_for_corosyncs_corotypes() {
    for neighbour in NEIGHBOURS {
        let neighbour = format!("#include <corosync/{neighbour}.h>\n");
        let sam = "#include <corosync/sam.h>\n";
        for includes in [format!("{neighbour}{sam}"), format!("{sam}{neighbour}")] {
            compiles(&["gnu99", "gnu17", "gnu++11", "gnu++20"], &include_directory(), &user(&includes));
        }
    }
    let all: String = NEIGHBOURS.map(|neighbour| format!("#include <corosync/{neighbour}.h>\n")).concat();
    for includes in [format!("#include <corosync/sam.h>\n{all}"), format!("{all}#include <corosync/sam.h>\n")]
    {
        compiles(&C, &include_directory(), &user(&includes));
        compiles(&CXX, &include_directory(), &user(&includes));
    }
}

fn sam_h_does_with_corosyncs_corotypes() {
    let directory = env::temp_dir().join(format!("libsam-headers-{}", std::process::id()));
    fs::create_dir_all(directory.join("corosync")).unwrap();
    fs::copy(include_directory().join("corosync/sam.h"), directory.join("corosync/sam.h")).unwrap();
    compiles(&["gnu99", "gnu17", "gnu++11", "gnu++20"], &directory, &user("#include <corosync/sam.h>"));
    fs::remove_dir_all(directory).unwrap();
}

/// Everything with a value, printed by a program made with one set of headers.
fn values(include: &Path) -> String {
    let errors = "CS_OK CS_ERR_LIBRARY CS_ERR_VERSION CS_ERR_INIT CS_ERR_TIMEOUT CS_ERR_TRY_AGAIN \
        CS_ERR_INVALID_PARAM CS_ERR_NO_MEMORY CS_ERR_BAD_HANDLE CS_ERR_BUSY CS_ERR_ACCESS CS_ERR_NOT_EXIST \
        CS_ERR_NAME_TOO_LONG CS_ERR_EXIST CS_ERR_NO_SPACE CS_ERR_INTERRUPT CS_ERR_NAME_NOT_FOUND \
        CS_ERR_NO_RESOURCES CS_ERR_NOT_SUPPORTED CS_ERR_BAD_OPERATION CS_ERR_FAILED_OPERATION \
        CS_ERR_MESSAGE_ERROR CS_ERR_QUEUE_FULL CS_ERR_QUEUE_NOT_AVAILABLE CS_ERR_BAD_FLAGS CS_ERR_TOO_BIG \
        CS_ERR_NO_SECTIONS CS_ERR_CONTEXT_NOT_FOUND CS_ERR_TOO_MANY_GROUPS CS_ERR_SECURITY";
    let others = "SAM_RECOVERY_POLICY_QUIT SAM_RECOVERY_POLICY_RESTART SAM_RECOVERY_POLICY_QUORUM \
        SAM_RECOVERY_POLICY_QUORUM_QUIT SAM_RECOVERY_POLICY_QUORUM_RESTART SAM_RECOVERY_POLICY_CMAP \
        SAM_RECOVERY_POLICY_CONFDB CS_DISPATCH_ONE CS_DISPATCH_ALL CS_DISPATCH_BLOCKING \
        CS_DISPATCH_ONE_NONBLOCKING CS_TRACK_CURRENT CS_TRACK_CHANGES CS_TRACK_CHANGES_ONLY CS_IPC_TIMEOUT_MS \
        CS_FALSE CS_TRUE CS_MAX_NAME_LENGTH CS_TIME_END CS_TIME_MS_IN_SEC CS_TIME_US_IN_SEC CS_TIME_NS_IN_SEC \
        CS_TIME_US_IN_MSEC CS_TIME_NS_IN_MSEC CS_TIME_NS_IN_USEC \
        sizeof(cs_error_t) sizeof(sam_recovery_policy_t) sizeof(cs_dispatch_flags_t) sizeof(cs_time_t) \
        sizeof(cs_name_t) sizeof(cs_version_t) offsetof(cs_name_t,value) offsetof(cs_version_t,majorVersion) \
        offsetof(cs_version_t,minorVersion) CS_MAX(3,4)";
    let print: String = format!("{errors} {others}")
        .split_whitespace()
        .map(|name| format!("  printf(\"%s %lld\\n\", \"{name}\", (long long)({name}));\n"))
        .collect();
    let texts: String = ["CS_PRI_NODE_ID", "CS_PRI_NODE_ID_PADDED", "CS_PRI_RING_ID_SEQ", "CS_PRI_RING_ID"]
        .iter()
        .map(|name| format!("  puts(\"{name}\" {name});\n"))
        .collect();
    let source = format!(
        "#include <inttypes.h>\n#include <stddef.h>\n#include <stdio.h>\n#include <corosync/sam.h>\nint main(void)\n{{\n{print}{texts}\
         \n  return cs_timestamp_get() == 0;\n}}\n"
    );
    let program = env::temp_dir().join(format!(
        "libsam-values-{}-{}",
        std::process::id(),
        include.components().count()
    ));
    compile("gcc", "gnu99", include, &source, &program);
    let done = Command::new(&program).output().unwrap();
    fs::remove_file(&program).unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn every_value_and_size_is_corosyncs() {
    let ours = values(&include_directory());
    let theirs = values(Path::new("/usr/include"));
    assert_eq!(ours, theirs);
    assert!(ours.contains("CS_ERR_SECURITY 100\n") && ours.contains("CONFDB 16\n"), "{ours}");
}

/// Compiles `source` to an object file in a temporary folder.
fn compile_object(compiler: &str, standard: &str, options: &[&str], source: &str, object: &Path) {
    let language = if standard.contains("++") { "c++" } else { "c" };
    let mut child = Command::new(compiler)
        .args(["-x", language, "-", "-c", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pedantic-errors"])
        .arg(format!("-std={standard}"))
        .args(options)
        .arg("-I")
        .arg(include_directory())
        .arg("-o")
        .arg(object)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{compiler} -std={standard} {options:?}:\n{said}\nof:\n{source}");
}

fn the_timestamp_is_the_monotonic_clock_in_every_standard() {
    let folder = env::temp_dir().join(format!("libsam-timestamp-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let main = "
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
uint64_t stamp(void);
static uint64_t monotonic(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
int main(void)
{
  for (int i = 0; i < 1000; i++) {
    uint64_t before = monotonic();
    uint64_t between = stamp();
    uint64_t after = monotonic();
    if (before > between || between > after) {
      printf(\"%\" PRIu64 \" is not between %\" PRIu64 \" and %\" PRIu64, between, before, after);
      return 1;
    }
  }
  return 0;
}
"
    .replace('\\', "");
    // What the program includes before and after must not matter, nor what it asks of the C library.
    let unit = |before: &str, after: &str| {
        format!(
            "{before}#include <corosync/corotypes.h>\n{after}
#ifdef __cplusplus
extern \"C\"
#endif
uint64_t stamp(void);
uint64_t stamp(void) {{ return cs_timestamp_get(); }}\n"
        )
    };
    let time = "#include <time.h>\n#include <sys/time.h>\n";
    let units = [
        (&[][..], unit("", time)),
        (&[], unit(time, "")),
        (&["-D_POSIX_C_SOURCE=200809L", "-O2"], unit("", "")),
        (
            &["-U_GNU_SOURCE", "-O2"],
            unit("", "#define _GNU_SOURCE\n#include <time.h>\n#include <pthread.h>\n"),
        ),
    ];
    let main_object = folder.join("main.o");
    compile_object("gcc", "gnu99", &["-D_GNU_SOURCE"], &main, &main_object);
    let check = |compiler: &str, standard: &str, (options, source): &(&[&str], String)| {
        let (object, program) = (folder.join(format!("{compiler}.o")), folder.join(compiler));
        compile_object(compiler, standard, options, source, &object);
        let linked = Command::new("cc").args([&main_object, &object]).arg("-o").arg(&program).status();
        assert!(linked.unwrap().success(), "linking {compiler} -std={standard} {options:?}");
        let done = Command::new(&program).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{compiler} -std={standard} {options:?}: {said}\n{source}");
    };
    std::thread::scope(|scope| {
        for (standards, compilers) in [(&C, ["gcc", "clang"]), (&CXX, ["g++", "clang++"])] {
            for compiler in compilers {
                let (check, units) = (&check, &units);
                scope.spawn(move || {
                    for standard in standards {
                        check(compiler, standard, &units[0]);
                    }
                    for unit in &units[1..] {
                        check(compiler, standards[1], unit);
                    }
                });
            }
        }
    });
    fs::remove_dir_all(&folder).unwrap();
}

/// The macros of a set of headers, each with its text.
fn macros(include: &Path) -> Vec<String> {
    let mut child = Command::new("gcc")
        .args(["-E", "-dM", "-x", "c", "-", "-I"])
        .arg(include)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"#include <corosync/sam.h>\n").unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let mut macros: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("#define CS_") || line.starts_with("#define SAM_"))
        .map(str::to_owned)
        .collect();
    macros.sort();
    macros
}

fn a_program_that_repeats_corosyncs_macros_is_not_warned() {
    let theirs = macros(Path::new("/usr/include"));
    assert!(theirs.iter().any(|line| line == "#define CS_TRUE !CS_FALSE"), "{theirs:#?}");
    let source = format!("#include <corosync/sam.h>\n{}\nextern int nothing_else;\n", theirs.join("\n"));
    compiles(&["gnu99", "c2x", "gnu++17"], &include_directory(), &source);
}

common::runner::tests![
    each_header_compiles_alone_in_every_c,
    each_header_compiles_alone_in_every_cxx,
    ours_stands_in_for_corosyncs_corotypes,
    sam_h_does_with_corosyncs_corotypes,
    every_value_and_size_is_corosyncs,
    the_timestamp_is_the_monotonic_clock_in_every_standard,
    a_program_that_repeats_corosyncs_macros_is_not_warned,
];
