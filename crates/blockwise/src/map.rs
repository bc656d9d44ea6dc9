//! What 8-bit codes stand for.

use std::sync::LazyLock;

/// Values are rounded to one of so many even steps from -1 to 1 before they are compared with the map.
const STEPS: usize = 1 << 16;
/// Decades that the map spans.
const DECADES: i32 = 7;

/// 256 ascending values in -1..=1 or 0..=1 of seven decades, the nearer to 0 the fewer to a decade, with 0 and 1 among them.
///
/// Source: Dettmers 2015, "8-Bit approximations for parallelism in deep learning" (bitsandbytes: `create_dynamic_map`).
#[derive(Debug)]
pub struct DynamicMap {
    values: [f32; 256],
    /// The code of each step.
    codes: Vec<u8>,
}

impl DynamicMap {
    /// For numbers of both signs.
    pub fn signed() -> &'static Self {
        static MAP: LazyLock<DynamicMap> = LazyLock::new(|| DynamicMap::new(true));
        &MAP
    }

    /// For numbers that are not negative, with twice as many values in each decade.
    pub fn unsigned() -> &'static Self {
        static MAP: LazyLock<DynamicMap> = LazyLock::new(|| DynamicMap::new(false));
        &MAP
    }

    fn new(signed: bool) -> Self {
        let values = make_values(signed);
        let codes = (0..STEPS).map(|step| nearest(&values, 2.0 * step as f32 / 65535.0 - 1.0)).collect();
        Self { values, codes }
    }

    /// What each code stands for.
    pub fn values(&self) -> &[f32; 256] {
        &self.values
    }

    /// What `code` stands for.
    #[inline(always)]
    pub fn value(&self, code: u8) -> f32 {
        self.values[usize::from(code)]
    }

    /// The code of a value in -1..=1: it is rounded to the nearest of 65536 even steps, then to the nearest of the map, to the lower
    /// one at equal distance. NaN gets that of -1.
    #[inline(always)]
    pub fn code(&self, x: f32) -> u8 {
        // The cast takes NaN to 0, and numbers outside to the ends.
        let step = ((x + 1.0) * 0.5 * 65535.0 + 0.5) as u16;
        self.codes[usize::from(step)]
    }
}

fn nearest(values: &[f32; 256], x: f32) -> u8 {
    let right = values.partition_point(|&value| value < x).clamp(1, 255);
    let code = if values[right] - x < x - values[right - 1] { right } else { right - 1 };
    code as u8
}

fn make_values(signed: bool) -> [f32; 256] {
    let mut values = Vec::with_capacity(256);
    for decade in 0..DECADES {
        // Midpoints of equal parts of 0.1..1, in f32 with the roundings of torch.linspace.
        let parts = 1usize << (decade + i32::from(!signed));
        let step = (1.0f32 - 0.1) / parts as f32;
        let boundary = |i: usize| {
            if i < parts.div_ceil(2) { step.mul_add(i as f32, 0.1) } else { (-step).mul_add((parts - i) as f32, 1.0) }
        };
        let scale = 10f64.powi(decade - DECADES + 1) as f32;
        for i in 0..parts {
            let value = scale * ((boundary(i) + boundary(i + 1)) / 2.0);
            values.push(value);
            if signed {
                values.push(-value);
            }
        }
    }
    values.extend([0.0, 1.0]);
    values.sort_by(f32::total_cmp);
    values.try_into().expect("the decades have 254 values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maps_ascend_between_their_known_ends() {
        let map = DynamicMap::signed().values();
        assert!(map.is_sorted() && DynamicMap::unsigned().values().is_sorted());
        assert_eq!(
            (map[0], map[126], map[127], map[128], map[255]),
            (-0.992_968_74, -5.500_000_4e-7, 0.0, 5.500_000_4e-7, 1.0)
        );
        let map = DynamicMap::unsigned().values();
        assert_eq!((map[0], map[1], map[254], map[255]), (0.0, 3.250_000_3e-7, 0.996_484_4, 1.0));
    }

    #[test]
    fn every_value_is_its_own_nearest() {
        for map in [DynamicMap::signed(), DynamicMap::unsigned()] {
            for (code, &value) in map.values().iter().enumerate() {
                // Around 0 the steps are coarser than the map: half a step moves a value, and half a gap of the map at 1e-4.
                let got = map.code(value);
                assert!(
                    usize::from(got) == code || (map.value(got) - value).abs() <= 1.53e-5 + 1.13e-5,
                    "{code} {got}"
                );
            }
        }
        let map = DynamicMap::signed();
        assert_eq!((map.code(f32::NAN), map.code(2.0), map.code(-2.0)), (0, 255, 0));
        // Zero lies between two steps, and bitsandbytes takes the upper.
        assert_eq!(map.code(0.0), 131);
    }
}
