//! Where references are.
