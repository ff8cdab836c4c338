//! The note that tells packagers which libraries are opened at run time: see "ELF Metadata for dlopen()"
//! dependencies, <https://uapi-group.org/specifications/specs/elf_dlopen_metadata/>.

const TEXT: &[u8] = concat!(
    r#"[{"feature":"quorum","description":"Recovery policies with QUORUM","#,
    r#""priority":"recommended","soname":["libquorum.so.5"]},"#,
    r#"{"feature":"cmap","description":"Recovery policies with CMAP","#,
    r#""priority":"recommended","soname":["libcmap.so.4"]}]"#,
    "\0"
)
.as_bytes();

const ROOM: usize = TEXT.len().next_multiple_of(4);

/// An ELF note: lengths, type, name and text.
#[repr(C, align(4))]
struct Note {
    name_length: u32,
    text_length: u32,
    kind: u32,
    name: [u8; 4],
    text: [u8; ROOM],
}

#[used]
#[unsafe(link_section = ".note.dlopen")]
static NOTE: Note = Note {
    name_length: 4,
    text_length: TEXT.len() as u32,
    kind: 0x407c_0c0a,
    name: *b"FDO\0",
    text: {
        let mut text = [0; ROOM];
        let mut at = 0;
        while at < TEXT.len() {
            text[at] = TEXT[at];
            at += 1;
        }
        text
    },
};
