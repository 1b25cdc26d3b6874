"""Folders of images: of one size, or resized to one; sub-folders are the labels."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.errors import UserError
from loaders.arrays import read_numpy
from loaders.readers import Reading, Record, few, reading

ENDINGS = ".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .ppm .pgm .pbm"
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def _read_image(path, size, found):
    """Return one image, uint8 or, of 16 bits, uint16 (h, w, c), c = 1 for grey, 3 for colour.

    What was done to it is counted in `found`.
    """
    with reading(path, "an image"), Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            found["animated: of each the first frame"] += 1
        if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
            raise UserError(f"{path}: mode {image.mode}, expected 8 or 16 bits a channel")
        turned = ImageOps.exif_transpose(image)
        if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
            found["turned as their EXIF data say"] += 1
        image = turned
        if image.mode.startswith("I"):
            pixels = np.asarray(image).astype(np.uint16)
            if size is not None and pixels.shape != tuple(size):
                found[f"resized to {size[0]}x{size[1]}"] += 1
                small = Image.fromarray(pixels.astype(np.float32))
                small = small.resize((size[1], size[0]), Image.Resampling.BOX)
                pixels = np.asarray(small).round().astype(np.uint16)
            found["of 16 bits"] += 1
            return pixels[:, :, None]
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                found["transparent, put on white"] += 1
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            gray = turned.mode in ("LA", "La")
        else:
            gray = image.mode in ("1", "L")
        image = image.convert("L" if gray else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            found[f"resized to {size[0]}x{size[1]}"] += 1
            image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _labels(folder, paths, notes):
    """Return the folders below `folder` as labels; below train and test, if these are all."""
    parts = [path.relative_to(folder).parts for path in paths]
    depth = 0
    if {p[0].lower() for p in parts} <= SPLITS:
        notes.append(f"folders {few(sorted({p[0] for p in parts}))} joined, they are no labels")
        direct = sum(len(p) == 2 for p in parts)
        if direct == len(parts):
            return None
        if direct:
            raise UserError(
                f"{folder}: {direct} images in {few(sorted({p[0] for p in parts}))} and "
                f"{len(parts) - direct} in folders below, expected some in one of the two"
            )
        depth = 1
    if max(map(len, parts)) > depth + 2:
        notes.append("images in deeper folders have the label of the topmost one")
    return np.array([p[depth] for p in parts])


def read_folder(folder: Path, how: Reading, like: dict | None = None) -> Record:
    """Read images in sorted order of their paths; a folder with train_X.npy is one of arrays.

    So Kingdra's authors keep a data set: train_X.npy and, for labels, train_Y.npy.
    """
    if how.label_column not in (None, "none"):
        raise UserError(
            f"{folder}: --label-column {how.label_column!r}, expected none: sub-folders are labels"
        )
    x, y = folder / "train_X.npy", folder / "train_Y.npy"
    if os.path.isfile(x):
        labels = read_numpy(y).x if os.path.isfile(y) and how.label_column != "none" else None
        return Record(read_numpy(x).x, labels)
    paths, others = [], []
    with reading(folder, "a folder of images"):
        os.listdir(folder)  # os.walk would pass over a folder that may not be read
        seen = set()  # links may lead round in a circle
        for place, folders, names in os.walk(folder, followlinks=True):
            if os.path.realpath(place) in seen:
                folders.clear()
                continue
            seen.add(os.path.realpath(place))
            folders[:] = sorted(n for n in folders if not n.startswith("."))
            for name in sorted(n for n in names if not n.startswith(".")):
                path = Path(place, name)
                (paths if path.suffix.lower() in ENDINGS.split() else others).append(path)
    paths.sort(key=lambda path: path.relative_to(folder).parts)
    direct = sum(path.parent == folder for path in paths)
    if not paths or 0 < direct < len(paths):
        raise UserError(
            f"{folder}: {direct} images in it and {len(paths) - direct} in its sub-folders, "
            f"expected some ({ENDINGS}) in one of the two, or train_X.npy"
        )
    notes, found, images = [], Counter(), []
    for path in paths:
        image = _read_image(path, how.image_size, found)
        if image.shape[:2] != (images[0] if images else image).shape[:2]:
            raise UserError(
                f"{path}: {image.shape[0]}x{image.shape[1]} pixels, expected "
                f"{images[0].shape[0]}x{images[0].shape[1]} as in {paths[0]}; "
                "--image-size H W resizes all"
            )
        images.append(image)
    if others:
        names = [str(path.relative_to(folder)) for path in others]
        notes.append(f"{len(others)} files that are no images left out: {few(names, 3)}")
    notes += [f"{count} of {len(paths)} images {what}" for what, count in found.items()]
    labelled = not direct and how.label_column != "none"
    y = _labels(folder, paths, notes) if labelled else None
    rows = tuple(str(path.relative_to(folder)) for path in paths)
    return Record(_together(images, like, notes), y, rows, None, notes)


def _together(images, like, notes):
    """Return one array (n, h, w, c): colour if any has colours, in [0, 1] if any has 16 bits.

    Where all have 16 bits and none uses the upper half, as those of cameras of 10 to 14 bits, it
    stays from 0 to 65,535 and is scaled as arrays of such numbers are.
    """
    gray = sum(image.shape[2] == 1 for image in images)
    channels = 1 if gray == len(images) else 3
    if like and len(like["shape"]) == 3:
        channels = like["shape"][2]
    if channels == 3 and gray:
        notes.append(f"{gray} of {len(images)} grey images taken as coloured ones")
    if channels == 1 and gray < len(images):
        notes.append(f"{len(images) - gray} of {len(images)} coloured images made grey")
        weights = np.float32([0.299, 0.587, 0.114])
        images = [
            i if i.shape[2] == 1 else np.round(i @ weights)[..., None].astype(i.dtype)
            for i in images
        ]
    kinds = {image.dtype.name for image in images}
    deep = "uint16" in kinds
    shape = (len(images), *images[0].shape[:2], channels)
    x = np.empty(shape, np.float32 if deep else np.uint8)
    for i, image in enumerate(images):
        x[i] = image / np.float32(np.iinfo(image.dtype).max) if deep else image
    narrow = kinds == {"uint16"} and x.max() < 0.5
    if deep and (like.get("scale") if like else narrow):
        x = np.round(x * np.float32(np.iinfo(np.uint16).max))
    return x
