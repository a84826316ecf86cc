"""Pictures of people and simple shapes, in COCO format, made from a seed.

A small fallback for COCO that exercises the real pipelines: figures at many scales and colours, before textured and
cluttered backgrounds, hidden partly by each other and cut off by the border. Boxes cover the visible part, as COCO's
do, and people carry COCO's 17 keypoints with its visibility flags.
"""
import json
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Union

import cv2
import numpy as np

from micronet_mm.validation import COUNT, FILE, checked, integer

from .skeleton import INDEX, KEYPOINTS, SKELETON, random_pose

CLASSES = ('person', 'disc', 'square', 'triangle')
SPLITS = ('train', 'val')
MARK = 'figures of micronet-mm'
MIN_VISIBLE = 0.3  # an instance hidden further than this is not annotated


class Canvas:
    """An image under construction, with the instance that owns each pixel.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        owner: (H, W) int32, 0 for the background, otherwise the instance's number.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.owner = np.zeros(image.shape[:2], np.int32)

    def fill(self, rng: np.random.Generator, mask: np.ndarray, color: np.ndarray, owner: int) -> None:
        """Paint the pixels of ``mask`` (uint8, 0 or 1) in a shaded ``color`` and hand them to ``owner``."""
        x, y, width, height = cv2.boundingRect(mask)
        if not width:
            return
        window = np.s_[y:y + height, x:x + width]
        inside = mask[window].astype(bool)
        self.image[window][inside] = shaded(rng, (height, width), color)[inside]
        self.owner[window][inside] = owner


def random_color(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, 3).astype(np.float32)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Cloudy colour noise, sometimes striped or checkered: (H, W, 3) float32, 0 to 255."""
    coarse = random_color(rng) + rng.normal(0, rng.uniform(10, 60), (*rng.integers(2, 7, 2), 3))
    base = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    pattern = rng.choice(['plain', 'stripes', 'checks'], p=[0.5, 0.3, 0.2])
    if pattern != 'plain':
        period = rng.uniform(5, 24)
        angle = rng.uniform(0, np.pi)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        wave = np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)))
        if pattern == 'checks':
            wave = wave * np.sin(2 * np.pi / period * (y * np.cos(angle) - x * np.sin(angle)))
        base = base + (np.sign(wave) * rng.uniform(5, 30))[..., None]
    return np.clip(base + rng.normal(0, rng.uniform(2, 12), base.shape), 0, 255).astype(np.float32)


