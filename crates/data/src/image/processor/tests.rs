use super::*;
use serde_json::json;

fn processor(json: Value) -> Result<ImageProcessor, String> {
    let Value::Object(json) = json else { unreachable!() };
    ImageProcessor::from_json(Path::new("m/preprocessor_config.json"), &json).map_err(|error| error.to_string())
}

#[test]
fn both_spellings_of_a_size_mean_the_same() {
    let first = processor(json!({"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 2}));
    let now = processor(json!({
        "image_processor_type": "ViTImageProcessorFast", "size": {"height": 32, "width": 32}, "do_convert_rgb": null,
        "do_center_crop": null, "crop_size": null, "do_pad": false,
    }));
    assert_eq!(first.unwrap(), now.unwrap());
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let cases = [
        (json!({"size": "large"}), "`size` is a string, expected a side"),
        (json!({"size": {"longest_edge": 3}}), "`size` is an object"),
        (json!({"resample": 9}), "`resample` is a number, expected the number of a filter"),
        (json!({"image_mean": [0.5, 0.5]}), "`image_mean` is a list, expected three numbers"),
        (json!({"image_std": 0}), "`image_std` holds a zero"),
        (json!({"do_normalize": 1}), "`do_normalize` is a number, expected true or false"),
        (json!({"do_center_crop": true}), "`crop_size` is missing"),
        (json!({"do_pad": true}), "`do_pad` is not known"),
        (json!({"image_processor_type": "CLIPImageProcessor"}), "those of ViT and DeiT are known"),
    ];
    for (config, expected) in cases {
        let message = processor(config).unwrap_err();
        assert!(message.starts_with("m/preprocessor_config.json: `") && message.contains(expected), "{message}");
    }
}

#[test]
fn pixels_become_numbers_channel_by_channel() {
    let processor = processor(json!({"do_resize": false, "image_mean": [0.0, 0.2, 0.4], "image_std": [1.0, 0.5, 2.0]}));
    let image = Rgb { height: 1, width: 2, values: vec![0, 51, 102, 255, 255, 0] };
    assert_eq!(processor.unwrap().scaled(&image), [0.0, 1.0, 0.0, 1.6, 0.0, -0.2]);
}

#[test]
fn the_middle_is_cropped_out_of_the_shorter_side() {
    let sides = json!({"size": {"shortest_edge": 4}, "do_center_crop": true, "crop_size": 3, "resample": 0});
    let processor = processor(sides).unwrap();
    let values = (0..2 * 5).flat_map(|pixel| [pixel as u8; 3]).collect();
    let image = processor.shaped(Path::new("x.png"), Rgb { height: 2, width: 5, values }).unwrap();
    // 4 x 10 by nearest pixels, then rows 0 to 2 and columns 3 to 5.
    let firsts: Vec<u8> = image.values.iter().step_by(3).copied().collect();
    assert_eq!((image.height, image.width, firsts), (3, 3, vec![1, 2, 2, 1, 2, 2, 6, 7, 7]));
}
