//! What the dynamic linker finds in the installed library. A program that runs proves nothing of this: a library
//! without symbol versions runs too.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use common::{prefix, reset_process_state};
use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, SectionHeader, Sym};

const FUNCTIONS: [&str; 12] = [
    "sam_data_getsize",
    "sam_data_restore",
    "sam_data_store",
    "sam_finalize",
    "sam_hc_callback_register",
    "sam_hc_send",
    "sam_initialize",
    "sam_mark_failed",
    "sam_register",
    "sam_start",
    "sam_stop",
    "sam_warn_signal_set",
];

fn library() -> PathBuf {
    prefix().join("lib/libsam.so.4.4.0")
}

fn read() -> Vec<u8> {
    fs::read(library()).unwrap()
}

/// Name and version of each dynamic symbol, by whether it is defined here.
fn symbols(data: &[u8], defined: bool) -> BTreeSet<(String, String)> {
    let file = ElfFile64::<object::Endianness>::parse(data).unwrap();
    let (endian, header) = (file.endian(), file.elf_header());
    let sections = header.sections(endian, data).unwrap();
    let table = sections.symbols(endian, data, elf::SHT_DYNSYM).unwrap();
    let versions = sections.versions(endian, data).unwrap().expect("a version table");
    table
        .enumerate()
        .filter(|(index, symbol)| {
            index.0 != 0
                && symbol.is_undefined(endian) != defined
                && symbol.st_bind() != elf::STB_LOCAL
                && (symbol.st_bind() != elf::STB_WEAK || defined)
        })
        .map(|(index, symbol)| {
            let name = table.symbol_name(endian, symbol).unwrap();
            let version = versions.version(versions.version_index(endian, index)).unwrap();
            let version = version.map_or(&b""[..], |version| version.name());
            (String::from_utf8_lossy(name).into(), String::from_utf8_lossy(version).into())
        })
        .collect()
}

/// The strings of the dynamic section with this tag.
fn dynamic(data: &[u8], tag: u32) -> Vec<String> {
    let file = ElfFile64::<object::Endianness>::parse(data).unwrap();
    let (endian, header) = (file.endian(), file.elf_header());
    let sections = header.sections(endian, data).unwrap();
    let (entries, strings) = sections.dynamic(endian, data).unwrap().expect("a dynamic section");
    let strings = sections.strings(endian, data, strings).unwrap();
    entries
        .iter()
        .filter(|entry| entry.tag32(endian) == Some(tag))
        .map(|entry| String::from_utf8_lossy(entry.string(endian, strings).unwrap()).into())
        .collect()
}

fn exactly_the_twelve_functions_are_exported_at_their_version() {
    let expected: BTreeSet<_> =
        FUNCTIONS.iter().map(|&name| (name.to_owned(), "COROSYNC_SAM_1.0".to_owned())).collect();
    let mut exported = symbols(&read(), true);
    // The version itself is a symbol, too.
    exported.retain(|(name, _)| name != "COROSYNC_SAM_1.0");
    assert_eq!(exported, expected);
}

fn it_is_libsam_4_and_needs_the_c_library_alone() {
    let data = read();
    assert_eq!(dynamic(&data, elf::DT_SONAME), ["libsam.so.4"]);
    // The dynamic loader is in every process that has shared libraries. It defines __tls_get_addr.
    let mut needed = dynamic(&data, elf::DT_NEEDED);
    needed.retain(|library| !library.starts_with("ld-linux") && !library.starts_with("ld64"));
    assert_eq!(needed, ["libc.so.6"]);
}

fn whatever_it_uses_is_the_c_librarys() {
    let strangers: Vec<_> = symbols(&read(), false)
        .into_iter()
        // The dynamic loader's, which is there in every process that has shared libraries.
        .filter(|(name, version)| !version.starts_with("GLIBC_") && name != "__tls_get_addr")
        .collect();
    assert!(strangers.is_empty(), "undefined and not from the C library: {strangers:?}");
}

fn it_stays_mapped_and_is_small() {
    // Above 200 KiB of it are std's own panic hook with its reader of debug information, which no process ever touches.
    // In all it is 594 KiB with rustc 1.95 from rustup, 667 KiB with Debian 13's rustc, whose std is larger.
    const LIMIT: u64 = 700 * 1024;
    let data = read();
    let file = ElfFile64::<object::Endianness>::parse(&data[..]).unwrap();
    let (endian, header) = (file.endian(), file.elf_header());
    let sections = header.sections(endian, &data[..]).unwrap();
    let (entries, _) = sections.dynamic(endian, &data[..]).unwrap().expect("a dynamic section");
    let flags = entries.iter().find(|entry| entry.tag32(endian) == Some(elf::DT_FLAGS_1)).expect("flags");
    assert_ne!(flags.d_val.get(endian) & u64::from(elf::DF_1_NODELETE), 0, "its thread outlives dlclose");

    let stripped = env::temp_dir().join(format!("libsam-stripped-{}", std::process::id()));
    reset_process_state();
    let status = std::process::Command::new("strip")
        .args(["--strip-unneeded", "-o"])
        .args([&stripped, &library()])
        .status()
        .unwrap();
    assert!(status.success());
    let size = fs::metadata(&stripped).unwrap().len();
    fs::remove_file(&stripped).unwrap();
    assert!(size <= LIMIT, "{size} bytes stripped, at most {LIMIT}");
}