def draw_clutter(rng: np.random.Generator, image: np.ndarray) -> None:
    """Strokes, arcs and scribbles that belong to no class."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(0, 10)):
        color = random_color(rng).tolist()
        center = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        thickness = int(rng.integers(1, 4))
        if rng.random() < 0.5:
            axes = (int(rng.uniform(5, 40)), int(rng.uniform(5, 40)))
            start = rng.uniform(0, 360)
            cv2.ellipse(image, center, axes, rng.uniform(0, 180), start, start + rng.uniform(40, 160), color, thickness)
        else:
            path = np.cumsum(rng.normal(0, 14, (rng.integers(2, 6), 2)), 0) + center
            cv2.polylines(image, [path.astype(np.int32)], False, color, thickness)


def shaded(rng: np.random.Generator, shape: tuple[int, int], color: np.ndarray) -> np.ndarray:
    """A colour with its own light, noise and sometimes stripes: (H, W, 3) uint8."""
    height, width = shape
    light = rng.normal(0, 0.25, 2)
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    field = color * (1 + light[0] * x + light[1] * y)[..., None]
    if rng.random() < 0.25:
        field = field + (18 * np.sign(np.sin((x * width + y * height) / rng.uniform(1.5, 5))))[..., None]
    return np.clip(field + rng.normal(0, 5, field.shape), 0, 255).astype(np.uint8)


def draw_shape(rng: np.random.Generator, canvas: Canvas, name: str, owner: int) -> np.ndarray:
    """Draw a disc, square or triangle; returns its full mask (H, W), hidden parts included."""
    height, width = canvas.owner.shape
    size = min(height, width) * np.exp(rng.uniform(np.log(0.09), np.log(0.28)))
    center = rng.uniform((0, 0), (width, height))
    corners = {'disc': 40, 'square': 4, 'triangle': 3}[name]
    first = np.pi / 4 if name == 'square' else -np.pi / 2  # a square stands on its side, a triangle points up
    angles = first + np.arange(corners) * 2 * np.pi / corners
    squeeze = rng.uniform(0.8, 1.0, 2)
    turn = rng.normal(0, 0.25)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * squeeze @ rotation * size + center
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    canvas.fill(rng, mask, random_color(rng), owner)
    return mask


def draw_person(rng: np.random.Generator, canvas: Canvas, owner: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a person; returns the full mask (H, W) and the keypoints (17, 2)."""
    height, width = canvas.owner.shape
    tall = height * np.exp(rng.uniform(np.log(0.4), np.log(1.05)))
    points = random_pose(rng, tall, (rng.uniform(0.05, 0.95) * width, rng.uniform(0.35, 0.7) * height))
    shirt, trousers, hair = (random_color(rng) for _ in range(3))
    skin = np.array([120, 160, 215]) * rng.uniform(0.35, 1.15)  # BGR
    whole = np.zeros((height, width), np.uint8)

    def joint(name: str) -> tuple[int, int]:
        return tuple(int(v) for v in np.round(points[INDEX[name]]))

    def fill(mask: np.ndarray, color: np.ndarray) -> None:
        canvas.fill(rng, mask, color, owner)
        np.maximum(whole, mask, out=whole)

    def limbs(names: list[str], thickness: float, color: np.ndarray) -> None:
        mask = np.zeros((height, width), np.uint8)
        for side in ('left', 'right'):
            for start, end in pairwise(names):
                cv2.line(mask, joint(f'{side}_{start}'), joint(f'{side}_{end}'), 1, max(2, int(thickness * tall)))
        fill(mask, color)

    limbs(['hip', 'knee', 'ankle'], 0.065, trousers)
    torso = np.zeros((height, width), np.uint8)
    outline = [joint(n) for n in ('left_shoulder', 'right_shoulder', 'right_hip', 'left_hip')]
    cv2.fillPoly(torso, [np.array(outline, np.int32)], 1)
    cv2.polylines(torso, [np.array(outline, np.int32)], True, 1, max(2, int(0.05 * tall)))
    fill(torso, shirt)
    limbs(['shoulder', 'elbow'], 0.05, shirt)
    limbs(['elbow', 'wrist'], 0.042, skin)
    nose = points[INDEX['nose']]
    up = nose - (points[INDEX['left_shoulder']] + points[INDEX['right_shoulder']]) / 2
    crown = tuple(int(v) for v in np.round(nose + 0.25 * up))
    for center, radius, color in ((crown, 0.068, hair), (joint('nose'), 0.06, skin)):
        head = np.zeros((height, width), np.uint8)
        cv2.circle(head, center, max(2, int(radius * tall)), 1, -1)
        fill(head, color)
    for name in ('left_eye', 'right_eye', 'nose'):
        dot = np.zeros((height, width), np.uint8)
        cv2.circle(dot, joint(name), max(1, int(0.01 * tall)), 1, -1)
        fill(dot, np.array([40, 30, 30]) if name != 'nose' else skin * 0.7)
    return whole, points


