//! The parts of the installed library that the dynamic linker uses. A program that runs does not prove that they are
//! right: a library without symbol versions runs, too.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::prefix;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, FileKind};

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

/// The parts of an ELF file that the tests look at. The file may be for any architecture.
#[derive(Default)]
struct Elf {
    /// The name and the version of each dynamic symbol that the file defines.
    defined: BTreeSet<(String, String)>,
    /// The name and the version of each dynamic symbol that the file needs.
    undefined: BTreeSet<(String, String)>,
    /// `DT_SONAME` of the dynamic section.
    sonames: Vec<String>,
    /// `DT_NEEDED` of the dynamic section.
    needed: Vec<String>,
    /// `DT_FLAGS_1` of the dynamic section.
    flags: u64,
    /// The number of bytes that the loader maps from the file.
    mapped_bytes: u64,
    /// The flags of the section `.note.dlopen`.
    dlopen_flags: Option<u64>,
    /// The notes in that section.
    dlopen_notes: Vec<Note>,
}

/// A note of an ELF file, see "Notes (Nhdr)" in elf(5).
#[derive(Debug)]
struct Note {
    owner: Vec<u8>,
    kind: u32,
    text: Vec<u8>,
}

impl Elf {
    fn read() -> Elf {
        let data = fs::read(library()).unwrap();
        match FileKind::parse(&data[..]).unwrap() {
            FileKind::Elf32 => Elf::of::<FileHeader32<Endianness>>(&data),
            FileKind::Elf64 => Elf::of::<FileHeader64<Endianness>>(&data),
            other => panic!("not an ELF file: {other:?}"),
        }
    }

    fn of<Header: FileHeader<Endian = Endianness>>(data: &[u8]) -> Elf {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Elf::default();
        let header = Header::parse(data).unwrap();
        let endian = header.endian().unwrap();
        let sections = header.sections(endian, data).unwrap();

        let table = sections.symbols(endian, data, elf::SHT_DYNSYM).unwrap();
        let versions = sections.versions(endian, data).unwrap().expect("a version table");
        for (index, symbol) in table.enumerate().filter(|(index, _)| index.0 != 0) {
            let name = table.symbol_name(endian, symbol).unwrap();
            let version = versions.version(versions.version_index(endian, index)).unwrap();
            let version = version.map_or(&b""[..], |version| version.name());
            match (symbol.is_undefined(endian), symbol.st_bind()) {
                (_, elf::STB_LOCAL) | (true, elf::STB_WEAK) => continue,
                (true, _) => &mut found.undefined,
                (false, _) => &mut found.defined,
            }
            .insert((text(name), text(version)));
        }

        let (entries, strings) = sections.dynamic(endian, data).unwrap().expect("a dynamic section");
        let strings = sections.strings(endian, data, strings).unwrap();
        for entry in entries {
            match entry.tag32(endian) {
                Some(elf::DT_SONAME) => found.sonames.push(text(entry.string(endian, strings).unwrap())),
                Some(elf::DT_NEEDED) => found.needed.push(text(entry.string(endian, strings).unwrap())),
                Some(elf::DT_FLAGS_1) => found.flags = entry.d_val(endian).into(),
                _ => {}
            }
        }

        let segments = header.program_headers(endian, data).unwrap().iter();
        let loaded = segments.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        found.mapped_bytes = loaded.map(|segment| segment.p_filesz(endian).into()).sum();

        if let Some((_, section)) = sections.section_by_name(endian, b".note.dlopen") {
            found.dlopen_flags = Some(section.sh_flags(endian).into());
            let mut notes = section.notes(endian, data).unwrap().expect("a section of notes");
            while let Some(note) = notes.next().unwrap() {
                found.dlopen_notes.push(Note {
                    owner: note.name().to_owned(),
                    kind: note.n_type(endian),
                    text: note.desc().to_owned(),
                });
            }
        }
        found
    }
}

/// The functions by which the code of an architecture finds thread-local variables. The dynamic loader defines them.
const TLS_HELPERS: [&str; 4] =
    ["__tls_get_addr", "___tls_get_addr", "__tls_get_addr_opt", "__tls_get_offset"];

fn exactly_the_twelve_functions_are_exported_at_their_version() {
    let expected: BTreeSet<_> =
        FUNCTIONS.iter().map(|&name| (name.to_owned(), "COROSYNC_SAM_1.0".to_owned())).collect();
    let mut exported = Elf::read().defined;
    // The name of the version is a symbol, too.
    exported.retain(|(name, _)| name != "COROSYNC_SAM_1.0");
    assert_eq!(exported, expected);
}

