//! Gives the shared library its soname.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Programs ask for this name; it changes when they must be compiled anew.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmallocgc.so.0");
}
