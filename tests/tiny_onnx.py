"""Exported files so small that what they find is known: each computes a line or two of arithmetic."""
import json

import onnx
from onnx.parser import parse_model

PAIRS = ('eye', 'ear', 'shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
KEYPOINTS = ('nose', *(f'{side}_{name}' for name in PAIRS for side in ('left', 'right')))
GRAPHS = {
    # Which channel is the brightest.
    'classification': '''(float[{n},3,{h},{w}] image) => (float[{n},3] scores) {{
        mean = ReduceMean<axes=[2, 3], keepdims=0>(image)
        scores = Softmax<axis=1>(mean) }}''',
    # Four boxes at fixed parts of the input, the worst first. The image's mean, which is at most 1, times 0.3 to 0.9 is
    # their score; the last one lies at the right and bottom, where there is padding.
    'detection': '''(float[{n},3,{h},{w}] image)
        => (float[m,4] boxes, float[m] scores, int64[m] labels, int64[m] images)
        <float[4,4] parts = {{0,0,0.25,0.5, 0,0,0.5,0.5, 0.25,0.25,2,2, 0.99,0.99,1,1}},
         float[1,4] weights = {{0.3, 0.6, 0.9, 0.8}}, int64[1,4] kinds = {{0, 1, 0, 0}}, int64[1] one = {{1}},
         int64[2] row = {{-1, 1}}, int64[1] all = {{-1}}, int64 zero = {{0}}, int64 step = {{1}},
         int64[1] boxed = {{4}}> {{
        height = Shape<start=2, end=3>(image)
        width = Shape<start=3, end=4>(image)
        sides = Concat<axis=0>(width, height, width, height)
        pixels = Cast<to=1>(sides)
        scaled = Mul(parts, pixels)
        count = Shape<start=0, end=1>(image)
        twice = Concat<axis=0>(count, one)
        boxes = Tile(scaled, twice)
        mean = ReduceMean<axes=[1, 2, 3], keepdims=0>(image)
        means = Reshape(mean, row)
        product = Mul(means, weights)
        scores = Reshape(product, all)
        kindred = Tile(kinds, twice)
        labels = Reshape(kindred, all)
        end = Squeeze(count)
        range = Range(zero, end, step)
        ranges = Reshape(range, row)
        shape = Concat<axis=0>(count, boxed)
        each = Expand(ranges, shape)
        images = Reshape(each, all) }}''',
    # All seventeen at the brightest pixel.
    'keypoints': '''(float[{n},3,{h},{w}] image) => (float[{n},17,2] keypoints, float[{n},17] scores)
        <int64[2] flat = {{0, -1}}, int64[3] many = {{1, 17, 1}}, int64[2] wide = {{1, 17}}, int64 axis = {{1}}> {{
        sum = ReduceMean<axes=[1], keepdims=0>(image)
        line = Reshape(sum, flat)
        place = ArgMax<axis=1, keepdims=1>(line)
        width = Shape<start=3, end=4>(image)
        y = Div(place, width)
        x = Mod(place, width)
        pair = Concat<axis=1>(x, y)
        point = Cast<to=1>(pair)
        points = Unsqueeze(point, axis)
        keypoints = Tile(points, many)
        most = ReduceMax<axes=[1], keepdims=1>(line)
        scores = Tile(most, wide) }}''',
    'features': '(float[{n},3,{h},{w}] image) => (float[{n},3,{h},{w}] map) {{ map = Identity(image) }}',
}
PREPROCESS = {
    'classification': [{'resize_edge': 40}, {'center_crop': [32, 32]}],
    'detection': {'scale': [80, 64], 'keep_ratio': True, 'divisor': 32, 'pad_value': 0},
    'keypoints': {'padding': 1.25}, 'features': None,
}
SIZES = {'classification': (32, 32), 'detection': None, 'keypoints': (64, 48), 'features': None}
MORE = {
    'classification': {'classes': ['blue', 'green', 'red']},
    'detection': {'classes': ['person', 'disc'], 'person': 0, 'max_per_image': 100, 'score_threshold': 0.05},
    'keypoints': {'skeleton': {'names': KEYPOINTS, 'links': [[0, 1], [2, 3]]}}, 'features': {},
}


def write_model(path, task, /, metadata=True, batch=None, **changes):
    """Write a model of a task; ``changes`` replace entries of its metadata, those of 'input' among them.

    Values 0 to 255 become 0 to 1, outside the graph. Returns the path as text.
    """
    size = changes.get('size', SIZES[task])
    height, width = size or ('h', 'w')
    graph = GRAPHS[task].format(n=batch or 'n', h=height, w=width)
    model = parse_model(f'<ir_version: 8, opset_import: ["" : 17]> tiny {graph}')
    given = dict(size=size, batch=batch, color='bgr', mean=[0, 0, 0], std=[255, 255, 255], normalization='outside')
    given = {key: changes.pop(key, value) for key, value in given.items()}
    content = dict(format=1, task=task, arch='m0', version='0.1.0', input=given, preprocess=PREPROCESS[task])
    content |= {**MORE[task], **changes}
    if metadata:
        text = metadata if isinstance(metadata, str) else json.dumps(content)
        onnx.helper.set_model_props(model, {'micronet_mm': text})
    onnx.save(model, path)
    return str(path)
