"""Results drawn into images."""
import colorsys
from functools import singledispatch
from pathlib import Path
from typing import Union

import cv2
import numpy as np

from .detector import check_threshold
from .results import Classification, Detections, People, Person, Result
from .sources import checked, load

Color = tuple[int, int, int]  # blue, green, red, as OpenCV has it
DARK, LIGHT = (20, 20, 20), (255, 255, 255)
SIDES = {'left': (0, 140, 255), 'right': (80, 200, 60)}  # of a body; what is in the middle has MIDDLE
MIDDLE = (255, 170, 60)


def draw(image: Union[str, Path, np.ndarray], result: Result, keypoint_threshold: float = 0.3) -> np.ndarray:
    """A new image with a result drawn into it; lines and letters grow with the image.

    Args:
        image: (H, W, 3) uint8 in BGR, or the path of an image.
        result: :class:`Classification`, :class:`Detections` or :class:`People`.
        keypoint_threshold: score above which a keypoint is drawn, and a line between two.

    Returns:
        (H, W, 3) uint8 in BGR.

    Example:
        >>> found, = PeopleAndPoses('detector.onnx', 'pose.onnx')('street.jpg')
        >>> cv2.imwrite('drawn.jpg', draw('street.jpg', found))
    """
    check_threshold(keypoint_threshold, 'keypoint threshold')
    canvas = np.ascontiguousarray(checked(image) if isinstance(image, np.ndarray) else load(image)).copy()
    _draw(result, canvas, keypoint_threshold)
    return canvas


@singledispatch
def _draw(result: Result, canvas: np.ndarray, keypoint_threshold: float) -> None:
    raise TypeError(f'{type(result).__name__} cannot be drawn; give a Classification, Detections or People.')


@_draw.register
def _(result: Classification, canvas: np.ndarray, keypoint_threshold: float) -> None:
    write(canvas, f'{result.name} {result.score:.2f}', (0, 0), color_of(result.label))


@_draw.register
def _(result: Detections, canvas: np.ndarray, keypoint_threshold: float) -> None:
    for index in reversed(range(len(result.boxes))):  # the best on top
        text = f'{result.names[index]} {result.scores[index]:.2f}'
        draw_box(canvas, result.boxes[index], text, color_of(int(result.labels[index])))


@_draw.register
def _(result: People, canvas: np.ndarray, keypoint_threshold: float) -> None:
    for index, person in reversed(list(enumerate(result.people))):
        draw_box(canvas, person.bbox, f'{person.bbox_score:.2f}', color_of(index))
    for person in reversed(result.people):
        draw_skeleton(canvas, person, result, keypoint_threshold)


def draw_box(canvas: np.ndarray, box: np.ndarray, text: str, color: Color) -> None:
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(canvas, (left, top), (right, bottom), color, stroke(canvas), cv2.LINE_AA)
    write(canvas, text, (left, top), color, above=True)


def draw_skeleton(canvas: np.ndarray, person: Person, result: People, threshold: float) -> None:
    """Lines and points, each with a dark rim that keeps it apart from what is below."""
    skeleton, width = result.skeleton, stroke(canvas)
    points = [tuple(round(float(value)) for value in point) for point in person.keypoints]
    seen = person.keypoint_scores > threshold
    given = skeleton.colors or ()
    for rim in (True, False):
        for index, (a, b) in enumerate(skeleton.links):
            if seen[a] and seen[b]:
                own = given[index][::-1] if index < len(given) else side_of(skeleton.names[a], skeleton.names[b])
                cv2.line(canvas, points[a], points[b], DARK if rim else own, 3 * width if rim else width, cv2.LINE_AA)
    for name, point, there in zip(skeleton.names, points, seen):
        if there:
            cv2.circle(canvas, point, 2 * width, DARK, -1, cv2.LINE_AA)
            cv2.circle(canvas, point, max(1, 2 * width - 1), side_of(name), -1, cv2.LINE_AA)


def side_of(*names: str) -> Color:
    """The colour of a side of the body, if all these keypoints, less the nose, lie on it."""
    sides = {name.partition('_')[0] for name in names} & set(SIDES)
    return SIDES[sides.pop()] if len(sides) == 1 else MIDDLE


def color_of(label: int) -> Color:
    """Hues far apart for neighbouring labels, by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.8, 0.95)
    return round(255 * blue), round(255 * green), round(255 * red)


def stroke(canvas: np.ndarray) -> int:
    """How wide lines are, in pixels."""
    return max(1, round(min(canvas.shape[:2]) / 300))


def write(canvas: np.ndarray, text: str, corner: tuple[int, int], color: Color, above: bool = False) -> None:
    """Text on a ground of its own, at or above a corner and always within the image."""
    height, width = canvas.shape[:2]
    size, thick = max(0.4, min(height, width) / 1100), max(1, round(min(height, width) / 600))
    (across, up), down = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    tall = up + down + 2
    left = max(0, min(corner[0], width - across - 4))
    top = corner[1] - tall if above and corner[1] >= tall else corner[1]
    top = max(0, min(top, height - tall))
    cv2.rectangle(canvas, (left, top), (left + across + 4, top + tall), color, -1)
    blue, green, red = color
    ink = DARK if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else LIGHT
    cv2.putText(canvas, text, (left + 2, top + up + 1), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
