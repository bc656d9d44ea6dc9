//! Attention over packed sequences with learned prefix keys and values; prefix length 0 is plain attention.
