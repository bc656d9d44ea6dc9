//! One file per method behind one trait, and PEFT's file format.
