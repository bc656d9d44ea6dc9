//! Numbers for people: bytes, counts and spans of time in a few characters.

use std::fmt;
use std::time::Duration;

/// Bytes in binary units: `1.4 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = scaled(self.0, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]);
        f.pad(&if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") })
    }
}

/// A count in decimal units: `6.8M`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = scaled(self.0, 1000.0, &["", "k", "M", "B", "T"]);
        f.pad(&if unit.is_empty() { format!("{value:.0}") } else { format!("{value:.1}{unit}") })
    }
}

/// A count with its thousands apart: `6,815,744`.
#[derive(Clone, Copy, Debug)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut out = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        f.pad(&out)
    }
}

/// So many of something: `1 row`, `1,024 rows`.
#[derive(Clone, Copy, Debug)]
pub struct Counted(pub u64, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}{}", Grouped(self.0), self.1, if self.0 == 1 { "" } else { "s" }))
    }
}

/// A span of time by its two largest units: `1h02m`, `3m07s`, `12s`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        f.pad(&match (days, hours, minutes) {
            (0, 0, 0) => format!("{}s", seconds),
            (0, 0, m) => format!("{m}m{:02}s", seconds % 60),
            (0, h, m) => format!("{h}h{m:02}m"),
            (d, h, _) => format!("{d}d{h:02}h"),
        })
    }
}

/// `part` of `whole` as a percentage: `0.55%`. Zero of nothing.
#[derive(Clone, Copy, Debug)]
pub struct Share(pub u64, pub u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = if self.1 == 0 { 0.0 } else { 100.0 * self.0 as f64 / self.1 as f64 };
        f.pad(&if percent < 0.1 && percent > 0.0 { format!("{percent:.4}%") } else { format!("{percent:.2}%") })
    }
}

fn scaled(value: u64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut scaled = value as f64;
    let mut unit = 0;
    // What would be printed as a full unit is printed in the next one.
    while scaled >= base * 0.999_95 && unit + 1 < units.len() {
        scaled /= base;
        unit += 1;
    }
    (scaled, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_characters_say_it() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(u64::MAX).to_string(), "16777216.0 TiB");
        assert_eq!(Count(999).to_string(), "999");
        assert_eq!(Count(6_815_744).to_string(), "6.8M");
        assert_eq!(Count(999_999).to_string(), "1.0M");
        assert_eq!(Grouped(6_815_744).to_string(), "6,815,744");
        assert_eq!(Grouped(12).to_string(), "12");
        assert_eq!(Counted(1, "row").to_string(), "1 row");
        assert_eq!(Counted(1024, "row").to_string(), "1,024 rows");
        assert_eq!(Span(Duration::from_secs(3727)).to_string(), "1h02m");
        assert_eq!(Span(Duration::from_secs(187)).to_string(), "3m07s");
        assert_eq!(Share(1, 0).to_string(), "0.00%");
        assert_eq!(Share(55, 10_000).to_string(), "0.55%");
        assert_eq!(Share(1, 100_000).to_string(), "0.0010%");
    }
}
