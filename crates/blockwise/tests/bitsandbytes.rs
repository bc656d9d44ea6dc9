//! Bit for bit what bitsandbytes computes: `tests/data/bitsandbytes`, see the README there.

use safetensors::SafeTensors;
use tunesmith_blockwise::{BLOCK_SIZE, DynamicMap, dequantize_block, quantize_block};

#[test]
fn maps_codes_scales_and_values_are_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/bitsandbytes/blockwise8.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (case, map) in [("signed", DynamicMap::signed()), ("unsigned", DynamicMap::unsigned())] {
        let data = |name: &str| file.tensor(&format!("{case}.{name}")).unwrap().data().to_vec();
        let f32s = |name: &str| -> Vec<f32> {
            data(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        assert_eq!(f32s("map"), map.values());
        let (x, codes, absmax) = (f32s("x"), data("codes"), f32s("absmax"));
        let mut got = vec![9; x.len()];
        let blocks = x.chunks(BLOCK_SIZE).zip(got.chunks_mut(BLOCK_SIZE));
        let got_absmax: Vec<f32> = blocks.map(|(x, codes)| quantize_block(map, x, codes)).collect();
        assert_eq!((got_absmax, &got), (absmax, &codes));
        let mut values = vec![f32::NAN; x.len()];
        let blocks = values.chunks_mut(BLOCK_SIZE).zip(codes.chunks(BLOCK_SIZE)).zip(f32s("absmax"));
        blocks.for_each(|((values, codes), absmax)| dequantize_block(map, codes, absmax, values));
        assert_eq!(values, f32s("dequantized"));
    }
}
