//! The headers: as generated, and as C and C++ programs use them.

use std::{env, fs, path::Path};

const GENERATED: [(&str, &str); 2] = [
    ("sam.h", include_str!(concat!(env!("OUT_DIR"), "/sam.h"))),
    ("corotypes.h", include_str!(concat!(env!("OUT_DIR"), "/corotypes.h"))),
];

#[test]
fn committed_headers_are_what_cbindgen_makes_of_the_source() {
    for (name, generated) in GENERATED {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/corosync").join(name);
        if env::var_os("SAM_WRITE_HEADERS").is_some() {
            fs::write(&path, generated).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == generated, "{} is out of date: run `make header`", path.display());
    }
}
