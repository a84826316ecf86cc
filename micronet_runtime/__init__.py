"""Run exported MicroNets with numpy, OpenCV and ONNX Runtime alone: no PyTorch, no MMLab, nothing of micronet_mm.

A plan, named where an ONNX file can be, does without ONNX Runtime as well: a shared library beside it runs it.

Each model is a file that says itself how an image becomes its input and what its outputs mean. Sources are a path of an
image, a video or a folder of images, an address of a stream, an array (H, W, 3) of uint8 in BGR, a list of these, or
the number of a camera:

    >>> from micronet_runtime import Detector, draw
    >>> detect = Detector('detector.onnx', threshold=0.3)
    >>> street, = detect('street.jpg')
    >>> street.boxes, street.scores, street.names         # (M, 4) in pixels, (M), M strings
    >>> drawn = draw('street.jpg', street)                # (H, W, 3) uint8 in BGR
    >>> for result in detect.stream('street.mp4'):        # frame by frame
    ...     print(result.frame, len(result.boxes))

``python -m micronet_runtime --help`` is the same from the command line.
"""
from .classifier import Classifier
from .detector import Detector
from .drawing import draw
from .errors import InputError, MissingInputError, PlanError
from .model import Model
from .people import PeopleAndPoses
from .pose import PoseEstimator
from .results import Classification, Detections, People, Person
from .sources import Frame, read

__all__ = ['Classification', 'Classifier', 'Detections', 'Detector', 'Frame', 'InputError', 'MissingInputError',
           'Model', 'People', 'PeopleAndPoses', 'Person', 'PlanError', 'PoseEstimator', 'draw', 'read']
