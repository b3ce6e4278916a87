from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft.data.images import inspect_image, open_rgb
from regraft.errors import UserError
from tests.data.conftest import Photo

BUDGET = {"max_pixels": 10_000_000, "min_side": 16}


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(path: Path, side: int = 20_000) -> Path:
    """A valid 1-bit grey PNG of side x side pixels, made row by row: some 50 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_clean_photo_is_measured(tmp_path: Path, photo: Photo) -> None:
    facts = inspect_image(saved(photo(1), tmp_path / "a.jpg"), **BUDGET)
    assert (facts["reason"], facts["width"], facts["height"]) == ("", 64, 48)
    assert len(facts["sha256"]) == len(facts["perceptual_hash"]) == 64
    assert 0.3 < facts["brightness"] < 0.7
    assert facts["size"] == (tmp_path / "a.jpg").stat().st_size


def test_flags_of_a_clean_photo_are_empty(tmp_path: Path, photo: Photo) -> None:
    facts = inspect_image(saved(photo(1, (256, 192)), tmp_path / "a.jpg"), **BUDGET)
    assert facts["quality_flags"] == ""


def test_perceptual_hash_is_imagehash(photo: Photo) -> None:
    import imagehash

    from regraft.data.images import HASH_SIZE, perceptual_hash

    assert perceptual_hash(photo(3)) == str(imagehash.phash(photo(3), hash_size=HASH_SIZE))


def damaged_files(photo: Photo) -> dict[str, bytes]:
    jpeg, png = encoded(photo(1), "JPEG"), encoded(photo(1), "PNG")
    middle = len(png) // 2
    return {
        "not_an_image": b"just some text",
        "empty_file": b"",
        "truncated": jpeg[: len(jpeg) // 2],
        "corrupt": png[:middle] + bytes(200) + png[middle + 200 :],
    }


@pytest.mark.parametrize("reason", ["not_an_image", "empty_file", "truncated", "corrupt"])
def test_damaged_files_are_told_apart(tmp_path: Path, photo: Photo, reason: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(damaged_files(photo)[reason])
    facts = inspect_image(path, **BUDGET)
    assert facts["reason"] == reason
    assert facts["detail"]
    with pytest.raises(UserError, match=reason):
        open_rgb(path)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_any_damage_ends_in_a_reason_not_in_a_crash(
    tmp_path: Path, photo: Photo, kind: str
) -> None:
    whole = encoded(photo(2), kind)
    generator = np.random.default_rng(0)
    for number in range(60):
        data = bytearray(whole[: generator.integers(1, len(whole))])
        for position in generator.integers(0, len(data), 5):
            data[position] = generator.integers(0, 256)
        path = tmp_path / f"{number}.img"
        path.write_bytes(data)
        assert isinstance(inspect_image(path, **BUDGET)["reason"], str)


def test_a_damaged_header_is_corrupt(tmp_path: Path, photo: Photo) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    assert inspect_image(path, **BUDGET)["reason"] == "corrupt"


def test_too_small(tmp_path: Path, photo: Photo) -> None:
    path = saved(photo(1, (40, 15)), tmp_path / "x.png")
    assert inspect_image(path, **BUDGET)["reason"] == "too_small"
    assert inspect_image(path, max_pixels=10**6, min_side=15)["reason"] == ""


def test_decompression_bomb_costs_no_memory(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png")
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    facts = inspect_image(path, **BUDGET)
    with pytest.raises(UserError, match="too_many_pixels"):
        open_rgb(path.read_bytes())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert facts["reason"] == "too_many_pixels"
    assert peak < 5_000_000


def test_the_pixel_limit_is_the_callers(tmp_path: Path) -> None:
    path = bomb(tmp_path / "large.png", side=1_600)
    facts = inspect_image(path, max_pixels=1_600 * 1_600 - 1, min_side=16)
    assert facts["reason"] == "too_many_pixels"
    assert "1,600x1,600" in facts["detail"]
    assert inspect_image(path, max_pixels=1_600 * 1_600, min_side=16)["reason"] == ""


def test_cmyk(tmp_path: Path, photo: Photo) -> None:
    path = saved(photo(1).convert("CMYK"), tmp_path / "x.jpg", quality=95)
    assert "converted_cmyk" in inspect_image(path, **BUDGET)["quality_flags"]
    assert_alike(open_rgb(path), photo(1), tolerance=12)


def test_16_bit_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    path = saved(Image.fromarray(ramp), tmp_path / "x.png")
    assert "converted_16bit" in inspect_image(path, **BUDGET)["quality_flags"]
    values = np.asarray(open_rgb(path))[..., 0]
    assert np.abs(values - ramp / 257).max() <= 0.5


@pytest.mark.parametrize("highest", [1.0, 255.0, 65535.0, 1e6])
def test_float_pictures_are_scaled_by_their_range(highest: float) -> None:
    ramp = np.linspace(0, highest, 64 * 48, dtype=np.float32).reshape(48, 64)
    values = np.asarray(open_rgb(Image.fromarray(ramp)))[..., 0]
    assert (values.min(), values.max()) == (0, 255)


def test_palette_and_grey(tmp_path: Path, photo: Photo) -> None:
    palette = saved(photo(1).quantize(64), tmp_path / "p.png")
    grey = saved(photo(1).convert("L"), tmp_path / "g.png")
    assert "converted_palette" in inspect_image(palette, **BUDGET)["quality_flags"]
    assert "converted_grayscale" in inspect_image(grey, **BUDGET)["quality_flags"]
    assert open_rgb(palette).mode == open_rgb(grey).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_put_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    if mode == "P":
        image = Image.new("P", (32, 32), 0)
        image.putpalette([200, 0, 0])
        image.info["transparency"] = 0
    path = saved(image if mode in ("RGBA", "P") else image.convert(mode), tmp_path / "x.png")
    assert "has_alpha" in inspect_image(path, **BUDGET)["quality_flags"]
    assert open_rgb(path).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(photo: Photo, kind: str, orientation: int) -> None:
    upright = photo(1)
    as_stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    method = as_stored[orientation]
    stored = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_alike(open_rgb(encoded(stored, kind, exif=exif)), upright, tolerance=12)


def test_exif_rotation_is_flagged_and_swaps_sides(tmp_path: Path, photo: Photo) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    facts = inspect_image(saved(photo(1), tmp_path / "x.jpg", exif=exif), **BUDGET)
    assert (facts["width"], facts["height"]) == (48, 64)
    assert "exif_rotated" in facts["quality_flags"]


def test_a_blank_picture_has_no_perceptual_hash(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (64, 64), (9, 99, 9)), tmp_path / "x.png")
    facts = inspect_image(path, **BUDGET)
    assert facts["perceptual_hash"] == ""
    assert facts["quality_flags"] == "blank,small_file"


def test_animation_and_wrong_extension_are_flagged(tmp_path: Path, photo: Photo) -> None:
    frames = [photo(seed) for seed in range(3)]
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    flags = inspect_image(path, **BUDGET)["quality_flags"].split(",")
    assert {"multi_frame", "wrong_extension"} <= set(flags)


def test_open_rgb_takes_path_text_bytes_and_image(tmp_path: Path, photo: Photo) -> None:
    path = saved(photo(1), tmp_path / "ä b.png")
    sources = [path, str(path), path.read_bytes(), Image.open(path)]
    first, *others = (np.asarray(open_rgb(source)) for source in sources)
    assert all((first == other).all() for other in others)


def test_open_rgb_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        open_rgb(tmp_path / "none.jpg")


def test_postscript_is_not_run(tmp_path: Path, photo: Photo) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(photo(1), "EPS"))
    assert inspect_image(path, **BUDGET)["reason"] == "not_an_image"


def assert_alike(got: Image.Image, expected: Image.Image, *, tolerance: float) -> None:
    assert (got.mode, got.size) == ("RGB", expected.size)
    difference = np.asarray(got, dtype=float) - np.asarray(expected, dtype=float)
    assert np.abs(difference).mean() < tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_opened_again_is_not_turned_again(kind: str) -> None:
    """A server opens an upload once and hands the picture on."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((60, 40)).save(buffer, kind, exif=exif)
    once = open_rgb(buffer.getvalue())
    assert once.size == (40, 60)
    assert open_rgb(once).size == once.size
    assert open_rgb(once).tobytes() == once.tobytes()