def keypoint_flags(points: np.ndarray, owner: np.ndarray, number: int) -> np.ndarray:
    """COCO's flags for one person: 2 seen, 1 inside the image but hidden, 0 outside: (17,) int."""
    height, width = owner.shape
    flags = np.zeros(len(points), int)
    for i, (x, y) in enumerate(np.round(points).astype(int)):
        if 0 <= x < width and 0 <= y < height:
            around = owner[max(y - 2, 0):y + 3, max(x - 2, 0):x + 3]
            flags[i] = 2 if (around == number).any() else 1
    return flags


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """One picture.

    Returns:
        The image, (H, W, 3) uint8 BGR, and its annotations: COCO's fields less the ids.
    """
    height, width = rng.integers(144, 193, 2)
    background = texture(rng, height, width)
    draw_clutter(rng, background)
    canvas = Canvas(background.astype(np.uint8))
    names = ['person'] * rng.integers(0, 3) + list(rng.choice(CLASSES[1:], rng.integers(1, 5)))
    drawn = []
    for number, name in enumerate(rng.permutation(names), start=1):
        if name == 'person':
            drawn.append((name, *draw_person(rng, canvas, number)))
        else:
            drawn.append((name, draw_shape(rng, canvas, name, number), None))

    annotations = []
    for number, (name, mask, points) in enumerate(drawn, start=1):
        visible = canvas.owner == number
        area = int(visible.sum())
        if area < 40 or area < MIN_VISIBLE * mask.sum():
            continue
        ys, xs = np.nonzero(visible)
        x, y = int(xs.min()), int(ys.min())
        annotation = dict(category_id=CLASSES.index(name) + 1, area=area, iscrowd=0,
                          bbox=[x, y, int(xs.max()) - x + 1, int(ys.max()) - y + 1])
        if points is not None:
            flags = keypoint_flags(points, canvas.owner, number)
            placed = np.where(flags[:, None] > 0, np.round(points, 1), 0)
            annotation.update(num_keypoints=int((flags > 0).sum()),
                              keypoints=np.concatenate([placed, flags[:, None]], 1).reshape(-1).tolist())
        annotations.append(annotation)

    image = canvas.image.astype(np.float32)
    image = (image - 128) * rng.uniform(0.6, 1.1) + 128 + rng.uniform(-25, 25)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    image = image + rng.normal(0, rng.uniform(0, 8), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), annotations


def categories() -> list[dict]:
    """COCO's ``categories``; the person's with keypoint names and skeleton."""
    listed = [dict(id=i, name=name, supercategory='figure') for i, name in enumerate(CLASSES, start=1)]
    listed[0].update(keypoints=list(KEYPOINTS), skeleton=[list(pair) for pair in SKELETON])
    return listed


def write_split(root: Path, split: str, num_images: int, seed: int) -> None:
    """Write ``root/split/*.jpg`` and, in ``root/annotations``, ``split.json`` and ``person_keypoints_split.json``."""
    images, annotations = [], []
    (root / split).mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    for index in range(num_images):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        image, drawn = draw_scene(rng)
        name = f'{index:06d}.jpg'
        if not cv2.imwrite(str(root / split / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise OSError(f'{root / split / name} could not be written; is the disk full?')
        images.append(dict(id=index, file_name=name, height=image.shape[0], width=image.shape[1]))
        annotations += [dict(id=len(annotations) + i, image_id=index, **a) for i, a in enumerate(drawn, start=1)]
    content = dict(info=dict(description=f'{MARK}, seed {seed}'), images=images, annotations=annotations,
                   categories=categories())
    (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))
    people = [a for a in annotations if a['category_id'] == 1]
    content.update(annotations=people, categories=categories()[:1])
    (root / 'annotations' / f'person_keypoints_{split}.json').write_text(json.dumps(content))


def is_figures(root: Path) -> bool:
    """Whether ``root`` holds a dataset that :func:`write_figures` wrote."""
    try:
        info = json.loads((root / 'annotations' / 'train.json').read_text())['info']
        return info['description'].startswith(MARK)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@checked(root=FILE, num_train=COUNT, num_val=COUNT, seed=integer(0))
def write_figures(root: Union[str, Path], num_train: int = 2000, num_val: int = 200, seed: int = 0) -> None:
    """Write the dataset: ``train/``, ``val/`` and ``annotations/{,person_keypoints_}{train,val}.json`` under ``root``.

    An image depends only on the seed, the split and its number, so a larger dataset starts with the smaller one. The
    folder appears under its name when it is complete.

    Args:
        root: folder to create. One that already holds a dataset of this kind is replaced.
        num_train: images to train on.
        num_val: images held out.
        seed: of everything random.

    Raises:
        FileExistsError: if ``root`` holds something else, or is in what is no folder.
        ValueError: for a number that is none.
    """
    root = Path(root)
    in_file = any(path.is_file() for path in (root, *root.parents))
    if in_file or (root.exists() and any(root.iterdir()) and not is_figures(root)):
        raise FileExistsError(f'{root} holds something other than this dataset, or cannot be made; name an empty or a '
                              'new folder.')
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}.') as temporary:
        for split, num_images in zip(SPLITS, (num_train, num_val)):
            write_split(Path(temporary) / 'new', split, num_images, seed)
        if root.exists():
            shutil.move(root, Path(temporary) / 'old')
        shutil.move(Path(temporary) / 'new', root)
