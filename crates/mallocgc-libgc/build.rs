//! Gives the library its name: programs ask the loader for `libgc.so.1`.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libgc.so.1");
    println!("cargo:rerun-if-changed=build.rs");
}
