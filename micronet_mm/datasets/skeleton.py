"""The 17 keypoints of COCO and random poses of them."""
from typing import Optional

import numpy as np

KEYPOINTS = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder', 'left_elbow',
             'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee',
             'left_ankle', 'right_ankle')
INDEX = {name: i for i, name in enumerate(KEYPOINTS)}
# COCO's skeleton, with its 1-based numbers.
SKELETON = ((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10),
            (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7))


def random_pose(rng: np.random.Generator, height: float, center: Optional[tuple[float, float]] = None) -> np.ndarray:
    """A standing, walking or waving person who faces the viewer.

    Args:
        rng: source of randomness.
        height: head to feet when standing straight, in pixels.
        center: (x, y) of the hips; the origin by default.

    Returns:
        (17, 2) keypoints (x, y), in the order of :data:`KEYPOINTS`. The person's left is on the viewer's right.
    """
    points = np.zeros((len(KEYPOINTS), 2))
    lean = rng.normal(0, 0.15)
    up = np.array([np.sin(lean), -np.cos(lean)])
    right = np.array([np.cos(lean), np.sin(lean)])  # of the viewer

    neck = up * 0.30 * height
    head = neck + up * 0.13 * height + right * rng.normal(0, 0.015) * height
    shoulder, hip = rng.uniform(0.09, 0.12) * height, rng.uniform(0.055, 0.075) * height
    eye, ear = 0.025 * height, 0.055 * height
    points[INDEX['nose']] = head
    for side, sign in (('left', 1), ('right', -1)):
        points[INDEX[f'{side}_eye']] = head + up * 0.025 * height + sign * right * eye
        points[INDEX[f'{side}_ear']] = head + up * 0.01 * height + sign * right * ear
        points[INDEX[f'{side}_shoulder']] = neck + sign * right * shoulder
        points[INDEX[f'{side}_hip']] = sign * right * hip
        # Angles from hanging straight down, outwards positive.
        arm = rng.uniform(0.1, 2.6)
        limb(points, f'{side}_shoulder', f'{side}_elbow', 0.155 * height, sign * arm, lean)
        limb(points, f'{side}_elbow', f'{side}_wrist', 0.145 * height, sign * (arm + rng.uniform(-1.2, 1.2)), lean)
        leg = rng.uniform(-0.05, 0.55)
        limb(points, f'{side}_hip', f'{side}_knee', 0.23 * height, sign * leg, lean / 2)
        limb(points, f'{side}_knee', f'{side}_ankle', 0.22 * height, sign * (leg + rng.uniform(-0.5, 0.1)), lean / 2)
    return points + (center or (0.0, 0.0))


def limb(points: np.ndarray, start: str, end: str, length: float, angle: float, lean: float) -> None:
    """Place joint ``end`` at ``length`` from joint ``start``, at ``angle`` from hanging down."""
    direction = np.array([np.sin(angle - lean), np.cos(angle - lean)])
    points[INDEX[end]] = points[INDEX[start]] + length * direction
