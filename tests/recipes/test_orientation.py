"""Photographs seen upright: every orientation, every way that files tell it, and files that tell nonsense."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from recipes.orientation import orientation, upright, upright_size

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 3, 3), np.uint8).repeat(8, 0).repeat(8, 1)  # blocks of JPEG
EVERY = range(1, 9)
SHORT, LONG, ASCII, BYTE = 3, 4, 2, 1


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def told(encoded):
    """In a graph, as an exported model reads it."""
    return orientation(encoded)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def seen(encoded):
    number = orientation(encoded)
    pixels = tf.io.decode_image(encoded, 3, expand_animations=False)
    return upright(pixels, number), upright_size(tf.shape(pixels)[:2], number)


def jpeg(pixels=PIXELS, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0, **options)
    return buffer.getvalue()


def tiff(number, order="<", kind=SHORT, count=1, before=(), after=b""):
    """The content of EXIF: one directory whose last entry is the orientation."""
    value = {BYTE: "B3x", SHORT: "H2x", LONG: "I", ASCII: "B3x"}[kind]
    entries = [struct.pack(order + "HHII", tag, LONG, 1, value) for tag, value in before]
    entries.append(struct.pack(order + "HHI" + value, 0x0112, kind, count, number))
    header = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return header + struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", 0) + after


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(*segments, file=None):
    """A JPEG file with segments put in front of all others, even of JFIF's."""
    file = file or jpeg()
    return file[:2] + b"".join(segments) + file[2:]


def exif(content):
    return segment(0xE1, b"Exif\0\0" + content)


def jfif(file=None):
    """The APP0 segment with which Pillow begins a file."""
    file = file or jpeg()
    return file[2 : 4 + int.from_bytes(file[4:6])]


def transposed_by_pillow(file):
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", EVERY)
def test_every_orientation_is_seen_as_pillow_sees_it(number, order):
    file = with_segments(exif(tiff(number, order)))
    assert told(file) == number
    expected = transposed_by_pillow(file)
    pixels, size = seen(file)
    assert pixels.shape == expected.shape == (*size.numpy(), 3)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("number", EVERY)
def test_the_eight_ways_are_pillows(number):
    stored = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    for channels in (1, 3, 4):
        pixels = stored[..., :channels]
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        picture.getexif()[0x0112] = number
        expected = np.asarray(ImageOps.exif_transpose(picture)).reshape(-1, 2 if number >= 5 else 3, channels)
        np.testing.assert_array_equal(upright(pixels, number), expected)
        np.testing.assert_array_equal(upright(pixels / 8, number), expected / 8)
        np.testing.assert_array_equal(upright_size(tf.constant([2, 3]), number), expected.shape[:2])


@pytest.mark.parametrize("number", [-3, 0, 9, 1000])
def test_a_number_that_means_nothing_turns_nothing(number):
    np.testing.assert_array_equal(upright(PIXELS, number), PIXELS)
    assert upright_size(tf.constant([2, 3]), number).numpy().tolist() == [2, 3]


def test_the_shape_of_what_is_turned_is_open_but_for_its_channels():
    pixels, size = seen.get_concrete_function().structured_outputs
    assert pixels.shape.as_list() == [None, None, 3]
    assert size.shape.as_list() == [2]


def _ways_to_tell(number):
    thumbnail = jpeg(PIXELS[:8, :8], exif=with_pillow(3))  # upside down: the picture's own orientation counts
    long_name = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
    return {
        "Pillow": jpeg(exif=with_pillow(number)),
        "before JFIF": with_segments(exif(tiff(number))),
        "after JFIF": with_segments(jfif(), exif(tiff(number))),
        "after XMP, ICC and a comment": with_segments(
            jfif(), long_name, segment(0xE2, b"ICC_PROFILE\0" + bytes(3000)), segment(0xFE, b"Exif"), exif(tiff(number))
        ),
        "after fill bytes": with_segments(jfif(), b"\xff\xff\xff", exif(tiff(number))),
        "after other tags": with_segments(exif(tiff(number, ">", before=[(0x100, 3), (0x10F, 700), (0x110, 8)]))),
        "with a thumbnail": with_segments(exif(tiff(number, after=thumbnail))),
        "as LONG": with_segments(exif(tiff(number, ">", LONG))),
        "grey": with_segments(exif(tiff(number)), file=jpeg(PIXELS[..., 0])),
        "progressive": with_segments(exif(tiff(number)), file=jpeg(progressive=True)),
        "twice": with_segments(exif(tiff(number)), exif(tiff(3))),
    }


