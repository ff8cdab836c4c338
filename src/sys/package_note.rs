//! An ELF note that lists the libraries which are loaded at run time. Package builders turn it into dependencies, see
//! "ELF Metadata for dlopen() Dependencies", <https://uapi-group.org/specifications/specs/elf_dlopen_metadata/>.

/// The text of the ELF note that names the libraries which this library loads at run time: JSON, ended by a NUL byte.
const TEXT: &[u8] = concat!(
    r#"[{"feature":"quorum","description":"Recovery policies with QUORUM","#,
    r#""priority":"recommended","soname":["libquorum.so.5"]},"#,
    r#"{"feature":"cmap","description":"Recovery policies with CMAP","#,
    r#""priority":"recommended","soname":["libcmap.so.4"]}]"#,
    "\0"
)
.as_bytes();

/// The size in bytes of the JSON text in the ELF note: a multiple of 4, as ELF requires.
const PADDED_TEXT_BYTES: usize = TEXT.len().next_multiple_of(4);

/// The layout of the ELF note that names the libraries which this library loads at run time, see "Notes (Nhdr)" in
/// elf(5).
#[repr(C, align(4))]
struct Note {
    name_length: u32,
    text_length: u32,
    kind: u32,
    name: [u8; 4],
    text: [u8; PADDED_TEXT_BYTES],
}

#[used]
#[unsafe(link_section = ".note.dlopen")]
static NOTE: Note = Note {
    name_length: 4,
    text_length: TEXT.len() as u32,
    kind: 0x407c_0c0a,
    name: *b"FDO\0",
    text: {
        let mut text = [0; PADDED_TEXT_BYTES];
        let mut at = 0;
        while at < TEXT.len() {
            text[at] = TEXT[at];
            at += 1;
        }
        text
    },
};
