//! Running the program as a user does.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A command that runs `tunesmith`, built from this tree once a test process.
pub fn tunesmith() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/trainer/Cargo.toml");
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--message-format=json", "--bin", "tunesmith", "--features", "emulator"])
            .args(["--manifest-path", manifest])
            .output()
            .expect("cargo can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let executable = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        executable.expect("cargo names the binary")
    });
    let mut command = Command::new(binary);
    command.env_remove("RAYON_NUM_THREADS").env("NO_COLOR", "1");
    command
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// As text.
    pub stdout: String,
    /// As text.
    pub stderr: String,
}

impl Output {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program can be run");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the program prints UTF-8");
        let result = Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        for stream in [&result.stdout, &result.stderr] {
            assert!(!stream.contains("panicked") && !stream.contains("internal error"), "{stream}");
        }
        result
    }

    /// Checks the exit code; returns what was printed for the user to read.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The single JSON object on stdout.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).expect("stdout is one JSON object")
    }
}
