"""The one place where pictures are opened: checked for validation, made RGB for everyone.

Training, evaluation and serving all call `open_rgb`, so that a picture looks the same to the
model wherever it comes from.
"""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageStat

from regraft.data.rejection import RejectedError, told_to_user

DEFAULT_MAX_PIXELS = 50_000_000
DEFAULT_MIN_SIDE = 32

#: 16 x 16 = 256 bits. A 64-bit hash is too coarse: on the 2,445 leaf photos of the plants pack it
#: finds as many pairs of different classes as of one class from distance 8 on (see duplicates.py).
HASH_SIZE = 16
_HASH_PIXELS = HASH_SIZE * 4

# Pillow also opens PostScript (by starting Ghostscript) and two dozen rarities: not for uploads.
_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "PNG": {".png", ".apng"},
    "GIF": {".gif"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_SAYS_ORIENTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
# What Pillow's decoders raise on damaged input, found by damaging files of every format.
_DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_BLANK_STANDARD_DEVIATION = 1.0
_SMALL_FILE_BYTES = 1024


def open_rgb(
    source: str | Path | bytes | Image.Image, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Image.Image:
    """Return an upright 8-bit RGB picture from a path, the bytes of a file, or a Pillow image.

    EXIF orientation is applied, 16-bit values are scaled (not clipped), CMYK, palettes and grey
    are converted, transparency is put on white, of an animation the first frame is taken.

    Raises UserError when it is no picture, is damaged, or has more than `max_pixels` pixels
    (judged from the header, before memory is used).
    """
    where = str(source) if isinstance(source, str | Path) else "the given picture"
    expected = f"an intact JPEG, PNG, WebP, TIFF or GIF of at most {max_pixels:,} pixels"
    with told_to_user("picture", where=where, expected=expected):
        if isinstance(source, str | Path):
            with Path(source).open("rb") as file:
                return _decode(file, max_pixels=max_pixels)[0]
        given = io.BytesIO(source) if isinstance(source, bytes) else source
        return _decode(given, max_pixels=max_pixels)[0]


def inspect_image(path: Path, *, max_pixels: int, min_side: int) -> dict[str, Any]:
    """Measure one picture; `min_side` is in pixels, after rotation.

    Returns size (bytes), sha256, perceptual_hash (hex of 256 bits; '' for a blank picture, which
    has no structure to compare), width, height, brightness (mean luminance, 0 to 1), mode (as
    stored), quality_flags, and reason ''. A rejected picture has a reason (empty_file,
    not_an_image, corrupt, truncated, too_small, too_many_pixels), a detail, size and sha256 only.

    Raises OSError when the file itself cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        facts: dict[str, Any] = {"size": path.stat().st_size}
        facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        try:
            suffix = path.suffix.lower()
            return facts | _measure(file, facts["size"], max_pixels, min_side, suffix)
        except RejectedError as error:
            return facts | {"reason": error.reason, "detail": error.detail}


def inspect_picture(data: bytes, *, max_pixels: int, min_side: int) -> dict[str, Any]:
    """What `inspect_image` finds beside size and sha256, of the bytes of a file.

    Raises RejectedError with one of its reasons.
    """
    return _measure(io.BytesIO(data), len(data), max_pixels, min_side, "")


def from_base64(text: str) -> bytes:
    """The bytes that base64 text or a data: address stands for. Raises ValueError."""
    text = text.partition(",")[2] if text.startswith("data:") else text
    return base64.b64decode(text, validate=True)


def _measure(
    file: IO[bytes], size: int, max_pixels: int, min_side: int, suffix: str
) -> dict[str, Any]:
    rgb, flags, mode = _decode(file, max_pixels=max_pixels, suffix=suffix)
    if min(rgb.size) < min_side:
        raise RejectedError(
            "too_small", f"{rgb.width}x{rgb.height} pixels, each side must be at least {min_side}"
        )
    grey = rgb.convert("L").resize(
        (_HASH_PIXELS, _HASH_PIXELS), Image.Resampling.LANCZOS, reducing_gap=2.0
    )
    light = ImageStat.Stat(grey)
    blank = light.stddev[0] < _BLANK_STANDARD_DEVIATION
    flags += ["blank"] * blank + ["small_file"] * (size < _SMALL_FILE_BYTES)
    return {
        "perceptual_hash": "" if blank else perceptual_hash(grey),
        "width": rgb.width,
        "height": rgb.height,
        "brightness": round(light.mean[0] / 255, 4),
        "mode": mode,
        "quality_flags": ",".join(sorted(flags)),
        "reason": "",
        "detail": "",
    }


def perceptual_hash(image: Image.Image) -> str:
    """Hex of the 256-bit DCT hash (ImageHash's `phash`, after Zauner 2010, section 3.2.1)."""
    import imagehash  # here, because it imports scipy

    bits = imagehash.phash(image, hash_size=HASH_SIZE).hash
    return np.packbits(bits).tobytes().hex()  # what str() of the hash gives, in a tenth of the time


def _decode(
    source: IO[bytes] | Image.Image, *, max_pixels: int, suffix: str = ""
) -> tuple[Image.Image, list[str], str]:
    """(upright RGB image, quality flags, mode as stored); raises RejectedError."""
    image = source if isinstance(source, Image.Image) else _open(source)
    if image.width * image.height > max_pixels:
        raise RejectedError(
            "too_many_pixels",
            f"{image.width:,}x{image.height:,} pixels, more than the {max_pixels:,} allowed",
        )
    mode = image.mode
    try:
        flags = _flags(image, suffix)
        turned = image.format == "TIFF" and _orientation(image) in _UPRIGHT  # Pillow does it
        image.load()
        orientation = _orientation(image)  # not before: for PNG, asking hides errors of load()
        rgb = _to_rgb(image)
    except _DECODE_ERRORS as error:
        raise _damaged(error) from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
        for key in _SAYS_ORIENTATION:  # or whoever opens the picture again turns it again
            rgb.info.pop(key, None)
    return rgb, flags + ["exif_rotated"] * (turned or orientation in _UPRIGHT), mode


def _open(file: IO[bytes]) -> Image.Image:
    Image.init()
    try:
        return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    except _BOMBS as error:  # only the header has been read
        raise RejectedError("too_many_pixels", str(error)) from error
    except Image.UnidentifiedImageError as error:
        file.seek(0)
        raise _unidentified(file.read(4)) from error
    except _DECODE_ERRORS as error:
        raise _damaged(error) from error


def _unidentified(head: bytes) -> RejectedError:
    if not head:
        return RejectedError("empty_file", "there are no bytes")
    if head.startswith(_MAGIC):
        return RejectedError("corrupt", "the header of the picture is damaged")
    return RejectedError("not_an_image", "the content is not a picture")


def _damaged(error: BaseException) -> RejectedError:
    text = str(error) or type(error).__name__
    truncated = isinstance(error, EOFError) or "truncated" in text.lower()
    return RejectedError("truncated" if truncated else "corrupt", f"decoding stopped: {text}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; damaged EXIF data count as none, the pixels are what matters."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DECODE_ERRORS:
        return 1


def _flags(image: Image.Image, suffix: str) -> list[str]:
    deep = image.mode.startswith(("I", "F")) or ";16" in str(getattr(image, "tile", ""))
    frames = getattr(image, "is_animated", False) and image.format != "MPO"
    usual = _SUFFIXES.get(image.format or "", {suffix})
    checks = {
        "converted_cmyk": image.mode == "CMYK",
        "converted_16bit": deep,
        "converted_palette": image.mode in ("P", "PA"),
        "converted_grayscale": image.mode in ("1", "L", "LA", "I", "F") or image.mode[:2] == "I;",
        "has_alpha": _has_alpha(image),
        "multi_frame": bool(frames),
        "wrong_extension": bool(suffix) and suffix not in usual,
    }
    return [name for name, found in checks.items() if found]


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _to_8_bit(image).convert("RGB")
    if _has_alpha(image):
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale by the range of the type, not of the picture, so that equal values stay equal."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixel values are not finite")
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    full = next((r for r in ranges if values.max() <= r), float(values.max()))
    scaled = np.clip(np.round(values / full * 255), 0, 255)
    return Image.fromarray(scaled.astype(np.uint8))