fn library_has_soname_libsam_4_and_needs_only_the_c_library() {
    let Elf { sonames, mut needed, .. } = Elf::read();
    assert_eq!(sonames, ["libsam.so.4"]);
    // The dynamic loader is in every process that has shared libraries. It defines the TLS helpers.
    needed.retain(|library| !library.starts_with("ld-linux") && !library.starts_with("ld64"));
    assert_eq!(needed, ["libc.so.6"]);
}

fn undefined_symbols_all_come_from_the_c_library() {
    let foreign: Vec<_> = Elf::read()
        .undefined
        .into_iter()
        .filter(|(name, version)| !version.starts_with("GLIBC_") && !TLS_HELPERS.contains(&name.as_str()))
        .collect();
    assert!(foreign.is_empty(), "undefined and not from the C library: {foreign:?}");
}

fn it_stays_mapped_and_is_small() {
    // Above 200 KiB of it are std's own panic hook with its reader of debug information, which no process ever touches.
    // In all it is 594 KiB with rustc 1.95 from rustup, 667 KiB with Debian 13's rustc, whose std is larger. For i386 it
    // is 690 KiB.
    const LIMIT: u64 = if cfg!(target_arch = "x86_64") { 700 * 1024 } else { 900 * 1024 };
    let Elf { flags, mapped_bytes, .. } = Elf::read();
    assert_ne!(
        flags & u64::from(elf::DF_1_NODELETE),
        0,
        "DF_1_NODELETE is not set, but the callback thread outlives dlclose"
    );
    assert!(mapped_bytes <= LIMIT, "{mapped_bytes} bytes of the library are mapped, at most {LIMIT} allowed");
}

fn dlopen_note_lists_libraries_opened_at_run_time() {
    const DLOPEN: u32 = 0x407c_0c0a;
    let Elf { dlopen_flags, dlopen_notes, .. } = Elf::read();
    let flags = dlopen_flags.expect("the section");
    assert_ne!(
        flags & u64::from(elf::SHF_ALLOC),
        0,
        "SHF_ALLOC is not set, so strip would remove the section"
    );
    let [Note { owner, kind, text }] = &dlopen_notes[..] else { panic!("not one note: {dlopen_notes:?}") };
    assert_eq!((&owner[..], *kind), (&b"FDO"[..], DLOPEN));
    let text = std::str::from_utf8(text).unwrap().strip_suffix('\0').expect("a C string");
    for library in ["libquorum.so.5", "libcmap.so.4"] {
        assert!(text.contains(&format!(r#""priority":"recommended","soname":["{library}"]"#)), "{text}");
    }
}

fn links_lead_to_the_real_file() {
    let directory = library().parent().unwrap().to_owned();
    let link = |name: &str| fs::read_link(directory.join(name)).unwrap();
    assert_eq!(link("libsam.so"), PathBuf::from("libsam.so.4"));
    assert_eq!(link("libsam.so.4"), PathBuf::from("libsam.so.4.4.0"));
}

/// The names that the library leaves to the dynamic linker. If a program defines one, the library calls the program's
/// function. Add a name only if that is wanted; otherwise see src/sys/direct.rs.
const OPEN_NAMES: [&str; 53] = [
    // ISO C reserves them.
    "abort",
    "exit",
    "fflush",
    "free",
    "malloc",
    "memcpy",
    "memmove",
    "memset",
    "strchr", // on arm64
    "strlen",
    // The compiler may replace memcmp by bcmp.
    "bcmp",
    // A program may replace the allocator, or profile memory.
    "madvise",
    "mmap",
    "munmap",
    "posix_memalign",
    // Sanitizers intercept new threads, processes and handlers.
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
    "pthread_testcancel",
    "sigaction",
    // Reads the time without a system call (vdso(7)).
    "clock_gettime",
    // Used to reach the other functions.
    "dlclose",
    "dlerror",
    "dlopen",
    "dlsym",
    "syscall",
    // A variable of the C library.
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
    // On ppc64el the linker keeps std's list of the environment, which nothing in the library reads.
    "environ",
    // Used with other versions of rustc.
    "calloc",
    "memcmp",
    "pthread_cond_broadcast",
    "pthread_cond_wait",
    "pthread_getspecific",
    "realloc",
];

fn program_may_define_names_that_c_does_not_reserve() {
    let called: Vec<_> = Elf::read()
        .undefined
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('_') && !OPEN_NAMES.contains(&name.as_str()))
        .collect();
    assert!(
        called.is_empty(),
        "the library would call a program's own function with one of these names: {called:?}"
    );
}

common::runner::tests![
    exactly_the_twelve_functions_are_exported_at_their_version,
    library_has_soname_libsam_4_and_needs_only_the_c_library,
    undefined_symbols_all_come_from_the_c_library,
    it_stays_mapped_and_is_small,
    dlopen_note_lists_libraries_opened_at_run_time,
    links_lead_to_the_real_file,
    program_may_define_names_that_c_does_not_reserve,
];