def with_pillow(number):
    tags = Image.Exif()
    tags[0x010E] = "a description that is longer than four bytes"
    tags[0x0112] = number
    tags[0x8769] = {0x9003: "2024:01:01 00:00:00"}
    return tags


@pytest.mark.parametrize("way", _ways_to_tell(6))
def test_it_is_found_however_it_is_told(way):
    file = _ways_to_tell(6)[way]
    assert told(file) == 6
    if way != "twice":  # Pillow puts both contents together
        np.testing.assert_array_equal(seen(file)[0], transposed_by_pillow(file))


NOTHING_TOLD = {
    "no EXIF": jpeg(),
    "PNG": b"",
    "PNG with EXIF": b"",
    "GIF": b"GIF89a" + bytes(20),
    "nothing": b"",
    "no picture": b"Exif\0\0",
    "a name without content": with_segments(exif(b"")),
    "noise": with_segments(exif(np.random.default_rng(0).bytes(500))),
    "no such byte order": with_segments(exif(b"XX" + tiff(6)[2:])),
    "not the number 42": with_segments(exif(tiff(6)[:2] + b"\0\0" + tiff(6)[4:])),
    "a directory behind the end": with_segments(exif(tiff(6)[:4] + b"\xff\xff\xff\xff" + tiff(6)[8:])),
    "a directory cut off": with_segments(exif(tiff(6)[:-8])),
    "no entries": with_segments(exif(tiff(6)[:8] + b"\0\0" + tiff(6)[10:])),
    "0": with_segments(exif(tiff(0))),
    "9": with_segments(exif(tiff(9))),
    "65536 + 6": with_segments(exif(tiff(2**16 + 6, kind=LONG))),
    "-1": with_segments(exif(tiff(2**32 - 1, kind=LONG))),
    "two numbers": with_segments(exif(tiff(6, count=2))),
    "a byte": with_segments(exif(tiff(6, kind=BYTE))),
    "a text": with_segments(exif(tiff(6, kind=ASCII))),
    "another tag only": with_segments(exif(tiff(6).replace(b"\x12\x01", b"\x13\x01"))),
    "in the name of another segment": with_segments(segment(0xE2, b"Exif\0\0" + tiff(6))),
    "inside another segment": with_segments(segment(0xE2, b"MPF\0" + exif(tiff(6)))),
    "after the end": jpeg() + exif(tiff(6)),
    "beyond 64 KiB": with_segments(segment(0xE2, bytes(40_000)), segment(0xE2, bytes(40_000)), exif(tiff(6))),
    "a file cut off": with_segments(exif(tiff(6)))[:20],
    "a segment without length": with_segments(b"\xff\xe0\x00\x00", exif(tiff(6))),
    "fill bytes without end": b"\xff\xd8" + b"\xff" * 40_000 + exif(tiff(6)),
}


def png(**options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("what", NOTHING_TOLD)
def test_what_tells_nothing_is_upright_and_no_error(what):
    made = {"PNG": png, "PNG with EXIF": lambda: png(exif=with_pillow(6))}
    assert told(made.get(what, lambda: NOTHING_TOLD[what])()) == 1


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_is_an_error(seed):
    rng = np.random.default_rng(seed)
    file = with_segments(jfif(), exif(tiff(6, ">", before=[(0x100, 3)])))
    for _ in range(40):
        damaged = bytearray(file[: rng.integers(1, len(file))] if rng.random() < 0.5 else file)
        for place in rng.integers(0, min(len(damaged), 80), 4):
            damaged[place] = rng.choice([0, 0xFF, rng.integers(256)])
        assert 1 <= told(bytes(damaged)) <= 8


def test_a_batch_is_read_file_by_file():
    files = [with_segments(exif(tiff(n))) for n in EVERY] + [jpeg(), png()]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def batch(encoded):
        return tf.map_fn(orientation, encoded, fn_output_signature=tf.int32)

    assert batch(files).numpy().tolist() == [*EVERY, 1, 1]


def test_it_is_exported_with_a_model(tmp_path):
    module = tf.Module()
    module.seen = seen
    tf.saved_model.save(module, tmp_path)
    file = with_segments(exif(tiff(5)))
    np.testing.assert_array_equal(tf.saved_model.load(tmp_path).seen(file)[0], seen(file)[0])