fn packagers_can_read_what_it_opens_at_run_time() {
    const DLOPEN: u32 = 0x407c_0c0a;
    let data = read();
    let file = ElfFile64::<object::Endianness>::parse(&data[..]).unwrap();
    let (endian, header) = (file.endian(), file.elf_header());
    let sections = header.sections(endian, &data[..]).unwrap();
    let (_, section) = sections.section_by_name(endian, b".note.dlopen").expect("the section");
    assert_ne!(section.sh_flags.get(endian) & u64::from(elf::SHF_ALLOC), 0, "strip leaves it alone");
    let mut notes = section.notes(endian, &data[..]).unwrap().expect("a section of notes");
    let note = notes.next().unwrap().expect("a note");
    assert_eq!((note.name(), note.n_type(endian)), (&b"FDO"[..], DLOPEN));
    let text = std::str::from_utf8(note.desc()).unwrap().strip_suffix('\0').expect("a C string");
    for library in ["libquorum.so.5", "libcmap.so.4"] {
        assert!(text.contains(&format!(r#""priority":"recommended","soname":["{library}"]"#)), "{text}");
    }
    assert!(notes.next().unwrap().is_none());
}

fn the_links_lead_to_the_real_file() {
    let directory = library().parent().unwrap().to_owned();
    let link = |name: &str| fs::read_link(directory.join(name)).unwrap();
    assert_eq!(link("libsam.so"), PathBuf::from("libsam.so.4"));
    assert_eq!(link("libsam.so.4"), PathBuf::from("libsam.so.4.4.0"));
}

/// What the library leaves to the dynamic linker, so that a program which defines it gets called. Add a name only if the
/// program's function must be called; otherwise see src/sys/direct.rs.
const OPEN_NAMES: [&str; 52] = [
    // ISO C reserves them.
    "abort",
    "exit",
    "fflush",
    "free",
    "malloc",
    "memcpy",
    "memmove",
    "memset",
    "strlen",
    // Called by what the compiler makes of memcmp.
    "bcmp",
    // A replacement of the allocator, a profiler of memory.
    "madvise",
    "mmap",
    "munmap",
    "posix_memalign",
    // Sanitizers must know of new threads, processes and handlers.
    "fork",
    "pthread_attr_destroy",
    "pthread_attr_init",
    "pthread_attr_setdetachstate",
    "pthread_create",
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_once",
    "pthread_self",
    "pthread_setcancelstate",
    "pthread_setcanceltype",
    "pthread_setspecific",
    "pthread_sigmask",
    "pthread_testcancel",
    "sigaction",
    // The time, without a system call.
    "clock_gettime",
    // Ways to the others.
    "dlclose",
    "dlerror",
    "dlopen",
    "dlsym",
    "syscall",
    // The C library's variable.
    "program_invocation_short_name",
    // std's own panic hook calls them. It is replaced before anything can panic: see src/capi/guard.rs.
    "dl_iterate_phdr",
    "getcwd",
    "getenv",
    "gettid",
    "lseek64",
    "mmap64",
    "realpath",
    "writev",
    // Other versions of rustc need them.
    "calloc",
    "memcmp",
    "pthread_cond_broadcast",
    "pthread_cond_wait",
    "pthread_getspecific",
    "realloc",
];

fn a_program_may_define_names_that_c_does_not_reserve() {
    let data = read();
    let called: Vec<_> = symbols(&data, false)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('_') && !OPEN_NAMES.contains(&name.as_str()))
        .collect();
    assert!(called.is_empty(), "a program that defines one of these would be called: {called:?}");
}

common::runner::tests![
    exactly_the_twelve_functions_are_exported_at_their_version,
    it_is_libsam_4_and_needs_the_c_library_alone,
    whatever_it_uses_is_the_c_librarys,
    it_stays_mapped_and_is_small,
    packagers_can_read_what_it_opens_at_run_time,
    the_links_lead_to_the_real_file,
    a_program_may_define_names_that_c_does_not_reserve,
];
