//! Workloads shared by the command, the benches and the tests.
